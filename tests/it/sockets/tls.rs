//! TLS on the listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::certificates::{Authority, Pair};
use super::{agree, ask};
use crate::support::backend::Recorder;
use crate::support::client::{Client, call};
use crate::support::proxy::{Lines, Place, Proxy};
use crate::support::redis::free_port;

pub(super) const SERVER: &str = "one";

pub(super) fn server(recorder: &Recorder) -> String {
    let url = &recorder.url;
    format!(
        "[servers.{SERVER}]\nurl = \"{url}\"\n[servers.{SERVER}.headers]\nX-Token = \"${{TOKEN}}\"\n"
    )
}

async fn start(root: &str, tls: &str, recorder: &Recorder) -> Proxy {
    let lines = Lines {
        root,
        ..Lines::default()
    };
    let tables = format!("{tls}{}", server(recorder));
    Proxy::configured(&Place::Sqlite, &lines, &tables).await
}

/// What comes back for these bytes, until the connection ends.
async fn raw(proxy: &Proxy, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(proxy.serving.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

// Fails when the listener speaks HTTP without TLS, another version, or only one protocol; or when no
// session is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_with_tls_speaks_both_protocols_and_nothing_else() {
    let (authority, recorder) = (Authority::new("ours"), Recorder::start().await);
    let pair = Pair::new(&authority.sign(&["localhost"], 2099));
    let proxy = start("", &pair.table(), &recorder).await;
    assert!(
        proxy.serving.url.starts_with("https://"),
        "{}",
        proxy.serving.url
    );
    let key = proxy.settle_in("alice", &[SERVER]).await;
    for alpn in [&["h2"][..], &["http/1.1"], &["h2", "http/1.1"], &[]] {
        let config = authority.client(alpn, None);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let asked = ask(proxy.serving.address, &config, call(SERVER, &key, 1, "n"));
            let (answer, kind) = asked.await.unwrap();
            assert_eq!((answer.status, kind), (200, Some(expected)), "{alpn:?}");
        }
    }
    let foreign = authority.client(&["http/0.9"], None);
    assert!(agree(proxy.serving.address, &foreign).await.is_err());

    let plain = raw(&proxy, b"GET /one/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(
        plain.first() == Some(&0x15) && plain.len() < 16,
        "an alert: {plain:?}"
    );
    for version in [1, 2] {
        // A greeting of TLS 1.0 and 1.1, with a cipher of theirs.
        let random = [7; 32];
        let hello = [&[3, version][..], &random, &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
        let length = hello.len() as u8;
        let greeting = [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
        let answer = raw(&proxy, &greeting).await;
        assert!(
            matches!(answer[..], [0x15, _, _, 0, 2, 2, _]),
            "an alert: {answer:?}"
        );
    }
    assert_eq!(recorder.received().len(), 8);
}

// Fails when the verifier of clients' certificates is left out, or takes any authority.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_shows_a_certificate_of_our_authority_or_is_refused() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let recorder = Recorder::start().await;
    let pair = Pair::new(&ours.sign(&["localhost"], 2099));
    std::fs::write(pair.path("ca.pem"), &ours.pem).unwrap();
    let ca = format!("client_ca_file = \"{}\"\n", pair.path("ca.pem").display());
    let proxy = start("", &(pair.table() + &ca), &recorder).await;
    let key = proxy.settle_in("alice", &[SERVER]).await;
    let asked = async |shown: Option<&(String, String)>| {
        let config = ours.client(&["h2"], shown);
        ask(proxy.serving.address, &config, call(SERVER, &key, 1, "n")).await
    };
    let own = ours.sign(&["client"], 2099);
    assert_eq!(asked(Some(&own)).await.unwrap().0.status, 200);
    for shown in [
        None,
        Some(theirs.sign(&["client"], 2099)),
        Some(ours.sign(&["client"], 2001)),
    ] {
        assert!(asked(shown.as_ref()).await.is_err());
    }
    assert_eq!(recorder.received().len(), 1);
}

/// Calls on new connections until it is told to stop; what went wrong.
async fn load(
    proxy: Arc<Proxy>,
    config: Arc<ClientConfig>,
    key: String,
    done: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match ask(proxy.serving.address, &config, call(SERVER, &key, 1, "n")).await {
            Ok((answer, _)) if answer.status == 200 => {
                done.fetch_add(1, Ordering::Relaxed);
            }
            other => wrong.push(format!("{other:?}")),
        }
    }
    wrong
}

// Fails when a new pair is not loaded, when a bad one replaces a good one, or when open connections or
// new ones suffer from either.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_under_load_and_nobody_notices() {
    let authority = Authority::new("ours");
    let recorder = Recorder::start().await;
    let first = authority.sign(&["localhost"], 2098);
    let mut pair = Pair::new(&first);
    let health = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let root = format!("health_listen = \"{health}\"\n");
    let proxy = Arc::new(start(&root, &pair.table(), &recorder).await);
    let key = proxy.settle_in("alice", &[SERVER]).await;
    let (done, stop) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let loads: Vec<_> = [["h2"], ["http/1.1"], ["h2"], ["http/1.1"]]
        .iter()
        .map(|alpn| {
            let config = authority.client(alpn, None);
            let load = load(
                proxy.clone(),
                config,
                key.clone(),
                done.clone(),
                stop.clone(),
            );
            tokio::spawn(load)
        })
        .collect();
    let figures = async |wanted: &str| {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let request = http::Request::get("/metrics")
                .body(Default::default())
                .unwrap();
            let page = Client::new(health).exchange(request).await.unwrap().text();
            if page.lines().any(|line| line == wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "{wanted} is not in {page}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let shown = async || {
        let config = authority.client(&["h2"], None);
        let stream = agree(proxy.serving.address, &config).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    figures("cloakroom_tls_certificate_expires_seconds 4039372800").await;
    let before = shown().await;

    pair.replace(&authority.sign(&["localhost"], 2002));
    figures("cloakroom_tls_load_failures_total 1").await;
    let other = authority.sign(&["localhost"], 2099);
    pair.replace(&(other.0.clone(), first.1.clone()));
    figures("cloakroom_tls_load_failures_total 2").await;
    assert_eq!(shown().await, before);

    pair.replace(&other);
    figures("cloakroom_tls_certificate_expires_seconds 4070908800").await;
    assert_ne!(shown().await, before);
    let so_far = done.load(Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(60);
    while done.load(Ordering::Relaxed) < so_far + 20 {
        assert!(Instant::now() < deadline, "calls go on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        let wrong = load.await.unwrap();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
    println!(
        "{} calls while it was replaced",
        done.load(Ordering::Relaxed)
    );
    let log = proxy.log_with("the earlier ones stay in use").await;
    let told = log
        .lines()
        .filter(|line| line.contains("the earlier ones stay in use"));
    assert_eq!(told.count(), 2, "{log}");
}
