//! HTTP/2 on one connection: how much a client may have under way, and how long it may do nothing.
//!
//! It is spoken where TLS agreed on it (ALPN), and nowhere else: not on a port without TLS, where a
//! proxy in front that does not know of it would pass its frames on without seeing requests in them.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::connection::Broken;
use super::keeping::Keeping;

/// Requests of one connection at one moment.
const STREAMS: u32 = 100;
/// Bytes of one request's body that are read ahead of the layer.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same of all requests of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one answer that wait for a client to take them.
const SEND_BUFFER: usize = 64 * 1024;
/// The largest frame: the smallest bound a peer may be given.
const FRAME: u32 = 16 * 1024;
/// Streams a client may take back before they were looked at (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// Streams it may have us take back (CVE-2025-8671).
const LOCAL_RESETS: usize = 100;
/// How often a client that says nothing is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
/// How long a client may take to begin.
const GREETING: Duration = Duration::from_secs(10);
/// The preface and the head of the SETTINGS that must follow.
const GREETED: usize = 24 + 9;
/// How long a connection may be without any request.
const IDLE: Duration = Duration::from_secs(60);
/// How long a client may take to leave once it was told to.
const LEAVE: Duration = Duration::from_secs(5);

/// Serves a connection until it ends. Once `leave` resolves it takes no further requests, and ends when
/// those under way do.
pub(super) async fn serve<S, A, F, B>(
    stream: S,
    head_max: usize,
    answer: A,
    leave: impl Future<Output = ()>,
) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Broken>,
{
    let pulse = Arc::new(Pulse::new());
    let counted = service_fn(|request| {
        let open = Open::new(pulse.clone());
        let answer = answer(request);
        async move {
            let response = answer.await;
            response.map(|response| response.map(|body| Keeping::new(body, open)))
        }
    });
    let heard = Heard {
        stream,
        pulse: pulse.clone(),
    };
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_frame_size(FRAME)
        .max_header_list_size(u32::try_from(head_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .serve_connection(TokioIo::new(heard), counted);
    let mut connection = pin!(connection);
    tokio::select! {
        done = connection.as_mut() => return Ok(done?),
        () = leave => {}
        late = pulse.late() => if let Late::Greeting = late {
            return Err(Broken::from("no SETTINGS in time"));
        },
    }
    // GOAWAY.
    connection.as_mut().graceful_shutdown();
    loop {
        match timeout(LEAVE, connection.as_mut()).await {
            Ok(done) => return Ok(done?),
            // It has nothing to lose.
            Err(_) if pulse.is_idle() => return Ok(()),
            Err(_) => {}
        }
    }
}

/// What a client did last.
struct Pulse {
    began: Instant,
    /// Bytes read, until they are enough for a greeting.
    heard: AtomicUsize,
    open: AtomicUsize,
    /// When the last request ended, in milliseconds since the beginning.
    ended: AtomicU64,
}

/// What a client has not done in time.
enum Late {
    Greeting,
    Request,
}

impl Pulse {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            heard: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            ended: AtomicU64::new(0),
        }
    }

    /// Whether no request is under way.
    fn is_idle(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    /// Returns once the client is late.
    async fn late(&self) -> Late {
        sleep(GREETING).await;
        if self.heard.load(Ordering::Relaxed) < GREETED {
            return Late::Greeting;
        }
        loop {
            let ended = self.began + Duration::from_millis(self.ended.load(Ordering::Relaxed));
            let busy = !self.is_idle();
            let now = Instant::now();
            if !busy && now >= ended + IDLE {
                return Late::Request;
            }
            // A request that ends meanwhile moves the end: it is looked at again then.
            sleep_until(if busy { now + IDLE / 6 } else { ended + IDLE }).await;
        }
    }
}

/// A request, from its head to the end of its answer.
struct Open(Arc<Pulse>);

impl Open {
    fn new(pulse: Arc<Pulse>) -> Self {
        pulse.open.fetch_add(1, Ordering::Relaxed);
        Self(pulse)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let since = self.0.began.elapsed().as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.0.ended.store(since, Ordering::Relaxed);
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream whose first bytes are counted.
struct Heard<S> {
    stream: S,
    pulse: Arc<Pulse>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let heard = &self.pulse.heard;
        if heard.load(Ordering::Relaxed) < GREETED {
            heard.fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use h2::client;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::sync::{oneshot, watch};
    use tokio::task::JoinHandle;

    use super::*;

    type Served = JoinHandle<Result<(), Broken>>;

    /// A connection whose requests are answered once `answer` says so.
    fn connection(drain: &watch::Sender<bool>) -> (DuplexStream, Served) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let answer = |request: Request<Incoming>| async move {
            let seconds = request
                .uri()
                .path()
                .trim_start_matches('/')
                .parse()
                .unwrap();
            sleep(Duration::from_secs(seconds)).await;
            Ok(Response::new(Full::new(Bytes::from("done"))))
        };
        let mut drain = drain.subscribe();
        let leave = async move { drop(drain.wait_for(|&now| now).await) };
        let served = tokio::spawn(serve(far, 64 * 1024, answer, leave));
        (near, served)
    }

    /// A client's connection that ends when the server says so.
    async fn client(stream: DuplexStream) -> (client::SendRequest<Bytes>, oneshot::Receiver<()>) {
        let (sender, connection) = client::handshake(stream).await.unwrap();
        let (ended, end) = oneshot::channel();
        tokio::spawn(async move {
            let _ = connection.await;
            let _ = ended.send(());
        });
        (sender, end)
    }

    async fn ask(sender: &client::SendRequest<Bytes>, seconds: u64) -> Result<Bytes, h2::Error> {
        let request = Request::get(format!("http://h/{seconds}"))
            .body(())
            .unwrap();
        let (answer, _) = sender.clone().ready().await?.send_request(request, true)?;
        let mut body = answer.await?.into_body();
        let data = body.data().await.unwrap()?;
        Ok(data)
    }

    // Fails when `late` does not look at what was heard.
    #[tokio::test(start_paused = true)]
    async fn who_does_not_begin_is_cut_after_ten_seconds() {
        let drain = watch::Sender::new(false);
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let settings = &[0, 0, 0, 4, 0, 0, 0, 0][..];
        for begun in [
            &b""[..],
            &preface[..10],
            preface,
            &[preface, settings].concat(),
        ] {
            let (mut stream, served) = connection(&drain);
            stream.write_all(begun).await.unwrap();
            let before = Instant::now();
            assert!(served.await.unwrap().is_err());
            assert_eq!(before.elapsed().as_secs(), 10, "{}", begun.escape_ascii());
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
        }
    }

    // Fails when requests under way are not counted, or one that ended does not begin a new minute.
    #[tokio::test(start_paused = true)]
    async fn a_minute_without_a_request_ends_a_connection_and_a_long_answer_does_not() {
        let drain = watch::Sender::new(false);
        let (stream, served) = connection(&drain);
        let before = Instant::now();
        let (sender, end) = client(stream).await;
        assert_eq!(ask(&sender, 300).await.unwrap(), "done");
        sleep(Duration::from_secs(50)).await;
        assert_eq!(ask(&sender, 0).await.unwrap(), "done");
        end.await.unwrap();
        let lasted = before.elapsed().as_secs();
        assert!((410..=411).contains(&lasted), "{lasted}");
        // The client may have gone first: a broken pipe.
        let _ = served.await.unwrap();
    }

    // Fails when `drain` is not looked at, or cuts what is under way.
    #[tokio::test(start_paused = true)]
    async fn a_stop_lets_what_is_under_way_end_and_nothing_more_begin() {
        let drain = watch::Sender::new(false);
        let (stream, served) = connection(&drain);
        let (sender, end) = client(stream).await;
        let slow = ask(&sender, 7);
        let stop = async {
            sleep(Duration::from_secs(1)).await;
            drain.send_replace(true);
            sleep(Duration::from_secs(1)).await;
            let refused = ask(&sender, 0).await.unwrap_err();
            assert!(
                refused.is_go_away() || refused.is_io() || refused.is_reset(),
                "{refused}"
            );
        };
        let (slow, ()) = tokio::join!(slow, stop);
        assert_eq!(slow.unwrap(), "done");
        end.await.unwrap();
        served.await.unwrap().unwrap();
    }
}
