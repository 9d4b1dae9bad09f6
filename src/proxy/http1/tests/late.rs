//! Requests that are written at the end of a core's turn, for another came first; and those that are not.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::poll;
use http::Request;
use tokio::task::yield_now;

use super::super::connection::{Connection, Stream};
use super::super::outbox;
use crate::layer::RequestBody;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull";

/// A backend's connection on a core with an outbox, and its other end.
async fn connection() -> (Box<Connection>, UnixStream) {
    tokio::spawn(outbox::open());
    yield_now().await;
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    let ours = tokio::net::UnixStream::from_std(ours).unwrap();
    ours.writable().await.unwrap();
    (Connection::new(Stream::Unix(ours), Arc::default()), theirs)
}

fn request(body: &Bytes) -> Option<Box<Request<RequestBody>>> {
    let request = Request::post("/mcp?key=secret").header("x", "y");
    Some(Box::new(request.body(body.clone().into()).unwrap()))
}

/// Whether all of a request is there, to be sent elsewhere.
fn is_whole(asked: Option<Box<Request<RequestBody>>>) -> bool {
    let (head, body) = asked.unwrap().into_parts();
    head.method == "POST"
        && head.uri == "/mcp?key=secret"
        && head.headers.len() == 1
        && body.len() == 2
}

/// As if something else had been written in this turn.
fn another_came_first() {
    outbox::next_is_late();
}

/// Once the runtime knows what became of its sockets.
async fn noticed() {
    for _ in 0..10 {
        yield_now().await;
    }
}

/// What can be read now.
fn there(stream: &mut UnixStream) -> String {
    let mut read = [0; 1000];
    let n = stream.read(&mut read).unwrap_or_default();
    String::from_utf8(read[..n].to_vec()).unwrap()
}

// Fails when a turn's first request waits, another is written in the middle of it, or kept until its task is woken.
#[tokio::test]
async fn requests_of_one_turn_but_the_first_are_written_at_its_end_and_let_go() {
    let (none, mut at_once) = connection().await;
    let (one, mut first) = connection().await;
    let (two, mut second) = connection().await;
    let body = Bytes::from(b"{}".to_vec());
    let (mut soon, mut asked, mut also) = (request(&body), request(&body), request(&body));
    let mut sooner = pin!(none.ask(&mut soon, None));
    let mut asking = pin!(one.ask(&mut asked, None));
    let mut other = pin!(two.ask(&mut also, None));
    assert!(poll!(sooner.as_mut()).is_pending());
    assert!(there(&mut at_once).ends_with("\r\n\r\n{}"));
    assert!(poll!(asking.as_mut()).is_pending());
    assert!(poll!(other.as_mut()).is_pending());
    assert_eq!((there(&mut first), there(&mut second)), Default::default());
    assert!(!body.is_unique());
    yield_now().await;
    assert!(there(&mut first).starts_with("POST /mcp?key=secret HTTP/1.1\r\n"));
    assert!(there(&mut second).ends_with("\r\n\r\n{}"));
    assert!(body.is_unique(), "what was written is kept");
    first.write_all(ANSWER).unwrap();
    assert!(asking.await.is_ok());
}

// Fails when what comes before a request is taken for its answer, or the request is sent or lost all the same.
#[tokio::test]
async fn who_speaks_before_he_was_asked_is_not_asked() {
    for is_late in [true, false] {
        let (connection, mut theirs) = connection().await;
        let mut asked = request(&Bytes::from_static(b"{}"));
        theirs.write_all(ANSWER).unwrap();
        noticed().await;
        if is_late {
            another_came_first();
        }
        let broken = connection.ask(&mut asked, None).await.err();
        assert!(broken.unwrap().is_unsent);
        assert!(is_whole(asked));
        yield_now().await;
        theirs.set_nonblocking(false).unwrap();
        assert_eq!(there(&mut theirs), "");
    }
}

// Fails when a request that could not be written is lost, or counted as sent.
#[tokio::test]
async fn what_was_not_written_is_given_back() {
    for (is_late, is_noticed) in [(true, true), (true, false), (false, true)] {
        let (connection, theirs) = connection().await;
        let mut asked = request(&Bytes::from_static(b"{}"));
        let mut theirs = Some(theirs);
        if is_noticed {
            theirs = None;
            noticed().await;
        }
        if is_late {
            another_came_first();
        }
        let broken = {
            let mut asking = pin!(connection.ask(&mut asked, None));
            let polled = poll!(asking.as_mut());
            assert_eq!(polled.is_ready(), is_noticed);
            match polled {
                Poll::Ready(done) => done.err(),
                Poll::Pending => {
                    // The outbox is the first to see it.
                    drop(theirs);
                    asking.await.err()
                }
            }
        };
        assert!(broken.unwrap().is_unsent);
        assert!(is_whole(asked));
    }
}

// Fails when what nobody waits for is written all the same.
#[tokio::test]
async fn who_waits_no_more_asks_nothing() {
    let (connection, mut theirs) = connection().await;
    let mut asked = request(&Bytes::from_static(b"{}"));
    another_came_first();
    {
        let mut asking = pin!(connection.ask(&mut asked, None));
        assert!(poll!(asking.as_mut()).is_pending());
    }
    yield_now().await;
    theirs.set_nonblocking(false).unwrap();
    assert_eq!(there(&mut theirs), "");
}
