//! HTTP/2 on one connection: how much a client may have under way, and how long it may do nothing.
//!
//! It is spoken where TLS agreed on it (ALPN), and nowhere else: not on a port without TLS, where a
//! proxy in front that does not know of it would pass its frames on without seeing requests in them.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
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
use tokio::time::timeout;

use super::patient::Patient;
use super::pulse::{Late, Open, Pulse, Taken};
use super::strict::Settings;
use crate::layer::BoxError;

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
/// How long a client may take to leave once it was told to.
const LEAVE: Duration = Duration::from_secs(5);

const UNTAKEN: &str = "an answer was not taken in time";

/// Serves a connection until it ends, or its client is late by `settings`. Once `leave` resolves it takes no further requests, and ends when
/// those under way do.
pub(super) async fn serve<S, A, F, B>(
    stream: S,
    settings: Settings,
    answer: A,
    leave: impl Future<Output = ()>,
) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Patient<Incoming>>) -> F,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let pulse = Pulse::new(settings);
    let counted = service_fn(|request: Request<Incoming>| {
        let open = Open::new(pulse.clone());
        let answer = answer(request.map(|body| Patient::new(body, settings.read_timeout)));
        async move {
            let response = answer.await;
            response.map(|response| response.map(|body| Taken::new(body, open)))
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
        .max_header_list_size(u32::try_from(settings.head_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .serve_connection(TokioIo::new(heard), counted);
    let mut connection = pin!(connection);
    tokio::select! {
        done = connection.as_mut() => return Ok(done?),
        () = leave => {}
        late = pulse.late() => match late {
            Late::Request => {}
            Late::Greeting => return Err("no SETTINGS in time".into()),
            Late::Taking => return Err(UNTAKEN.into()),
        },
    }
    // GOAWAY.
    connection.as_mut().graceful_shutdown();
    loop {
        match timeout(LEAVE, connection.as_mut()).await {
            Ok(done) => return Ok(done?),
            // It has nothing to lose.
            Err(_) if pulse.is_idle() => return Ok(()),
            Err(_) if pulse.look() == Err(Late::Taking) => return Err(UNTAKEN.into()),
            Err(_) => {}
        }
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
        self.pulse.heard(buffer.filled().len() - before);
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
    use http_body_util::{BodyExt as _, Full};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::sync::{oneshot, watch};
    use tokio::task::JoinHandle;
    use tokio::time::{Instant, sleep};

    use super::*;

    type Served = JoinHandle<Result<(), BoxError>>;

    const SETTINGS: Settings = Settings {
        head_max: 64 * 1024,
        read_timeout: Duration::from_secs(7),
        idle_timeout: Duration::from_secs(40),
    };
    const LARGE: usize = 200_000;

    /// A connection whose requests are read, and answered once their path says so.
    fn connection(drain: &watch::Sender<bool>) -> (DuplexStream, Served) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let answer = |request: Request<Patient<Incoming>>| async move {
            let path = request.uri().path().trim_start_matches('/').to_owned();
            let read = request.into_body().collect().await;
            let answer = match (read, path.parse()) {
                (Err(error), _) => error.to_string().into(),
                (_, Ok(seconds)) => {
                    sleep(Duration::from_secs(seconds)).await;
                    Bytes::from("done")
                }
                (_, Err(_)) => vec![b'x'; LARGE].into(),
            };
            Ok(Response::new(Full::new(answer)))
        };
        let mut drain = drain.subscribe();
        let leave = async move { drop(drain.wait_for(|&now| now).await) };
        let served = tokio::spawn(serve(far, SETTINGS, answer, leave));
        (near, served)
    }

    /// A client's connection that ends when the server says so.
    async fn client(stream: DuplexStream) -> (client::SendRequest<Bytes>, oneshot::Receiver<()>) {
        with_window(stream, 65_535).await
    }

    /// The same, with room for so many bytes of each answer.
    async fn with_window(
        stream: DuplexStream,
        window: u32,
    ) -> (client::SendRequest<Bytes>, oneshot::Receiver<()>) {
        let handshake = client::Builder::new()
            .initial_window_size(window)
            .handshake(stream);
        let (sender, connection) = handshake.await.unwrap();
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
    async fn who_does_not_begin_in_time_is_cut() {
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
            assert_eq!(
                before.elapsed(),
                SETTINGS.read_timeout,
                "{}",
                begun.escape_ascii()
            );
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
        }
    }

    // Fails when requests under way are not counted, or one that ended does not begin it anew.
    #[tokio::test(start_paused = true)]
    async fn idle_time_ends_a_connection_and_a_long_answer_does_not() {
        let drain = watch::Sender::new(false);
        let (stream, served) = connection(&drain);
        let before = Instant::now();
        let (sender, end) = client(stream).await;
        assert_eq!(ask(&sender, 300).await.unwrap(), "done");
        sleep(Duration::from_secs(35)).await;
        assert_eq!(ask(&sender, 0).await.unwrap(), "done");
        end.await.unwrap();
        let lasted = before.elapsed().as_secs();
        assert!((375..=376).contains(&lasted), "{lasted}");
        // The client may have gone first: a broken pipe.
        let _ = served.await.unwrap();
    }

    // Fails when `look` minds no answers, also in the loop of `serve`, or `Taken` does not say that one waits.
    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_ends_the_connection() {
        for stops in [false, true] {
            let drain = watch::Sender::new(false);
            let (stream, served) = connection(&drain);
            let (sender, end) = with_window(stream, 0).await;
            let before = Instant::now();
            let request = Request::get("http://h/0").body(()).unwrap();
            let (answer, _) = sender.clone().send_request(request, true).unwrap();
            let mut body = answer.await.unwrap().into_body();
            drain.send_replace(stops);
            let cut = body.data().await.unwrap();
            assert!(cut.is_err(), "{cut:?}");
            let lasted = before.elapsed();
            assert!(
                lasted >= SETTINGS.idle_timeout && lasted < SETTINGS.idle_timeout + LEAVE,
                "{lasted:?}"
            );
            end.await.unwrap();
            assert_eq!(served.await.unwrap().unwrap_err().to_string(), UNTAKEN);
        }
    }

    // Fails when an answer is handed out in one piece, or taking one does not begin the time anew.
    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_taken_slowly_goes_on() {
        let drain = watch::Sender::new(false);
        let (stream, _served) = connection(&drain);
        let (sender, _end) = with_window(stream, 1000).await;
        let request = Request::get("http://h/large").body(()).unwrap();
        let (answer, _) = sender.clone().send_request(request, true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        let mut read = 0;
        let before = Instant::now();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            read += data.len();
            sleep(Duration::from_millis(data.len() as u64)).await;
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        assert_eq!(read, LARGE);
        assert!(before.elapsed() > 2 * SETTINGS.idle_timeout);
    }

    // Fails when `Patient` does not look at the clock, or not from the last frame on.
    #[tokio::test(start_paused = true)]
    async fn a_body_may_be_slow_and_must_not_pause() {
        let drain = watch::Sender::new(false);
        let (stream, _served) = connection(&drain);
        let (sender, _end) = client(stream).await;
        for (pauses, answered) in [
            (&[6, 6, 6][..], "done"),
            (&[6, 8], "the body paused for too long"),
        ] {
            let request = Request::post("http://h/0").body(()).unwrap();
            let (answer, mut to) = sender.clone().send_request(request, false).unwrap();
            let write = async {
                for pause in pauses {
                    sleep(Duration::from_secs(*pause)).await;
                    // Refused once it is answered.
                    let _ = to.send_data(Bytes::from("x"), false);
                }
                let _ = to.send_data(Bytes::new(), true);
            };
            let (answer, ()) = tokio::join!(answer, write);
            let mut body = answer.unwrap().into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), answered);
        }
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
