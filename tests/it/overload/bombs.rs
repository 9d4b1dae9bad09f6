//! Requests and answers made to cost more than they weigh.

use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Bystander, PATIENCE, Peak, Raw, computed, head};
use crate::support::backend::Recorder;
use crate::support::client::post;
use crate::support::memory;
use crate::support::proxy::{Lines, Place, Proxy, alone};

const MIB: usize = 1 << 20;
/// The largest body in these tests: room for bombs to be judged.
const BODY: usize = 16 * MIB;
/// Memory that is not the input's: pages the allocator keeps, and what bystanders use.
const SLACK: u64 = 24 << 20;

/// What a bomb may cost.
#[derive(Default)]
struct Weight {
    /// Bytes that may be held, a few times over.
    held: usize,
    /// Bytes that only pass.
    passed: usize,
}

impl Weight {
    fn of(held: usize) -> Self {
        Self { held, passed: 0 }
    }
}

/// A proxy, the key of whoever throws, and somebody else.
struct House {
    proxy: Proxy,
    thrower: String,
    bystander: String,
}

impl House {
    async fn new(more: &[(&str, String)]) -> Self {
        let recorder = Recorder::start().await;
        let mut servers = vec![("one", recorder.url.clone())];
        servers.extend_from_slice(more);
        let lines = Lines {
            root: "[limits]\nbody = \"16MiB\"",
            ..Lines::default()
        };
        let proxy = Proxy::start(&Place::Sqlite, &lines, &servers).await;
        let names: Vec<_> = servers.iter().map(|(name, _)| *name).collect();
        let thrower = proxy.settle_in("mallory", &names).await;
        let (bystander, _) = proxy.known("alice", "one").await;
        // For what the first large body leaves in memory.
        let filled = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":"{}"}}}}"#,
            "x".repeat(BODY - 100)
        );
        let first = proxy.client().exchange(post("one", &thrower, filled)).await;
        assert_eq!(first.unwrap().status, 200);
        Self {
            proxy,
            thrower,
            bystander,
        }
    }

    /// Runs `throw`, which gives what was answered and how many bytes were thrown, and looks at what it
    /// cost. Meanwhile somebody else is served.
    async fn survives<T>(&mut self, what: &str, throw: impl Future<Output = (T, Weight)>) -> T {
        let pid = self.proxy.serving.pid();
        let bystander = Bystander::start(self.proxy.client(), "one", &self.bystander);
        let (before, peak, computed_before) = (memory(pid), Peak::of(pid), computed(pid));
        let (
            answer,
            Weight {
                held: thrown,
                passed,
            },
        ) = tokio::time::timeout(PATIENCE, throw).await.expect(what);
        let cost = computed(pid) - computed_before;
        let grown = peak.end().saturating_sub(before);
        // Until one more request was answered.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let times = bystander.stop().await;
        let slowest = times.iter().max().unwrap();
        println!(
            "{what}: {} KiB, {cost:?} of CPU, {} KiB more memory; {} others, the slowest {slowest:?}",
            (thrown + passed) >> 10,
            grown >> 10,
            times.len()
        );
        let weight = thrown.min(BODY) as u64;
        let passed = thrown + passed;
        assert!(grown <= 4 * weight + SLACK, "{what}: {} MiB", grown >> 20);
        let mib = u32::try_from(passed / MIB).unwrap();
        assert!(
            cost < Duration::from_secs(1) + Duration::from_millis(25) * mib,
            "{what}: {cost:?}"
        );
        assert!(*slowest < Duration::from_secs(5), "{what}: {slowest:?}");
        assert!(
            self.proxy.serving.child.try_wait().unwrap().is_none(),
            "{what}: it ended"
        );
        answer
    }

    /// A body thrown whole, and the status.
    async fn body(&mut self, what: &str, body: String) -> u16 {
        let (mut client, thrown) = (self.proxy.client(), body.len());
        let request = post("one", &self.thrower, body);
        let throw = async {
            (
                client.exchange(request).await.unwrap().status,
                Weight::of(thrown),
            )
        };
        self.survives(what, throw).await
    }
}

/// A message with this in its params, two levels deep.
fn message(value: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":{value}}}}}"#)
}

/// Sends a head, then `piece` as long as the other side takes it, up to `most` bytes.
async fn throw(
    address: SocketAddr,
    head: String,
    piece: &[u8],
    most: usize,
) -> (Option<u16>, Weight) {
    let mut raw = Raw::connect(address).await;
    raw.send(head.as_bytes()).await;
    let mut sent = 0;
    while sent < most {
        tokio::select! {
            biased;
            // Whoever is refused need not go on.
            _ = raw.0.readable() => break,
            done = raw.0.writable() => done.unwrap(),
        }
        match raw.0.try_write(piece) {
            Ok(written) => sent += written,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    (raw.status().await, Weight::of(sent))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_and_heads_cost_no_more_than_they_weigh() {
    let _alone = alone().await;
    let mut house = House::new(&[]).await;
    let address = house.proxy.serving.address;
    let begin = head("one", &house.thrower);

    let many: String = (0..101).map(|n| format!("X-{n}: x\r\n")).collect();
    let request = format!("{begin}{many}Content-Length: 2\r\n\r\n{{}}");
    let status = house
        .survives("101 headers", throw(address, request, b"", 0))
        .await;
    assert_eq!(status, Some(431));
    let request = format!("{begin}X-Long: ");
    let long = throw(address, request, &[b'x'; 1 << 14], MIB);
    assert_eq!(house.survives("a header of 1 MiB", long).await, Some(431));

    for size in [BODY + MIB, 1 << 30] {
        let request = format!("{begin}Content-Length: {size}\r\n\r\n");
        let declared = throw(address, request, &[b' '; 1 << 16], size);
        let status = house
            .survives(&format!("{} MiB declared", size / MIB), declared)
            .await;
        assert_eq!(status, Some(413));
        let chunk = [b"10000\r\n".as_slice(), &[b' '; 1 << 16], b"\r\n"].concat();
        let request = format!("{begin}Transfer-Encoding: chunked\r\n\r\n");
        // Written in whole chunks, or it would be cut for that.
        let chunked = throw_whole(address, request, &chunk, size);
        let status = house
            .survives(&format!("{} MiB in chunks", size / MIB), chunked)
            .await;
        assert_eq!(status, Some(413));
    }
    let gzip = format!("{begin}Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\u{1f}xxx");
    let status = house
        .survives("a gzip body", throw(address, gzip, b"", 0))
        .await;
    assert_eq!(status, Some(415));
}

/// As `throw`, in whole pieces.
async fn throw_whole(
    address: SocketAddr,
    head: String,
    piece: &[u8],
    most: usize,
) -> (Option<u16>, Weight) {
    let mut raw = Raw::connect(address).await;
    raw.send(head.as_bytes()).await;
    let mut sent = 0;
    let mut refused = false;
    while sent < most && !refused {
        let (read, mut write) = raw.0.split();
        tokio::select! {
            biased;
            _ = read.readable() => refused = true,
            done = write.write_all(piece) => {
                refused = done.is_err();
                sent += piece.len();
            }
        }
    }
    (raw.status().await, Weight::of(sent))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_costs_no_more_than_it_weighs() {
    let _alone = alone().await;
    let mut house = House::new(&[]).await;
    let nested = |depth: usize| message(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    assert_eq!(house.body("64 levels", nested(62)).await, 200);
    assert_eq!(house.body("65 levels", nested(63)).await, 400);
    assert_eq!(house.body("10^6 levels", nested(1_000_000)).await, 400);
    let keys: Vec<_> = (0..1_000_000).map(|n| format!("\"k{n}\":0")).collect();
    let keys = message(&format!("{{{}}}", keys.join(",")));
    let status = house.body("10^6 keys", keys).await;
    assert!([200, 400].contains(&status), "{status}");
    // Its sender has to stop when he is refused, or he is cut before he has read it.
    let size = 100_000_000;
    let begin = head("one", &house.thrower);
    let request = format!("{begin}Content-Length: {size}\r\n\r\n[\"");
    let long = throw(house.proxy.serving.address, request, &[b'x'; 1 << 16], size);
    assert_eq!(house.survives("a string of 100 MB", long).await, Some(413));
    let digits = "9".repeat(1_000_000);
    let numbers = message(&format!("[{digits},-{digits}.{digits}e{digits}]"));
    assert_eq!(house.body("numbers of 10^6 digits", numbers).await, 200);
    let one = message("{}");
    let batch = format!("[{}]", vec![one; 100_000].join(","));
    let status = house.body("a batch of 10^5", batch).await;
    assert!([200, 400].contains(&status), "{status}");
}

/// A server that writes this head, and then `piece` until nobody takes it any more.
async fn endless(head: Vec<u8>, piece: Vec<u8>, times: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (head, piece) = (head.clone(), piece.clone());
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let mut more = stream.write_all(&head).await.is_ok();
                for _ in 0..times {
                    more = more && stream.write_all(&piece).await.is_ok();
                }
            });
        }
    });
    format!("http://{address}/mcp")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_cost_no_more_than_is_read_of_them() {
    let _alone = alone().await;
    let ok = |more: &str| format!("HTTP/1.1 200 OK\r\n{more}").into_bytes();
    let json = "Content-Type: application/json\r\n";
    let spaces = vec![b' '; 1 << 16];
    let body = ok(&format!("{json}Content-Length: 10000000000\r\n\r\n"));
    let gzip = ok(&format!(
        "{json}Content-Encoding: gzip\r\nContent-Length: 10000000\r\n\r\n"
    ));
    let mut event = ok("Content-Type: text/event-stream\r\nConnection: close\r\n\r\n");
    write!(
        event,
        "data: {{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"a\":\"{}\"}}}}\n\n",
        "x".repeat(BODY)
    )
    .unwrap();
    let servers = [
        ("body", endless(body, spaces.clone(), 1_000_000).await),
        (
            "head",
            endless(ok("X-Long: "), vec![b'x'; 1 << 16], 1_000_000).await,
        ),
        ("gzip", endless(gzip, spaces, 160).await),
        ("event", endless(event, Vec::new(), 1).await),
    ];
    let mut house = House::new(&servers).await;
    let address = house.proxy.serving.address;
    let requests: Vec<_> = servers
        .iter()
        .map(|(name, _)| {
            let call = message("{}");
            format!(
                "{}Content-Length: {}\r\n\r\n{call}",
                head(name, &house.thrower),
                call.len()
            )
        })
        .collect();
    let read = async |request: &str, most: usize| {
        let mut raw = Raw::connect(address).await;
        raw.send(request.as_bytes()).await;
        let status = raw.status().await;
        // Of answers nothing may weigh more than the buffers.
        let passed = raw.read(most).await;
        ((status, passed), Weight { held: 0, passed })
    };
    let (status, got) = house
        .survives("256 MiB of 10 GB", read(&requests[0], 256 * MIB))
        .await;
    assert_eq!((status, got >= 256 * MIB), (Some(200), true));
    let (status, _) = house
        .survives("an endless head", read(&requests[1], 100))
        .await;
    assert_eq!(status, Some(502));
    let (status, _) = house
        .survives("a gzip answer", read(&requests[2], 100))
        .await;
    assert_eq!(status, Some(502));
    let (status, got) = house
        .survives("an event of 16 MiB", read(&requests[3], BODY))
        .await;
    assert_eq!((status, got >= BODY), (Some(200), true), "{got}");
}
