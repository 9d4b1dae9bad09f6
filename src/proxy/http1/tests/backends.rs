//! A backend's connection: when it is given back, and when it is not.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::yield_now;

use super::super::connection::{Broken, Connection, Peer, Stream};
use super::super::received::Received;
use crate::layer::RequestBody;

/// Where connections are given back to.
#[derive(Clone, Default)]
struct Back(Arc<Mutex<VecDeque<Box<Connection>>>>);

impl Back {
    fn take(&self) -> Option<Box<Connection>> {
        self.0.lock().unwrap().pop_back()
    }
}

fn pair() -> (Box<Connection>, UnixStream, Arc<Peer>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let peer = Arc::<Peer>::default();
    (
        Connection::new(Stream::Unix(ours), peer.clone()),
        theirs,
        peer,
    )
}

async fn ask(
    connection: Box<Connection>,
    body: &RequestBody,
    back: &Back,
) -> Result<Received, Broken> {
    let request = Request::post("/mcp").body(body.clone()).unwrap();
    let back = back.clone();
    let lease = Box::new(move |connection| back.0.lock().unwrap().push_back(connection));
    let mut asked = Some(Box::new(request));
    let (_, body) = connection.ask(&mut asked, Some(lease)).await?;
    Ok(body)
}

fn small() -> RequestBody {
    Bytes::from_static(b"{}").into()
}

async fn body(answered: Result<Received, Broken>) -> String {
    let body = answered.unwrap().collect().await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

fn is_quiet(connection: &mut Connection) -> bool {
    connection.is_quiet(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_connection_is_given_back_once_its_answer_was_read() {
    let (connection, mut theirs, _) = pair();
    let (back, small) = (Back::default(), small());
    let mut connection = Some(connection);
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nnull\r\n0\r\n\r\n",
    ] {
        theirs.write_all(answer.as_bytes()).await.unwrap();
        let answered = ask(connection.take().unwrap(), &small, &back).await;
        assert!(back.take().is_none(), "its body was not read");
        assert_eq!(body(answered).await, "null");
        connection = back.take();
        let mut request = [0; 100];
        let n = theirs.read(&mut request).await.unwrap();
        let request = std::str::from_utf8(&request[..n]).unwrap();
        assert_eq!(request, "POST /mcp HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}");
    }
    assert!(is_quiet(&mut connection.unwrap()));
}

// Fails when `unread` is not looked at before a connection is given back.
#[tokio::test]
async fn what_nobody_asked_for_is_nobodys() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull";
    for extra in ["HTTP/1.1 200 OK\r\n", "x"] {
        let (connection, mut theirs, peer) = pair();
        let back = Back::default();
        let both = format!("{answer}{extra}");
        theirs.write_all(both.as_bytes()).await.unwrap();
        assert_eq!(
            body(ask(connection, &RequestBody::default(), &back).await).await,
            "null"
        );
        assert!(back.take().is_none() && peer.babbles());
    }
    let (connection, mut theirs, peer) = pair();
    let back = Back::default();
    theirs.write_all(answer.as_bytes()).await.unwrap();
    assert_eq!(
        body(ask(connection, &RequestBody::default(), &back).await).await,
        "null"
    );
    let mut idle = back.take().unwrap();
    assert!(is_quiet(&mut idle) && !peer.babbles());
    theirs.write_all(answer.as_bytes()).await.unwrap();
    while is_quiet(&mut idle) {
        yield_now().await;
    }
    assert!(peer.babbles());
}

// Fails when an answer that was not read to its end gives its connection back.
#[tokio::test]
async fn what_was_not_read_is_nobodys() {
    let (connection, mut theirs, _) = pair();
    let back = Back::default();
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nnull";
    theirs.write_all(answer.as_bytes()).await.unwrap();
    drop(
        ask(connection, &RequestBody::default(), &back)
            .await
            .unwrap(),
    );
    assert!(back.take().is_none());
}

#[tokio::test]
async fn who_says_that_he_closes_is_not_asked_again() {
    let (connection, mut theirs, _) = pair();
    let back = Back::default();
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    theirs.write_all(answer.as_bytes()).await.unwrap();
    assert_eq!(
        body(ask(connection, &RequestBody::default(), &back).await).await,
        ""
    );
    assert!(back.take().is_none());
}

// Fails when a connection that was closed is written to and the request counted as sent, or when nothing is
// left of a request that is still to be sent.
#[tokio::test]
async fn what_was_not_written_may_be_sent_elsewhere() {
    let (mut connection, theirs, _) = pair();
    drop(theirs);
    while is_quiet(&mut connection) {
        yield_now().await;
    }
    let request = Request::post("/mcp?key=secret").header("x", "y");
    let mut asked = Some(Box::new(request.body(small()).unwrap()));
    let broken = connection.ask(&mut asked, None).await.err();
    assert!(broken.unwrap().is_unsent);
    let left = asked.as_ref().unwrap();
    assert!(left.headers().len() == 1 && !left.body().is_empty());

    let (connection, mut theirs, _) = pair();
    tokio::spawn(async move {
        let mut some = [0; 10];
        let _ = theirs.read(&mut some).await;
    });
    let broken = connection.ask(&mut asked, None).await.err();
    assert!(!broken.unwrap().is_unsent);
    assert!(asked.is_none());
}

// Fails when the answer is waited for only once everything is written, or the connection is used again
// although the backend does not read the rest.
#[tokio::test]
async fn an_answer_before_the_body_was_taken_is_read() {
    let (connection, mut theirs, _) = pair();
    let (back, large) = (Back::default(), Bytes::from(vec![b'x'; 8 << 20]).into());
    let answer = "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 4\r\n\r\nnull";
    theirs.write_all(answer.as_bytes()).await.unwrap();
    assert_eq!(body(ask(connection, &large, &back).await).await, "null");
    assert!(back.take().is_none());

    // Who reads all of it and answers in the middle is asked again.
    let (connection, mut theirs, _) = pair();
    let reader = tokio::spawn(async move {
        let mut some = vec![0; 1 << 20];
        theirs.read_exact(&mut some).await.unwrap();
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        theirs.write_all(answer.as_bytes()).await.unwrap();
        let mut left = (8 << 20) + 47 - some.len();
        while left > 0 {
            left -= theirs.read(&mut some).await.unwrap();
        }
        theirs.write_all(b"4\r\nnull\r\n0\r\n\r\n").await.unwrap();
        theirs
    });
    assert_eq!(body(ask(connection, &large, &back).await).await, "null");
    assert!(back.take().is_some());
    reader.await.unwrap();
}

// Fails when a piece is lost, or written before its turn, where the backend takes its time, also when the
// answer is one for the HTTP library.
#[tokio::test]
async fn a_body_in_pieces_is_written_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n",
        "HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\n",
    ] {
        let (connection, mut theirs, _) = pair();
        let sizes = [5, 1 << 20, 7, 300_000, 1, 20_000, 3]
            .into_iter()
            .zip(b'a'..);
        let pieces: Vec<_> = sizes.map(|(size, letter)| vec![letter; size]).collect();
        let sent = pieces.concat();
        let reader = tokio::spawn(async move {
            let head = format!(
                "POST /mcp HTTP/1.1\r\ncontent-length: {}\r\n\r\n",
                sent.len()
            );
            let mut read = vec![0; head.len() + sent.len()];
            let (first, rest) = read.split_at_mut(100_000);
            theirs.read_exact(first).await.unwrap();
            theirs.write_all(answer.as_bytes()).await.unwrap();
            theirs.read_exact(rest).await.unwrap();
            theirs.write_all(b"null").await.unwrap();
            assert!(read == [head.as_bytes(), &sent].concat());
        });
        let pieces = RequestBody::new(pieces.into_iter().map(Bytes::from));
        assert_eq!(
            body(ask(connection, &pieces, &Back::default()).await).await,
            "null"
        );
        reader.await.unwrap();
    }
}

// Fails when the head of an answer may be as long as its sender likes.
#[tokio::test]
async fn the_head_of_an_answer_is_bounded() {
    let (connection, mut theirs, _) = pair();
    tokio::spawn(async move {
        let _ = theirs.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
        while theirs.write_all(&[b'x'; 1000]).await.is_ok() {}
    });
    let broken = ask(connection, &RequestBody::default(), &Back::default())
        .await
        .err();
    assert!(broken.unwrap().to_string().contains("too large"));
}
