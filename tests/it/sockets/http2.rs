//! HTTP/2 on the listener, from clients that mean no good.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::certificates::{Authority, Pair};
use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, fields, frame, repeated,
};
use super::tls::{SERVER, server};
use super::{agree, ask};
use crate::support::backend::Recorder;
use crate::support::client::call;
use crate::support::kibibytes;
use crate::support::proxy::{Lines, Place, Proxy};

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct House {
    proxy: Proxy,
    recorder: Recorder,
    config: Arc<ClientConfig>,
    key: String,
    _pair: Pair,
}

type Frames = Vec<(u8, u32, Vec<u8>)>;

impl House {
    async fn new() -> Self {
        Self::with("").await
    }

    /// With these tables of the configuration besides.
    async fn with(more: &str) -> Self {
        let (authority, recorder) = (Authority::new("ours"), Recorder::start().await);
        let pair = Pair::new(&authority.sign(&["localhost"], 2099));
        let tables = pair.table() + more + &server(&recorder);
        let proxy = Proxy::configured(&Place::Sqlite, &Lines::default(), &tables).await;
        let key = proxy.settle_in("alice", &[SERVER]).await;
        Self {
            config: authority.client(&["h2"], None),
            key,
            proxy,
            recorder,
            _pair: pair,
        }
    }

    /// A call by a client that means well.
    async fn well(&self) -> u16 {
        let asked = ask(
            self.proxy.serving.address,
            &self.config,
            call(SERVER, &self.key, 1, "n"),
        );
        timeout(PATIENCE, asked).await.unwrap().unwrap().0.status
    }

    /// The fields of a call, with these besides.
    fn request(&self, more: &[(&str, &str)]) -> Vec<u8> {
        let key = format!("Bearer {}", self.key);
        let mut list = vec![
            (":method", "POST"),
            (":scheme", "https"),
            (":path", "/one/mcp"),
            (":authority", "localhost"),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("authorization", key.as_str()),
        ];
        for (name, _) in more {
            list.retain(|(other, _)| !name.starts_with(':') || other != name);
        }
        let pseudo = more
            .iter()
            .filter(|(name, value)| name.starts_with(':') && !value.is_empty());
        let rest = more.iter().filter(|(name, _)| !name.starts_with(':'));
        let all: Vec<_> = pseudo.copied().chain(list).chain(rest.copied()).collect();
        fields(&all)
    }

    /// Sends these bytes after the preface, and reads until the connection ends or is silent for so long.
    async fn attack(&self, bytes: &[u8], silence: Duration) -> Frames {
        let stream = agree(self.proxy.serving.address, &self.config)
            .await
            .unwrap();
        let (mut from, mut to) = tokio::io::split(stream);
        let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        let bytes = [&begin, bytes].concat();
        let write = async move {
            // It may be cut on the way.
            let _ = to.write_all(&bytes).await;
            let _ = to.flush().await;
            to
        };
        let read = async {
            let mut all = Vec::new();
            let mut piece = vec![0; 64 * 1024];
            while let Ok(Ok(read @ 1..)) = timeout(silence, from.read(&mut piece)).await {
                all.extend_from_slice(&piece[..read]);
            }
            all
        };
        let (_, all) = timeout(PATIENCE, async { tokio::join!(write, read) })
            .await
            .unwrap();
        super::frames::read(&all)
    }

    /// The most memory the proxy ever had, in bytes.
    fn memory(&self) -> u64 {
        kibibytes(self.proxy.serving.pid(), "VmHWM:") << 10
    }
}

/// Whether the server ended the connection, or the stream, saying why.
fn ended(frames: &Frames) -> bool {
    frames.iter().any(|(kind, _, payload)| match *kind {
        GOAWAY => payload[4..8] != [0; 4],
        RST_STREAM => true,
        _ => false,
    })
}

/// Whether the server ended the connection for being too much (RFC 9113, section 7).
fn too_much(frames: &Frames) -> bool {
    const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];
    frames
        .iter()
        .any(|(kind, _, payload)| *kind == GOAWAY && payload[4..8] == ENHANCE_YOUR_CALM)
}

/// Whether anything was answered.
fn has_headers(frames: &Frames) -> bool {
    frames.iter().any(|(kind, ..)| *kind == HEADERS)
}

// Fails when a bound of the connection is taken away (resets, header list), or h2 is an older one.
#[tokio::test(flavor = "multi_thread")]
async fn floods_end_their_own_connection_and_nobody_elses() {
    let house = House::new().await;
    assert_eq!(house.well().await, 200);
    let open = |id: u32, end: u8| frame(HEADERS, END_HEADERS | end, id, &house.request(&[]));
    let ids = |count: u32| (0..count).map(|n| 2 * n + 1);
    let cancel = 8u32.to_be_bytes();
    // More than a window may be: an error of the stream, which we have to reset.
    let beyond = (u32::MAX >> 1).to_be_bytes();
    let rapid_reset: Vec<u8> = ids(10_000)
        .flat_map(|id| [open(id, 0), frame(RST_STREAM, 0, id, &cancel)].concat())
        .collect();
    let made_you_reset: Vec<u8> = ids(10_000)
        .flat_map(|id| [open(id, END_STREAM), frame(WINDOW_UPDATE, 0, id, &beyond)].concat())
        .collect();
    let block = house.request(&[]);
    let more = fields(&[("x", &"v".repeat(8000))]);
    let continuation: Vec<u8> = std::iter::once(frame(HEADERS, 0, 1, &block))
        .chain((0..2000).map(|_| frame(CONTINUATION, 0, 1, &more)))
        .flatten()
        .collect();
    let nothing: Vec<u8> = std::iter::once(frame(HEADERS, 0, 1, &block))
        .chain((0..100_000).map(|_| frame(CONTINUATION, 0, 1, &[])))
        .flatten()
        .collect();
    let bomb = [block.clone(), repeated(4000, 10_000)].concat();
    let bomb = frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb);
    let bomb_pieces = ids(200).flat_map(|id| {
        let mut bomb = bomb.clone();
        bomb[5..9].copy_from_slice(&id.to_be_bytes());
        bomb
    });
    let empty: Vec<u8> = std::iter::once(open(1, 0))
        .chain((0..200_000).map(|_| frame(DATA, 0, 1, &[])))
        .flatten()
        .collect();
    let before = house.memory();
    // What must come of it; the last ones cost no more than they send.
    let [calm, end, any]: [fn(&Frames) -> bool; 3] = [too_much, ended, |_| true];
    for (name, bytes, as_it_should) in [
        ("rapid reset", rapid_reset, calm),
        ("resets of ours", made_you_reset, calm),
        ("CONTINUATION", continuation, end),
        ("empty CONTINUATION", nothing, end),
        ("a bomb of headers", bomb_pieces.collect(), end),
        ("empty DATA", empty, end),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[]).repeat(200_000), any),
        ("PING", frame(PING, 0, 0, &[7; 8]).repeat(200_000), any),
    ] {
        let attack = house.attack(&bytes, Duration::from_secs(2));
        let (frames, well) = tokio::join!(attack, house.well());
        assert_eq!(well, 200, "{name}");
        let goaway: Vec<_> = frames.iter().filter(|(kind, ..)| *kind == GOAWAY).collect();
        assert!(
            as_it_should(&frames),
            "{name}: {} frames, {goaway:?}",
            frames.len()
        );
        let grown = house.memory().saturating_sub(before) >> 20;
        println!(
            "{name}: ended {}, most memory grew by {grown} MiB",
            ended(&frames)
        );
        assert!(grown < 64, "{name}: {grown} MiB");
        assert_eq!(house.well().await, 200, "{name}");
    }
}

/// A body, and fields after it.
fn with_trailers(block: &[u8], body: &str, trailers: &[(&str, &str)]) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, 1, block);
    let end = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(trailers));
    [head, frame(DATA, 0, 1, body.as_bytes()), end].concat()
}

// Fails when trailers are passed on, when Host and :authority may differ, or when anything that could
// not be written in HTTP/1.1 is passed on.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_reaches_a_backend_that_could_be_read_in_two_ways() {
    const CALL: &str =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{}}}"#;
    let house = House::new().await;
    // What is answered at all is answered in milliseconds; the first and last of these show it.
    let silence = Duration::from_millis(800);
    let whole = |block: &[u8], body: &str| {
        let head = frame(HEADERS, END_HEADERS, 1, block);
        [head, frame(DATA, END_STREAM, 1, body.as_bytes())].concat()
    };
    let frames = house
        .attack(&whole(&house.request(&[]), CALL), silence)
        .await;
    assert!(has_headers(&frames) && !ended(&frames), "{frames:?}");
    assert_eq!(house.recorder.received().len(), 1);
    // The same host twice is the same host.
    let frames = house
        .attack(
            &whole(&house.request(&[("host", "localhost")]), CALL),
            silence,
        )
        .await;
    assert!(has_headers(&frames));
    assert_eq!(house.recorder.received().len(), 1);

    let trailers = [("authorization", "Bearer evil"), ("x-token", "evil")];
    let bytes = with_trailers(&house.request(&[]), CALL, &trailers);
    assert!(has_headers(&house.attack(&bytes, silence).await));
    let received = house.recorder.received();
    assert!(
        received.len() == 1 && !received[0].contains("evil"),
        "{received:?}"
    );

    for more in [
        &[("host", "evil.example")][..],
        &[(":authority", "evil.example")],
        &[(":authority", "")],
        &[(":authority", "user@localhost")],
        &[(":path", "/one/mcp HTTP/1.1")],
        &[(":path", "/one/mcp\r\nX-Token: evil")],
        &[(":path", "")],
        &[(":path", "http://localhost/one/mcp")],
        &[(":method", "POST / HTTP/1.1")],
        &[(":method", "CONNECT")],
        &[(":method", "CONNECT"), (":scheme", ""), (":path", "")],
        &[(":method", "CONNECT"), (":protocol", "websocket")],
        &[("mcp-param-a", "a\r\nX-Token: evil")],
        &[("mcp-param-a", "a\nX-Token: evil")],
        &[("mcp-param-a", "a\0")],
        &[("mcp-param-a\r\nx-token", "evil")],
        &[("Mcp-Param-A", "capital")],
        &[("connection", "x-token")],
        &[("transfer-encoding", "chunked")],
        &[("upgrade", "h2c")],
        &[("te", "gzip")],
        &[("content-length", "5")],
        &[("content-length", "500")],
        &[("content-length", "5, 5")],
        &[("content-length", "-1")],
    ] {
        let frames = house
            .attack(&whole(&house.request(more), CALL), silence)
            .await;
        let received = house.recorder.received();
        assert!(received.is_empty(), "{more:?}: {received:?}");
        assert!(
            ended(&frames) || has_headers(&frames),
            "{more:?} is answered: {frames:?}"
        );
    }
    assert_eq!(house.well().await, 200);
}

// Fails when an answer counts as passed on while it waits here for its client to have room.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_took_nothing_of_was_not_passed_on_to_its_end() {
    const CALL: &[u8] =
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"n","arguments":{}}}"#;
    let house = House::with("[audit]\nfile = \"trail.jsonl\"\n").await;
    // No room for any DATA (RFC 9113, section 6.5.2).
    let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let head = frame(HEADERS, END_HEADERS, 1, &house.request(&[]));
    let asked = [no_window, head, frame(DATA, END_STREAM, 1, CALL)].concat();
    let frames = house.attack(&asked, Duration::from_secs(2)).await;
    assert!(has_headers(&frames) && frames.iter().all(|(kind, ..)| *kind != DATA));
    assert_eq!(house.well().await, 200);
    let trail = house.proxy.folder.path().join("trail.jsonl");
    let told = timeout(PATIENCE, async {
        loop {
            let text = std::fs::read_to_string(&trail).unwrap_or_default();
            let ends = text
                .lines()
                .filter(|line| line.contains("\"event\":\"end\""));
            let told: Vec<_> = ends.map(|end| end.contains("\"complete\":true")).collect();
            if told.len() == 2 {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(told.await.unwrap(), [false, true]);
}
