//! Bytes that two parsers may read differently, through the real proxy to a backend that minds every
//! byte. The table is in `tests/desync`.

#[path = "../desync/vectors.rs"]
mod vectors;

use std::net::SocketAddr;
use std::time::Duration;

use cloakroom::proxy::strict::Fault;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::backend::{Recorder, request};
use crate::support::proxy::{Lines, Place, Proxy};
use crate::support::raw::Connection;
use vectors::{Expect, Vector, all};

/// What may reach a backend of a request, besides `mcp-*`.
const ALLOWED: [&str; 9] = [
    "accept",
    "accept-encoding",
    "authorization",
    "content-length",
    "content-type",
    "host",
    "traceparent",
    "tracestate",
    "user-agent",
];
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

struct Setting {
    recorder: Recorder,
    proxy: Proxy,
    key: String,
}

impl Setting {
    async fn new(root: &str) -> Self {
        let recorder = Recorder::start().await;
        let url = recorder.url.clone();
        Self {
            recorder,
            ..Self::before(root, url).await
        }
    }

    async fn before(root: &str, url: String) -> Self {
        let recorder = Recorder::start().await;
        let lines = Lines {
            root,
            ..Lines::default()
        };
        let proxy = Proxy::start(&Place::Sqlite, &lines, &[("one", url)]).await;
        let key = proxy.settle_in("alice", &["one"]).await;
        Self {
            recorder,
            proxy,
            key,
        }
    }

    fn address(&self) -> SocketAddr {
        self.proxy.serving.address
    }

    fn bytes(&self, vector: &Vector) -> Vec<u8> {
        let Some(at) = memchr::memmem::find(&vector.bytes, b"{KEY}") else {
            return vector.bytes.clone();
        };
        let (before, after) = vector.bytes.split_at(at);
        let first = [before, self.key.as_bytes(), &after[5..]].concat();
        let rest = Vector {
            bytes: first,
            ..*vector
        };
        self.bytes(&rest)
    }
}

/// A request a backend got: in one form, whatever form it had before.
fn check_canonical(received: &str, name: &str) {
    let (head, body) = received.split_once("\r\n\r\n").unwrap();
    let (first, fields) = head.split_once("\r\n").unwrap();
    let words: Vec<_> = first.split(' ').collect();
    assert_eq!(words[1..], ["/mcp", "HTTP/1.1"], "{name}: {first}");
    let names: Vec<_> = fields
        .split("\r\n")
        .map(|line| line.split_once(": ").expect(name).0)
        .collect();
    let count = |wanted: &str| names.iter().filter(|name| **name == wanted).count();
    assert_eq!(count("host"), 1, "{name}: {head}");
    let framings = count("content-length") + count("transfer-encoding");
    assert_eq!(framings, usize::from(words[0] == "POST"), "{name}: {head}");
    let foreign = names
        .iter()
        .find(|name| !ALLOWED.contains(name) && !name.starts_with("mcp-"));
    assert_eq!(foreign, None, "{name}");
    assert!(
        head.contains("authorization: Bearer alice-one-secret"),
        "{name}: {head}"
    );
    let whole = if words[0] == "POST" { PING } else { "" };
    assert_eq!(body, whole, "{name}");
}

fn in_body(fault: Fault) -> bool {
    use Fault::{ChunkEnd, ChunkExtension, ChunkSize, Trailer};
    matches!(fault, ChunkEnd | ChunkExtension | ChunkSize | Trailer)
}

fn status(fault: Fault) -> u16 {
    match fault {
        Fault::HeadTooLarge | Fault::TooManyFields => 431,
        _ => 400,
    }
}

// Fails when the reader passes one more thing, when what follows a refused request is read, when the
// layer forwards what it should not, or when a refusal does not say why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_sees_one_request_for_each_that_was_accepted_and_nothing_else() {
    let setting = Setting::new("").await;
    for vector in all() {
        let name = vector.name;
        if vector.expect == Expect::Cut {
            continue;
        }
        let mut connection = Connection::open(setting.address()).await;
        let bytes = setting.bytes(&vector);
        connection.stream.write_all(&bytes).await.unwrap();
        // A body that is none of a message is refused by the layer, before what follows it.
        let unsound = name.contains(", so the ");
        let (answered, arrived) = match vector.expect {
            Expect::Accept(requests) => (requests, requests),
            Expect::Refuse(_, fault) if in_body(fault) => (1, 0),
            Expect::Refuse(requests, _) => (requests + 1, if unsound { 0 } else { requests }),
            Expect::Later(_) | Expect::Cut => (1, 0),
        };
        let to_head = bytes.starts_with(b"HEAD");
        let answers = connection.answers(answered, to_head).await;
        assert_eq!(answers.len(), answered, "{name}");
        let last = answers.last().unwrap();
        match vector.expect {
            Expect::Refuse(_, fault) => {
                assert_eq!(last.status, status(fault), "{name}: {}", last.body);
                assert!(
                    last.body.contains(&fault.to_string()),
                    "{name}: {}",
                    last.body
                );
                assert!(connection.is_over().await, "{name}: it goes on");
            }
            Expect::Later(status) => assert_eq!(last.status, status, "{name}: {}", last.body),
            Expect::Accept(_) | Expect::Cut => {
                let fine = answers.iter().all(|answer| answer.status == 200);
                assert!(fine, "{name}: {} {}", last.status, last.body);
            }
        }
        let received = setting.recorder.received();
        assert_eq!(received.len(), arrived, "{name}: {received:?}");
        for request in received {
            check_canonical(&request, name);
        }
    }
}

// Fails when one of the deadlines of a head or of a body is not kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_never_complete_is_cut() {
    let setting = Setting::new("[limits]\nread_timeout = \"300ms\"").await;
    for vector in all().iter().filter(|v| v.expect == Expect::Cut) {
        let name = vector.name;
        let mut connection = Connection::open(setting.address()).await;
        let bytes = setting.bytes(vector);
        connection.stream.write_all(&bytes).await.unwrap();
        let answers = connection.answers(9, false).await;
        let complete = usize::from(name.contains(" behind "));
        let good = answers.iter().filter(|answer| answer.status == 200);
        assert_eq!(good.count(), complete, "{name}");
        assert!(connection.is_over().await, "{name}");
        let received = setting.recorder.received();
        assert_eq!(received.len(), complete, "{name}: {received:?}");
    }
}

/// Lets every kind of patience end soon.
const SHORT: &str = "[limits]\nread_timeout = \"300ms\"\nidle_timeout = \"300ms\"";

// Fails when a connection between two requests is kept for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_cut() {
    let setting = Setting::new(SHORT).await;
    let good = setting.bytes(&named("as it should be"));
    let mut idle = Connection::open(setting.address()).await;
    for _ in 0..3 {
        idle.stream.write_all(&good).await.unwrap();
        assert_eq!(idle.answer(false).await.unwrap().status, 200);
    }
    assert!(idle.is_over().await);
}

fn named(name: &str) -> Vector {
    all()
        .into_iter()
        .find(|vector| vector.name == name)
        .unwrap()
}

const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

// Fails when a connection counts as idle while it is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_on_which_nothing_is_said_is_not_idle() {
    let (setting, backend) = before_a_stream().await;
    let mut client = Connection::open(setting.address()).await;
    client
        .stream
        .write_all(&setting.bytes(&named("GET")))
        .await
        .unwrap();
    let (mut stream, _) = backend.accept().await.unwrap();
    request(&mut stream, &mut Vec::new()).await.unwrap();
    stream.write_all(STREAM).await.unwrap();
    // Four times either limit.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    stream
        .write_all(b"9\r\ndata: 1\n\n\r\n0\r\n\r\n")
        .await
        .unwrap();
    let answer = client.answer(false).await.unwrap();
    assert_eq!(answer.body.lines().next(), Some("data: 1"));
}

// Fails when a write that makes no progress is not timed: the proxy would hold the stream, and its
// backend's, for as long as the client likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_reads_is_cut() {
    let (setting, backend) = before_a_stream().await;
    let mut client = Connection::open(setting.address()).await;
    client
        .stream
        .write_all(&setting.bytes(&named("GET")))
        .await
        .unwrap();
    let (mut stream, _) = backend.accept().await.unwrap();
    request(&mut stream, &mut Vec::new()).await.unwrap();
    stream.write_all(STREAM).await.unwrap();
    let event = format!("1000\r\ndata: {}\n\n\r\n", "x".repeat(0x1000 - 8));
    let flood = async { while stream.write_all(event.as_bytes()).await.is_ok() {} };
    let cut = timeout(Duration::from_secs(20), flood).await;
    assert!(cut.is_ok(), "the backend's stream goes on");
    drop(client);
}

/// A proxy that is soon out of patience, before a backend that the test plays.
async fn before_a_stream() -> (Setting, TcpListener) {
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", backend.local_addr().unwrap());
    (Setting::before(SHORT, url).await, backend)
}
