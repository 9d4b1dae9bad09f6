//! One connection of a client, from its first byte to its last: whom it comes from, TLS, and then
//! HTTP/1.1 or HTTP/2.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::account::Accounted;
use super::http1::{self, Answer, Prefixed, Served};
use super::keeping::Keeping;
use super::places::{self, Place};
use super::rarely::Rarely;
use super::serving::{Current, Stage};
use super::socket::{Accepted, Stream};
use super::strict::{self, Line, Strict};
use super::visitor::Visitor;
use super::{http2, proxy_protocol};
use crate::layer::{BoxError, Head, in_place};
use crate::telemetry::{Counter, Gauge};
use crate::tls::ServerTls;

/// How long a proxy may take for the header of the PROXY protocol.
const PROXY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take for TLS to be agreed on.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client with whom TLS was not agreed on may take to close, and how much it may send until
/// then.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;
/// How long a connection without a request may take to end once somebody else is to have its place.
const ROOM: Duration = Duration::from_millis(250);
/// The same once the process stops: a first request may be on its way.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// Serves a connection until it ends, or until the process stops or another is to have its place, and it
/// is not within a request.
pub(super) async fn serve(
    accepted: Accepted,
    current: Arc<Current>,
    stage: watch::Receiver<Stage>,
) -> Result<(), BoxError> {
    let place = Arc::new(accepted.place);
    let _open = Open::new(&current.get().serving.account.metrics().connections);
    let visitor = |current, peer| Visitor {
        current,
        peer,
        place: place.clone(),
    };
    match accepted.stream {
        Stream::Unix(stream) => {
            let mut stream = UnixStream::from_std(stream)?;
            let peer = before(peer(&mut stream, None, &current), &place, &stage).await??;
            http1(stream, visitor(current, peer), stage).await
        }
        Stream::Tcp(stream, address) => {
            let mut stream = TcpStream::from_std(stream)?;
            stream.set_nodelay(true)?;
            let peer = peer(&mut stream, Some(address), &current);
            let peer = before(peer, &place, &stage).await??;
            let tls = current.get().serving.entrance.tls.clone();
            let visitor = visitor(current, peer);
            match tls {
                None => http1(stream, visitor, stage).await,
                // Boxed: a connection without TLS needs no room for it.
                Some(tls) => Box::pin(over_tls(stream, tls, visitor, stage)).await,
            }
        }
    }
}

/// Serves a connection once TLS is agreed on.
async fn over_tls(
    stream: TcpStream,
    tls: Arc<ServerTls>,
    visitor: Visitor,
    stage: watch::Receiver<Stage>,
) -> Result<(), BoxError> {
    // Of what agreeing takes nothing is kept for as long as the connection lives.
    let stream = {
        let account = visitor.current.get().serving.account.clone();
        let failures = &account.metrics().tls_handshake_failures;
        let agreed = agree(TlsAcceptor::from(tls.current()), stream, failures);
        before(Box::pin(agreed), &visitor.place, &stage).await??
    };
    drop(tls);
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        Box::pin(http2(stream, visitor, stage)).await
    } else {
        Box::pin(http1(stream, visitor, stage)).await
    }
}

/// What comes before the first request, which ends when somebody else is to have the place, and is not
/// waited for once the process stops.
async fn before<T>(
    entering: impl Future<Output = T>,
    place: &Place,
    stage: &watch::Receiver<Stage>,
) -> Result<T, BoxError> {
    let mut stage = stage.clone();
    let stopped = async move {
        let _ = stage.wait_for(|&now| now == Stage::Stopping).await;
        sleep(LAST_REQUEST).await;
    };
    tokio::select! {
        entered = entering => Ok(entered),
        () = place.wanted() => Err("its place was wanted before its first request".into()),
        () = stopped => Err("the process stopped before its first request".into()),
    }
}

/// Agrees on TLS. Whoever it cannot be agreed on with is told why.
async fn agree(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    failures: &Counter,
) -> Result<TlsStream<TcpStream>, BoxError> {
    let agreed = acceptor.accept(stream).into_fallible();
    let failed = match timeout(TLS_TIMEOUT, agreed).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(failed)) => Some(failed),
        Err(_) => None,
    };
    failures.inc();
    let Some((error, stream)) = failed else {
        return Err("TLS was not agreed on in time".into());
    };
    let _ = timeout(LINGER, linger(stream)).await;
    Err(error.into())
}

/// Reads what a client had on its way: with that unread, closing would reset the connection and take the
/// alert from the client's hands.
async fn linger(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = stream.take(LINGER_BYTES);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
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

/// What answers the requests of a connection of HTTP/1.1.
struct Answering {
    visitor: Visitor,
    line: Line,
}

impl Answer for Answering {
    type Body = Keeping<Accounted, (strict::Busy, places::Busy)>;

    async fn answer<B: Body<Data: Send> + Send + 'static>(
        &self,
        head: Arc<Head>,
        body: B,
    ) -> Response<Self::Body> {
        let busy = (self.line.busy(), self.visitor.place.busy());
        let response = self.visitor.answer(head, body, Some(&self.line)).await;
        response.map(|body| Keeping::new(body, busy))
    }
}

async fn http1<S>(
    stream: S,
    visitor: Visitor,
    mut stage: watch::Receiver<Stage>,
) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let settings = visitor.current.get().serving.clients;
    let place = visitor.place.clone();
    // It has the deadlines too, so nobody else needs any.
    let (stream, line) = Strict::new(stream, settings);
    let answering = Arc::new(Answering { visitor, line });
    let leaving = AtomicBool::new(false);
    // Shared at once: what a connection is served by has no room for a stream besides.
    let wire = http1::Shared::new(stream);
    let mut connection = pin!(served(wire, answering, settings, &leaving));
    let leave = Rarely::new(async {
        tokio::select! {
            _ = stage.wait_for(|&now| now == Stage::Stopping) => LAST_REQUEST,
            () = place.wanted() => ROOM,
        }
    });
    let patience = tokio::select! {
        biased;
        done = connection.as_mut() => return done,
        patience = leave => patience,
    };
    leaving.store(true, Ordering::Relaxed);
    loop {
        match timeout(patience, connection.as_mut()).await {
            Ok(done) => return done,
            // It has sent part of a head, or does not read its last answer.
            Err(_) if place.is_idle() => return Ok(()),
            Err(_) => {}
        }
    }
}

/// Serves the usual requests of a connection, and has the HTTP library serve it from the first on that is
/// not.
async fn served<S>(
    wire: http1::Shared<Strict<S>>,
    answering: Arc<Answering>,
    settings: strict::Settings,
    leaving: &AtomicBool,
) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match http1::serve(wire, &*answering, leaving).await? {
        Served::Done => Ok(()),
        Served::Unusual(stream) => Box::pin(library(*stream, answering, settings, leaving)).await,
    }
}

async fn library<S>(
    stream: Prefixed<Strict<S>>,
    answering: Arc<Answering>,
    settings: strict::Settings,
    leaving: &AtomicBool,
) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answering = answering.clone();
        let (head, body) = request.into_parts();
        let (head, body) = (Arc::new(Head::from(head)), Box::new(body));
        // Boxed: the library has room for it for as long as the connection lives.
        in_place(|| async move { Ok::<_, Infallible>(answering.answer(head, body).await) })
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .max_header_size(settings.head_max)
        .max_buf_size(settings.head_max.max(64 * 1024))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    poll_fn(|cx| {
        if leaving.load(Ordering::Relaxed) {
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await?;
    Ok(())
}

async fn http2<S>(
    stream: S,
    visitor: Visitor,
    mut stage: watch::Receiver<Stage>,
) -> Result<(), BoxError>
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
    let answer = move |request: Request<_>| {
        let visitor = visitor.clone();
        let (head, body) = request.into_parts();
        let (head, body) = (Arc::new(Head::from(head)), Box::pin(body));
        // Boxed: the library has room for it for as long as the answer is a stream.
        in_place(|| async move {
            let busy = visitor.place.busy();
            let response = visitor.answer(head, body, None).await;
            Ok(response.map(|body| Keeping::new(body, busy)))
        })
    };
    http2::serve(stream, settings, answer, leave).await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::proxy::places::Places;

    // Fails when `before` does not look at the place, or not at the stage.
    #[tokio::test(start_paused = true)]
    async fn who_is_silent_before_the_first_request_makes_room_and_delays_no_stop() {
        let (stages, stage) = watch::channel(Stage::Serving);
        let places = Places::new(1);
        let place = places.take().await;
        let silent = tokio::spawn({
            let stage = stage.clone();
            async move { before(pending::<()>(), &place, &stage).await.is_err() }
        });
        let begun = Instant::now();
        let next = places.take().await;
        assert!(begun.elapsed() < LAST_REQUEST);
        assert!(silent.await.unwrap());
        stages.send_replace(Stage::Stopping);
        let begun = Instant::now();
        assert!(before(pending::<()>(), &next, &stage).await.is_err());
        assert_eq!(begun.elapsed(), LAST_REQUEST);
    }

    // Fails when `linger` does not read.
    #[tokio::test]
    async fn who_is_refused_can_read_why() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        client.write_all(&[7; 1000]).await.unwrap();
        stream.readable().await.unwrap();
        stream.write_all(b"why").await.unwrap();
        let lingering = tokio::spawn(linger(stream));
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"why");
        drop(client);
        lingering.await.unwrap().unwrap();
    }
}
