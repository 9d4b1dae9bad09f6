//! One connection of a client, from its first byte to its last: whom it comes from, TLS, and then
//! HTTP/1.1 or HTTP/2.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::keeping::Keeping;
use super::listener::Accepted;
use super::serving::{Current, Stage};
use super::socket::Stream;
use super::strict::Strict;
use super::visitor::Visitor;
use super::{http2, proxy_protocol};
use crate::telemetry::Gauge;

/// How long a proxy may take for the header of the PROXY protocol.
const PROXY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take for TLS to be agreed on.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection without a request may take to end once somebody else is to have its place.
const ROOM: Duration = Duration::from_millis(250);
/// The same once the process stops: a first request may be on its way.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// Why a connection ended that was not done.
pub(super) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// Serves a connection until it ends, or until the process stops or another is to have its place, and it
/// is not within a request.
pub(super) async fn serve(
    accepted: Accepted,
    current: Arc<Current>,
    stage: watch::Receiver<Stage>,
) -> Result<(), Broken> {
    let place = Arc::new(accepted.place);
    let _open = Open::new(&current.get().serving.account.metrics().connections);
    let visitor = |current, peer| Visitor {
        current,
        peer,
        place,
    };
    match accepted.stream {
        Stream::Unix(stream) => {
            let mut stream = UnixStream::from_std(stream)?;
            let peer = peer(&mut stream, None, &current).await?;
            http1(stream, visitor(current, peer), stage).await
        }
        Stream::Tcp(stream, address) => {
            let mut stream = TcpStream::from_std(stream)?;
            stream.set_nodelay(true)?;
            let peer = peer(&mut stream, Some(address), &current).await?;
            let tls = current.get().serving.entrance.tls.clone();
            let visitor = visitor(current, peer);
            let Some(tls) = tls else {
                return http1(stream, visitor, stage).await;
            };
            let agreed = TlsAcceptor::from(tls.current()).accept(stream);
            let stream = timeout(TLS_TIMEOUT, agreed).await??;
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                http2(stream, visitor, stage).await
            } else {
                http1(stream, visitor, stage).await
            }
        }
    }
}

/// A connection counts for as long as it is open.
struct Open(Gauge);

impl Open {
    fn new(count: &Gauge) -> Self {
        count.inc();
        Self(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Whom a connection comes from, by the PROXY protocol if that is spoken.
async fn peer<S: AsyncRead + Unpin>(
    stream: &mut S,
    peer: Option<IpAddr>,
    current: &Current,
) -> io::Result<Option<IpAddr>> {
    let core = current.get();
    let entrance = &core.serving.entrance;
    if !entrance.proxy_protocol {
        return Ok(peer);
    }
    let told = timeout(PROXY_TIMEOUT, proxy_protocol::read(stream)).await??;
    let trusted = &entrance.trusted_proxies;
    // Where nobody is named, whoever can connect is believed: that is what the setting asks for.
    let believed = trusted.is_empty() || trusted.contain(peer);
    Ok(match told {
        proxy_protocol::Source::Address(address) if believed => Some(address.to_canonical()),
        _ => peer,
    })
}

async fn http1<S>(
    stream: S,
    visitor: Visitor,
    mut stage: watch::Receiver<Stage>,
) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let settings = visitor.current.get().serving.clients;
    let place = visitor.place.clone();
    // It has the deadlines too, so the library needs none.
    let (stream, line) = Strict::new(stream, settings);
    let service = service_fn(move |request: Request<Incoming>| {
        let (line, visitor, answering) = (line.clone(), visitor.clone(), line.busy());
        async move {
            let busy = visitor.place.busy();
            let response = visitor.answer(request, Some(&line)).await;
            Ok::<_, Infallible>(response.map(|body| Keeping::new(body, (answering, busy))))
        }
    });
    let connection = http1::Builder::new()
        .max_header_size(settings.head_max)
        .max_buf_size(settings.head_max.max(64 * 1024))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let patience = tokio::select! {
        done = connection.as_mut() => return Ok(done?),
        _ = stage.wait_for(|&now| now == Stage::Stopping) => LAST_REQUEST,
        () = place.wanted() => ROOM,
    };
    connection.as_mut().graceful_shutdown();
    loop {
        match timeout(patience, connection.as_mut()).await {
            Ok(done) => return Ok(done?),
            // It has sent part of a head, or does not read its last answer.
            Err(_) if place.is_idle() => return Ok(()),
            Err(_) => {}
        }
    }
}

async fn http2<S>(
    stream: S,
    visitor: Visitor,
    mut stage: watch::Receiver<Stage>,
) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let settings = visitor.current.get().serving.clients;
    let place = visitor.place.clone();
    let leave = async move {
        tokio::select! {
            _ = stage.wait_for(|&now| now >= Stage::Leaving) => {}
            () = place.wanted() => {}
        }
    };
    let answer = move |request| {
        let visitor = visitor.clone();
        async move {
            let busy = visitor.place.busy();
            let response = visitor.answer(request, None).await;
            Ok(response.map(|body| Keeping::new(body, busy)))
        }
    };
    http2::serve(stream, settings, answer, leave).await
}
