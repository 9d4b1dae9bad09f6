//! One connection of a client, from its first byte to its last: whom it comes from, TLS, and then
//! HTTP/1.1 or HTTP/2.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, HeaderValue};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use super::pool::Pooled;
use super::serving::Current;
use super::socket::Accepted;
use super::{http2, proxy_protocol};
use crate::layer::AnswerBody;

/// How long a client may take for a request's head, and be silent between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a proxy may take for the header of the PROXY protocol.
const PROXY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take for TLS to be agreed on.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// Most headers of a request.
const HEADERS: usize = 100;

/// Why a connection ended that was not done.
pub(super) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// Serves a connection until it ends, or until `drain` is true and it is not within a request.
pub(super) async fn serve(
    accepted: Accepted,
    current: Arc<Current>,
    drain: watch::Receiver<bool>,
) -> Result<(), Broken> {
    match accepted {
        Accepted::Unix(stream) => {
            let mut stream = UnixStream::from_std(stream)?;
            let peer = peer(&mut stream, None, &current).await?;
            let visitor = Visitor { current, peer };
            http1(stream, visitor, drain).await
        }
        Accepted::Tcp(stream, address) => {
            let mut stream = TcpStream::from_std(stream)?;
            stream.set_nodelay(true)?;
            let peer = peer(&mut stream, Some(address), &current).await?;
            let tls = current.get().serving.entrance.tls.clone();
            let visitor = Visitor { current, peer };
            let Some(tls) = tls else {
                return http1(stream, visitor, drain).await;
            };
            let agreed = TlsAcceptor::from(tls.current()).accept(stream);
            let stream = timeout(TLS_TIMEOUT, agreed).await??;
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                http2(stream, visitor, drain).await
            } else {
                http1(stream, visitor, drain).await
            }
        }
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
    mut drain: watch::Receiver<bool>,
) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head_max = visitor.current.get().serving.head_max;
    let service = service_fn(move |request| visitor.clone().answer(request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS)
        .max_header_size(head_max)
        .max_buf_size(head_max.max(64 * 1024))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        done = connection.as_mut() => return Ok(done?),
        _ = drain.wait_for(|&now| now) => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

async fn http2<S>(stream: S, visitor: Visitor, drain: watch::Receiver<bool>) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let head_max = visitor.current.get().serving.head_max;
    let answer = move |mut request: Request<Incoming>| {
        name_host(&mut request);
        visitor.clone().answer(request)
    };
    http2::serve(stream, head_max, answer, drain).await
}

/// Gives a request of HTTP/2 the Host of HTTP/1.1: its authority, unless it has a Host too, which
/// must then be the same, as it must with an absolute target (RFC 9113, section 8.3.1).
fn name_host(request: &mut Request<Incoming>) {
    let authority = request
        .uri()
        .authority()
        .map(|it| HeaderValue::from_str(it.as_str()));
    if let Some(Ok(authority)) = authority {
        request.headers_mut().entry(HOST).or_insert(authority);
    }
}

/// Who sends the requests of a connection.
#[derive(Clone)]
struct Visitor {
    current: Arc<Current>,
    /// The other end of the connection, or whom it is passed on for; none on a Unix socket.
    peer: Option<IpAddr>,
}

impl Visitor {
    async fn answer(
        self,
        mut request: Request<Incoming>,
    ) -> Result<Response<AnswerBody<Pooled>>, Infallible> {
        let core = self.current.get();
        let serving = &core.serving;
        let proxies = &serving.entrance.trusted_proxies;
        let client = proxies.client(self.peer, request.headers());
        request.extensions_mut().insert(client);
        match serving.guard.check(request.uri(), request.headers()) {
            Ok(()) => core.cloakroom.clone().call(request).await,
            Err(rejection) => Ok(rejection.into_response().map(AnswerBody::own)),
        }
    }
}
