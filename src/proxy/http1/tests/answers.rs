//! Whatever answers a backend gives: what is read of them is what the HTTP library would read.

use bytes::{Bytes, BytesMut};
use http::{Request, response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use super::super::answer::{self, Framing};
use super::super::chunks::Chunks;
use super::super::connection::{Connection, Stream};
use super::super::last::Last;
use super::{Seen, fields};

/// A request's answer, or nothing if there was none, or none whole.
type Answered = Option<Seen>;

fn request() -> Request<Full<Bytes>> {
    let request = Request::post("/mcp").header("host", "a");
    request.body(Full::new(Bytes::from_static(b"{}"))).unwrap()
}

async fn whole<B: http_body::Body>(head: &response::Parts, body: B) -> Answered {
    let body = body.collect().await.ok()?.to_bytes();
    Some((
        head.status.to_string(),
        fields(&head.headers),
        body.to_vec(),
    ))
}

/// A backend that answers with these bytes, whatever it is asked, and closes.
async fn backend(bytes: &[u8], cut: usize) -> UnixStream {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (first, second) = (bytes[..cut].to_vec(), bytes[cut..].to_vec());
    tokio::spawn(async move {
        let _ = theirs.write_all(&first).await;
        tokio::task::yield_now().await;
        let _ = theirs.write_all(&second).await;
        let _ = theirs.shutdown().await;
        let mut all = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut theirs, &mut all).await;
    });
    ours
}

async fn by_hyper(bytes: &[u8], cut: usize) -> Answered {
    let stream = TokioIo::new(backend(bytes, cut).await);
    let mut builder = hyper::client::conn::http1::Builder::new();
    let handshake = builder.max_buf_size(64 << 10).handshake(stream).await;
    let (mut sender, connection) = handshake.unwrap();
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request()).await.ok()?.into_parts();
    whole(&head, body).await
}

async fn by_us(bytes: &[u8], cut: usize) -> Answered {
    let stream = Stream::Unix(backend(bytes, cut).await);
    let request = request().map(|_| Bytes::from_static(b"{}").into());
    let mut asked = Some(Box::new(request));
    let connection = Connection::new(stream, Default::default());
    let (head, body) = connection.ask(&mut asked, None).await.ok()?;
    whole(&head, body).await
}

const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Type: application/json\r\n\r\nnull",
    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 202 Accepted\r\nMcp-Session-Id: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnull\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nnu\r\n2\r\nll\r\n0\r\nX: y\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n4\r\nnull\r\n0\r\nX: y\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4\r\nnull\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n4\r\nnull\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nnull",
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 2\r\n\r\nnull",
    "HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nnull",
    "HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\nnull",
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil it is closed",
    "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nnull",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull",
    "HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull",
    "HTTP/1.1 200\r\nContent-Length: 4\r\n\r\nnull",
    "HTTP/1.1 200 OK\nContent-Length: 4\n\nnull",
    "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 4\r\n\r\nnull",
    "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 4\r\n\r\nnull",
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnull",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nnull",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnull0\r\n\r\n",
    "not HTTP at all\r\n\r\n",
    "",
];

// Fails when one of the conditions of `framing` is left out, or an answer is handed over half read.
#[tokio::test]
async fn every_answer_is_read_as_the_library_reads_it() {
    let mut whole = 0;
    for answer in ANSWERS {
        for cut in 0..=answer.len() {
            let theirs = by_hyper(answer.as_bytes(), cut).await;
            let ours = by_us(answer.as_bytes(), cut).await;
            assert_eq!(ours, theirs, "{answer:?} cut at {cut}");
            whole += usize::from(ours.is_some());
        }
    }
    assert!(whole > 500, "{whole}");
}

fn changed() -> impl Strategy<Value = Vec<u8>> {
    const BYTES: &[u8] = b"\r\n\r\n \t:;,_0019afX/*\"\0\x0b\x7f\x80\xff";
    let change = (
        0..3_u8,
        any::<prop::sample::Index>(),
        prop::sample::select(BYTES),
    );
    let changes = prop::collection::vec(change, 0..4);
    (prop::sample::select(ANSWERS), changes).prop_map(|(answer, changes)| {
        let mut bytes = answer.as_bytes().to_vec();
        for (how, at, byte) in changes {
            let at = at.index(bytes.len() + 1);
            match (how, at < bytes.len()) {
                (0, true) => bytes[at] = byte,
                (1, true) => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

/// Few answers, often the same again, but for the digits of the length or a byte.
fn repeated() -> impl Strategy<Value = Vec<u8>> {
    let length = prop::sample::select(vec!["4", "7", "04", "12", "+4", "4 "]);
    // With a length, without a body, in chunks, framed twice, of another version.
    let answer = prop::sample::select(vec![0, 3, 5, 9, 15]);
    let change = prop::option::weighted(0.2, any::<prop::sample::Index>());
    (answer, length, change).prop_map(|(answer, length, change)| {
        let answer = ANSWERS[answer].replace("Length: 4", &format!("Length: {length}"));
        let answer = answer.replace("Length: 5", &format!("Length: {length}"));
        let mut bytes = answer.into_bytes();
        if let Some(at) = change {
            let at = at.index(bytes.len());
            bytes[at] ^= 1;
        }
        bytes
    })
}

/// All that is read of an answer's head, and what is left behind it.
fn read(bytes: &[u8], last: &mut Last<answer::Said>) -> String {
    let mut unread = BytesMut::from(bytes);
    let read = match answer::next(&mut unread, last) {
        answer::Next::Part => "part".to_owned(),
        answer::Next::Unusual => "unusual".to_owned(),
        answer::Next::Answer(head, framed) => {
            format!("{:?} {:?} {}", **head, framed.body, framed.is_last)
        }
    };
    format!("{read} {unread:?}")
}

// Fails when nothing is read from memory, or the length that is there, or a stream keeps what was remembered.
#[test]
fn an_answer_that_comes_again_is_read_from_memory() {
    let mut last = Last::default();
    let answers = [("4", "null"), ("4", "true"), ("5", "false"), ("2", "{}")];
    for (times, (length, body)) in answers.into_iter().enumerate() {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX: y\r\n\r\n{body}");
        let mut unread = BytesMut::from(answer.as_bytes());
        let answer::Next::Answer(head, framed) = answer::next(&mut unread, &mut last) else {
            panic!("{answer}");
        };
        assert_eq!(head.headers.len(), 1);
        assert_eq!(head.headers["x"], "y");
        assert_eq!(framed.body, Framing::Length(length.parse().unwrap()));
        assert_eq!(unread, body);
        assert_eq!(last.has_said(), times > 0);
    }
    read(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        &mut last,
    );
    assert!(!last.has_said());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    // We may refuse what the library reads, but not read it as something else.
    #[test]
    fn whatever_is_answered_is_read_as_the_library_reads_it_or_refused(
        bytes in changed(),
        cut in any::<prop::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let cut = cut.index(bytes.len() + 1);
        let ours = runtime.block_on(by_us(&bytes, cut));
        let theirs = runtime.block_on(by_hyper(&bytes, cut));
        if ours.is_some() {
            prop_assert_eq!(ours, theirs);
        }
    }

    // Fails when answers of 204 are remembered, or another head is taken for the last.
    #[test]
    fn what_was_answered_before_changes_no_reading(
        answers in prop::collection::vec(repeated(), 2..6),
    ) {
        let mut last = Last::default();
        for answer in answers {
            let alone = read(&answer, &mut Last::default());
            prop_assert_eq!(read(&answer, &mut last), alone);
        }
    }

    // Fails when `read` loses its place between two pieces.
    #[test]
    fn chunks_are_what_was_put_into_them(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut sent = Vec::new();
        for part in &parts {
            sent.extend_from_slice(format!("{:X};x=\"y\"\r\n", part.len()).as_bytes());
            sent.extend_from_slice(part);
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(b"0\r\nT: u\r\n\r\n");
        let end = sent.len();
        sent.extend_from_slice(b"HTTP/1.1 200 OK");
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(sent.len())).collect();
        cuts.extend([0, sent.len()]);
        cuts.sort_unstable();
        let (mut chunks, mut data, mut read) = (Chunks::default(), Vec::new(), 0);
        for piece in cuts.windows(2) {
            read += chunks.read(&sent[piece[0]..piece[1]], &mut data).unwrap();
        }
        prop_assert!(chunks.is_end());
        prop_assert_eq!(read, end);
        prop_assert_eq!(data, parts.concat());
    }
}

// Fails when `over` does not count.
#[test]
fn what_is_read_over_is_bounded() {
    for line in ["4;", "4\r\nnull\r\n0\r\nX: "] {
        let endless = format!("{line}{}", "x".repeat(17 << 10));
        let mut chunks = Chunks::default();
        assert!(chunks.read(endless.as_bytes(), &mut Vec::new()).is_err());
    }
}
