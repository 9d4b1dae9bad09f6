//! Answers stream through as they come, and no faster than they are read.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use cloakroom::vault::KeyRequest;

use crate::support::{
    Backend, CALL, Cut, House, Next, Request, chunked, json_answer, stream_head, wait_until,
};

/// A backend whose answers are written step by step by the test.
struct Stepwise {
    backend: Backend,
    steps: mpsc::Sender<Step>,
}

enum Step {
    Write(Vec<u8>),
    /// Ends the connection as it is.
    Close,
}

impl Stepwise {
    fn new() -> Self {
        let (steps, wanted) = mpsc::channel();
        let wanted = Mutex::new(wanted);
        let backend = Backend::start(move |_, stream| {
            for step in wanted.lock().unwrap().iter() {
                match step {
                    Step::Write(bytes) => stream.write_all(&bytes).unwrap(),
                    Step::Close => break,
                }
            }
            Next::Close
        });
        Self { backend, steps }
    }

    fn write(&self, bytes: impl Into<Vec<u8>>) {
        self.steps.send(Step::Write(bytes.into())).unwrap();
    }

    fn close(&self) {
        self.steps.send(Step::Close).unwrap();
    }
}

/// The unsealed form of a sealed event id.
#[track_caller]
fn unsealed(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("id: ") {
        Some(id) => {
            let (id, tag) = id.rsplit_once('.').expect("a sealed id has a tag");
            assert!(tag.len() > 20, "{tag}");
            format!("id: {id}")
        }
        None => line.to_owned(),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn events_arrive_one_by_one() {
    let stepwise = Stepwise::new();
    let house = House::before(&stepwise.backend);
    let mut client = house.connect();
    client.send(&house.post(CALL));
    stepwise.write(stream_head("x-accel-buffering: no\r\nset-cookie: a=b\r\n"));
    let head = client.head().unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("x-accel-buffering"), Some("no"));
    assert_eq!(head.header("set-cookie"), None);
    // The next is written only after the one before was read.
    for event in [
        "id: a_1\ndata: \nretry: 100\n\n",
        ": still here\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n",
        "event: message\nid: 2\ndata: one\ndata: two\n\n",
        ":\n\n",
        "id\ndata: x\n\n",
        "\n",
        "data: ids: id: 5\nidx: 7\n\n",
    ] {
        stepwise.write(chunked(event));
        let sealed = event.matches("id: a_1\n").count() + event.matches("id: 2\n").count();
        let mut got = client.chunk().unwrap().unwrap();
        // A sealed id lies between pieces of its chunk.
        while !got.ends_with(b"\n\n") && event != "\n" {
            got.extend(client.chunk().unwrap().unwrap());
        }
        let got = String::from_utf8(got).unwrap();
        let got = if sealed > 0 { unsealed(&got) } else { got };
        assert_eq!(got, event);
    }
    stepwise.write("0\r\n\r\n");
    assert_eq!(client.chunk(), Ok(None));
}

#[test]
fn parts_of_events_and_of_json_are_not_waited_for() {
    let stepwise = Stepwise::new();
    let house = House::before(&stepwise.backend);
    let mut client = house.connect();
    client.send(&house.post(CALL));
    stepwise.write(stream_head("connection: close\r\n"));
    client.head().unwrap();
    for part in ["dat", "a: ha", "lf\n", "\n"] {
        stepwise.write(chunked(part));
        assert_eq!(client.stream_bytes(part.len()).unwrap(), part.as_bytes());
    }
    stepwise.write("0\r\n\r\n");
    stepwise.close();
    assert_eq!(client.chunk(), Ok(None));

    client.send(&house.post(CALL));
    stepwise
        .write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n");
    // What is sealed or hidden changes its length, so that is not known when it begins.
    assert_eq!(client.head().unwrap().header("content-length"), None);
    for half in ["[1,2", ",3]\n"] {
        stepwise.write(half);
        assert_eq!(client.stream_bytes(4).unwrap(), half.as_bytes());
    }
}

#[test]
fn a_stream_that_ends_between_events_ends_and_one_that_ends_within_is_reset() {
    for (part, whole) in [
        ("data: a\n\n", true),
        (": only a comment\n", true),
        ("", true),
        ("data: a\n\ndata: b\n", false),
        ("data: a\n\nid: 7", false),
        ("data: half", false),
    ] {
        let stepwise = Stepwise::new();
        let house = House::before(&stepwise.backend);
        let mut client = house.connect();
        client.send(&house.post(CALL));
        stepwise.write(stream_head(""));
        if !part.is_empty() {
            stepwise.write(chunked(part));
        }
        stepwise.write("0\r\n\r\n");
        let head = client.head().unwrap();
        let body = client.body(&head);
        match whole {
            true => assert_eq!(body.as_deref(), Ok(part.as_bytes())),
            false => assert_eq!(body, Err(Cut), "{part:?}"),
        }
    }
}

#[test]
fn a_backend_that_dies_resets_the_stream_wherever_it_was() {
    for part in ["data: a\n\n", "data: ha"] {
        let stepwise = Stepwise::new();
        let house = House::before(&stepwise.backend);
        let mut client = house.connect();
        client.send(&house.post(CALL));
        stepwise.write(stream_head(""));
        stepwise.write(chunked(part));
        client.head().unwrap();
        assert_eq!(client.stream_bytes(part.len()).unwrap(), part.as_bytes());
        stepwise.close();
        assert_eq!(client.chunk(), Err(Cut), "{part:?}: no orderly end");
    }
}

#[test]
fn an_event_id_of_a_kibibyte_passes_and_a_longer_one_resets() {
    for (length, passes) in [(1024, true), (1025, false), (100_000, false)] {
        let stepwise = Stepwise::new();
        let house = House::before(&stepwise.backend);
        let mut client = house.connect();
        client.send(&house.post(CALL));
        stepwise.write(stream_head(""));
        stepwise.write(chunked(format!("id: {}\ndata: x\n\n", "i".repeat(length))));
        stepwise.write("0\r\n\r\n");
        // The head may not have left yet when the connection is reset.
        assert_eq!(client.answer().is_ok(), passes, "{length}");
    }
}

#[test]
fn a_client_that_hangs_up_ends_the_request_at_the_backend() {
    let (ended, wait) = mpsc::channel();
    let ended = Mutex::new(ended);
    let backend = Backend::start(move |request, stream| {
        if request.body == CALL.as_bytes() {
            stream.write_all(&stream_head("")).unwrap();
            stream.write_all(&chunked("data: a\n\n")).unwrap();
        }
        // Nothing more is sent on it, so the next thing is its end.
        let gone = matches!(stream.read(&mut [0]), Ok(0) | Err(_));
        ended.lock().unwrap().send(gone).unwrap();
        Next::Close
    });
    let house = House::before(&backend);
    // With the answer under way, and before its head.
    let mut client = house.connect();
    client.send(&house.post(CALL));
    client.head().unwrap();
    client.chunk().unwrap();
    client.hang_up();
    assert!(wait.recv_timeout(crate::support::PATIENCE).unwrap());
    let mut client = house.connect();
    client.send(&house.post(CALL.replace('7', "8")));
    wait_until("the second request arrives", || backend.count() == 2);
    client.hang_up();
    assert!(wait.recv_timeout(crate::support::PATIENCE).unwrap());
}

/// A backend that writes an endless answer as fast as it may, and counts.
fn firehose(head: Vec<u8>, piece: Vec<u8>) -> (Backend, Arc<AtomicUsize>) {
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let backend = Backend::start(move |_, stream| {
        let mut write = |bytes: &[u8]| stream.write_all(bytes).is_ok();
        let mut more = write(&head);
        while more {
            more = write(&piece);
            count.fetch_add(piece.len(), Ordering::SeqCst);
        }
        Next::Close
    });
    (backend, written)
}

#[test]
fn a_client_that_stops_reading_stops_the_backend() {
    let event = chunked(format!("data: {}\n\n", "x".repeat(16_000)));
    let json =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    for head in [stream_head(""), json.to_vec()] {
        let (backend, written) = firehose(head, event.clone());
        let house = House::before(&backend);
        // Once before, for what the first requests leave in memory.
        let mut client = house.connect();
        client.send(&house.post(CALL));
        client.head().unwrap();
        for _ in 0..2000 {
            client.chunk().unwrap().unwrap();
        }
        client.hang_up();
        wait_until("the backend notices", || backend.closed() == 1);
        written.store(0, Ordering::SeqCst);
        let before = house.rss();
        let mut client = house.connect();
        client.send(&house.post(CALL));
        client.head().unwrap();
        // Still, once nothing was written for a while.
        let mut last = 0;
        let mut still = 0;
        while still < 20 {
            std::thread::sleep(Duration::from_millis(50));
            let now = written.load(Ordering::SeqCst);
            still = if now == last && now > 0 { still + 1 } else { 0 };
            last = now;
            // Two pairs of socket buffers, which the system lets grow to some MiB each.
            assert!(
                now < (4 << 20) + 2 * socket_buffers(),
                "nothing holds it back: {now}"
            );
        }
        let grown = house.rss().saturating_sub(before);
        assert!(grown < 8 * 1024, "the proxy holds {grown} KiB more");
        // And on it goes.
        for _ in 0..1000 {
            client.chunk().unwrap().unwrap();
        }
    }
}

/// The most the system buffers for one connection in both directions, in bytes.
fn socket_buffers() -> usize {
    let most = |file: &str| -> usize {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{file}")).unwrap();
        text.split_whitespace().nth(2).unwrap().parse().unwrap()
    };
    most("tcp_rmem") + most("tcp_wmem")
}

#[test]
fn a_large_answer_streams_in_constant_memory() {
    const SIZE: usize = 64 << 20;
    let backend = Backend::start(|request, stream: &mut TcpStream| {
        if request.body != CALL.as_bytes() {
            stream.write_all(&json_answer("{}")).unwrap();
            return Next::Keep;
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {SIZE}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        for _ in 0..SIZE >> 16 {
            stream.write_all(&[b' '; 1 << 16]).unwrap();
        }
        Next::Keep
    });
    let house = House::before(&backend);
    house.ask(&house.post(CALL.replace('7', "8")));
    let before = house.rss();
    let mut client = house.connect();
    client.send(&house.post(CALL));
    client.head().unwrap();
    let (mut most, mut got) = (0, 0);
    while let Some(chunk) = client.chunk().unwrap() {
        if got >> 20 != (got + chunk.len()) >> 20 {
            most = most.max(house.rss());
        }
        got += chunk.len();
    }
    assert_eq!(got, SIZE);
    let grown = most.saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB");
}

#[test]
fn a_get_stream_and_a_subscription_stay_open() {
    let stepwise = Stepwise::new();
    let house = House::before(&stepwise.backend);
    let listen = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    for request in [
        Request::new("GET", "/one/mcp")
            .key(&house.alice)
            .header("Accept", "text/event-stream"),
        house
            .post(listen)
            .header("MCP-Protocol-Version", "2026-07-28"),
    ] {
        let mut client = house.connect();
        client.send(&request);
        stepwise.write(stream_head(""));
        assert_eq!(client.head().unwrap().status, 200);
        for event in [": hello\n\n", "data: {}\n\n"] {
            stepwise.write(chunked(event));
            assert_eq!(client.stream_bytes(event.len()).unwrap(), event.as_bytes());
        }
        stepwise.close();
        assert_eq!(client.chunk(), Err(Cut));
    }
}

#[test]
fn an_answer_under_way_is_cut_when_its_key_is_revoked() {
    let backend = Backend::start(|_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&chunked("{\"jsonrpc\":")).unwrap();
        std::thread::sleep(crate::support::PATIENCE);
        Next::Close
    });
    let house = House::before(&backend);
    let (key, id) = house.issue("alice", KeyRequest::default());
    let mut client = house.connect();
    client.send(&Request::post("/one/mcp", CALL).key(&key));
    assert_eq!(client.head().unwrap().status, 200);
    assert!(client.chunk().unwrap().is_some());
    let revoked = Instant::now();
    house.revoke(&id);
    assert!(matches!(client.chunk(), Err(Cut)));
    assert!(revoked.elapsed() < Duration::from_secs(10));
}
