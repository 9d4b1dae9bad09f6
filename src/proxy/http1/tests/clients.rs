//! A client's connection: what is written to it, and what ends it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{poll, stream};
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::body::Shared;
use super::super::outbox;
use super::super::serve::{Answer, Served, serve};
use super::whole;
use crate::layer::{BoxError, Head};

/// What a test sends as the body of its answer, piece by piece.
type Pieces = mpsc::UnboundedReceiver<Result<&'static str, BoxError>>;

/// Answers by the path that is asked for.
struct Paths {
    pieces: std::sync::Mutex<Option<Pieces>>,
    dropped: Arc<AtomicBool>,
}

struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Answer for Paths {
    type Body = UnsyncBoxBody<Bytes, BoxError>;

    async fn answer<B: Body<Data: Send> + Send + 'static>(
        &self,
        head: Arc<Head>,
        body: B,
    ) -> Response<Self::Body> {
        match head.uri.path() {
            "/none" => {
                let mut response = Response::new(whole("not to be seen"));
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            "/early" => Response::new(whole("early")),
            "/never" => {
                let _dropped = Dropped(self.dropped.clone());
                std::future::pending().await
            }
            "/pieces" => {
                let pieces = self.pieces.lock().unwrap().take().unwrap();
                let frames = stream::unfold(pieces, |mut pieces| async {
                    let piece = pieces.recv().await?;
                    Some((piece.map(|text| Frame::data(Bytes::from(text))), pieces))
                });
                Response::new(StreamBody::new(frames).boxed_unsync())
            }
            "/some" => Response::new(whole(&"x".repeat(10_000))),
            "/long" => Response::new(whole(&"x".repeat(3 << 20))),
            _ => {
                let body = body.collect().await.map(|body| body.to_bytes());
                let body = body.unwrap_or_else(|_| Bytes::from_static(b"broken"));
                Response::new(whole(&format!("{} bytes", body.len())))
            }
        }
    }
}

struct Client {
    stream: DuplexStream,
    pieces: mpsc::UnboundedSender<Result<&'static str, BoxError>>,
    dropped: Arc<AtomicBool>,
    leaving: Arc<AtomicBool>,
    served: tokio::task::JoinHandle<bool>,
}

/// A connection that is served by a core with an outbox, with so much room between the two ends. Something else is
/// always written first, so that its answers are late.
fn client(room: usize) -> Client {
    tokio::spawn(outbox::open());
    client_of(room, true)
}

/// A connection that is served, whose answers are late if the core has an outbox and `another_came_first`.
fn client_of(room: usize, another_came_first: bool) -> Client {
    let (stream, theirs) = duplex(room);
    let (pieces, from) = mpsc::unbounded_channel();
    let (dropped, leaving) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let paths = Paths {
        pieces: std::sync::Mutex::new(Some(from)),
        dropped: dropped.clone(),
    };
    let left = leaving.clone();
    let served = async move {
        matches!(
            serve(Shared::new(theirs), &paths, &left).await,
            Ok(Served::Done)
        )
    };
    let mut served = Box::pin(served);
    let served = tokio::spawn(poll_fn(move |cx| {
        if another_came_first {
            outbox::next_is_late();
        }
        served.as_mut().poll(cx)
    }));
    Client {
        stream,
        pieces,
        dropped,
        leaving,
        served,
    }
}

impl Client {
    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// What comes until nothing does, without the date.
    async fn read(&mut self) -> String {
        let (mut read, mut some) = (Vec::new(), [0; 65536]);
        let patience = Duration::from_millis(200);
        while let Ok(Ok(n @ 1..)) = timeout(patience, self.stream.read(&mut some)).await {
            read.extend_from_slice(&some[..n]);
        }
        let read = String::from_utf8(read).unwrap();
        let lines = read
            .split("\r\n")
            .filter(|line| !line.starts_with("date: "));
        lines.collect::<Vec<_>>().join("\r\n")
    }
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
}

const TWO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n2 bytes";

// Fails when what comes first in a turn waits for its end, which here never comes.
#[tokio::test(start_paused = true)]
async fn the_first_answer_of_a_turn_waits_for_nothing() {
    let mut outbox = pin!(outbox::open());
    assert!(poll!(outbox.as_mut()).is_pending());
    let mut client = client_of(1 << 20, false);
    client.send(&post("/", "{}").repeat(2)).await;
    assert_eq!(client.read().await, TWO);
    assert!(poll!(outbox.as_mut()).is_pending());
    assert_eq!(client.read().await, TWO);
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_in_order_however_they_are_cut() {
    let mut client = client(1 << 20);
    client.send(&post("/", "{}").repeat(3)).await;
    assert_eq!(client.read().await, TWO.repeat(3));
    let large = post("/", &"x".repeat(200_000));
    let (first, second) = large.split_at(100_000);
    client.send(first).await;
    assert_eq!(client.read().await, "");
    client.send(second).await;
    client.send(&post("/", "{}")[..30]).await;
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n200000 bytes";
    assert_eq!(client.read().await, answer);
    client.send(&post("/", "{}")[30..]).await;
    assert_eq!(client.read().await, TWO);
}

// Fails when a body is gathered to its end before anything of it is written.
#[tokio::test(start_paused = true)]
async fn what_comes_in_pieces_is_passed_on_in_pieces() {
    let mut client = client(1 << 20);
    client.send(&post("/pieces", "{}")).await;
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(client.read().await, head);
    client.pieces.send(Ok("one")).unwrap();
    client.pieces.send(Ok("")).unwrap();
    client.pieces.send(Ok("two")).unwrap();
    assert_eq!(client.read().await, "6\r\nonetwo\r\n");
    client.pieces.send(Ok("three")).unwrap();
    assert_eq!(client.read().await, "5\r\nthree\r\n");
    let (gone, _) = mpsc::unbounded_channel();
    drop(std::mem::replace(&mut client.pieces, gone));
    assert_eq!(client.read().await, "0\r\n\r\n");
    client.send(&post("/", "{}")).await;
    assert_eq!(client.read().await, TWO);
}

// Fails when the end of a chunked body is written behind one that broke off.
#[tokio::test(start_paused = true)]
async fn what_breaks_off_does_not_look_whole() {
    let mut client = client(1 << 20);
    client.pieces.send(Ok("one")).unwrap();
    client.pieces.send(Err("broken".into())).unwrap();
    client.send(&post("/pieces", "{}")).await;
    let cut = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";
    assert_eq!(client.read().await, cut);
    assert!(!client.served.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_body_has_none() {
    let mut client = client(1 << 20);
    client.send(&post("/none", "{}")).await;
    assert_eq!(client.read().await, "HTTP/1.1 204 No Content\r\n\r\n");
    client.send(&post("/", "{}")).await;
    assert_eq!(client.read().await, TWO);
}

// Fails when what is left of a body is taken for the next request.
#[tokio::test(start_paused = true)]
async fn an_answer_before_the_body_ends_the_connection() {
    let mut client = client(1 << 20);
    let whole = post("/early", &"x".repeat(100_000));
    client.send(&whole[..70_000]).await;
    let early = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nearly";
    assert_eq!(client.read().await, early);
    assert!(client.served.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_for_it_is_not_kept() {
    let mut client = client(1 << 20);
    let request = post("/", "{}").replace("Host: a", "Host: a\r\nConnection: Close");
    client.send(&request).await;
    let last = TWO.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    assert_eq!(client.read().await, last);
    assert!(client.served.await.unwrap());
}

// Fails when nobody looks at the client while its request is answered.
#[tokio::test(start_paused = true)]
async fn who_has_gone_is_not_worked_for() {
    let mut client = client(1 << 20);
    client.send(&post("/never", "{}")).await;
    assert_eq!(client.read().await, "");
    assert!(!client.dropped.load(Ordering::Relaxed));
    drop(client.stream);
    assert!(client.served.await.unwrap());
    assert!(client.dropped.load(Ordering::Relaxed));
}

// Fails when what finds no room is lost, or more is taken than there is room for.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_every_byte() {
    let mut client = client(1000);
    client.send(&post("/long", "{}")).await;
    let read = client.read().await;
    let length = read.bytes().filter(|&byte| byte == b'x').count();
    assert_eq!(length, 3 << 20);
    client.send(&post("/", "{}")).await;
    assert_eq!(client.read().await, TWO);
}

// Fails when `may_leave` is not asked, or asked before a first request.
#[tokio::test(start_paused = true)]
async fn who_leaves_answers_a_first_request_and_no_other() {
    let mut first = client(1 << 20);
    first.leaving.store(true, Ordering::Relaxed);
    first.send(&post("/", "{}")).await;
    let last = TWO.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    assert_eq!(first.read().await, last);
    assert!(first.served.await.unwrap());
}

// Fails when the end of what a client sends is taken for its leaving.
#[tokio::test(start_paused = true)]
async fn who_sends_nothing_more_is_answered_all_he_asked() {
    let mut client = client(1 << 20);
    client.send(&post("/", "{}").repeat(2)).await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.read().await, TWO.repeat(2));
    assert!(client.served.await.unwrap());
}

// Fails when `skip_body` does nothing, or skips what is no longer the body.
#[tokio::test(start_paused = true)]
async fn a_small_rest_that_is_there_ends_no_connection() {
    let mut client = client(1 << 20);
    client.send(&post("/early", &"x".repeat(65_500))).await;
    client.send(&post("/", "{}")).await;
    let early = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly";
    assert_eq!(client.read().await, format!("{early}{TWO}"));
}

// Fails when what is late keeps the connection from the library, or is lost on the way.
#[tokio::test(start_paused = true)]
async fn an_unusual_request_behind_others_goes_over_with_all_answered() {
    // Less room than one answer takes.
    let client = client(50);
    let unusual = "GET / HTTP/1.0\r\n\r\n";
    let requests = post("/", "{}").repeat(2) + unusual;
    let (mut read, mut write) = tokio::io::split(client.stream);
    let sending = async move { write.write_all(requests.as_bytes()).await.unwrap() };
    tokio::spawn(sending);
    let mut answers = String::new();
    read.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("2 bytes").count(), 2);
    // Done is what it is not: the library has it.
    assert!(!client.served.await.unwrap());
}

// Fails when answers that are late are put together without end for a client that reads none.
#[tokio::test(start_paused = true)]
async fn who_reads_no_answers_is_given_no_more() {
    let client = client(1000);
    let requests = post("/", "{}").repeat(100_000);
    let (mut read, mut write) = tokio::io::split(client.stream);
    let sending = tokio::spawn(async move { write.write_all(requests.as_bytes()).await });
    assert!(
        timeout(Duration::from_secs(9), client.served)
            .await
            .is_err()
    );
    assert!(!sending.is_finished());
    let mut some = vec![0; TWO.len()];
    read.read_exact(&mut some).await.unwrap();
    assert!(some.starts_with(b"HTTP/1.1 200 OK"));
    sending.abort();
}

// Fails when the rest of an answer that was late waits for the next answer, or for ever.
#[tokio::test(start_paused = true)]
async fn the_rest_of_an_answer_waits_for_no_other() {
    // Room for both requests, not for the answer.
    let mut client = client(500);
    client
        .send(&(post("/some", "{}") + &post("/never", "{}")))
        .await;
    let read = client.read().await;
    assert_eq!(read.bytes().filter(|&byte| byte == b'x').count(), 10_000);
    assert!(!client.served.is_finished());
}
