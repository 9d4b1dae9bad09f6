//! SIGTERM under load, as an orchestrator sends it: whoever spreads the load asks `/readyz`, and no
//! request is lost.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::client::{Client, call, listen, post};
use crate::support::echo::{Manner, echo};
use crate::support::health::Health;
use crate::support::proxy::{Lines, Place, Proxy};

const SERVER: &str = "echo";
const STREAMS: usize = 1000;
/// So many clients who ask five times a second.
const CLIENTS: usize = 60;
const PAUSE: Duration = Duration::from_millis(200);

/// Sends new requests to one of two replicas: to the first for as long as it is ready.
#[derive(Clone)]
struct Balancer(Arc<Mutex<SocketAddr>>);

impl Balancer {
    fn start(first: SocketAddr, health: Health, second: SocketAddr) -> Self {
        let target = Arc::new(Mutex::new(first));
        let balancer = Self(target.clone());
        tokio::spawn(async move {
            while health.is_ready().await {
                sleep(Duration::from_millis(100)).await;
            }
            *target.lock().unwrap() = second;
        });
        balancer
    }

    fn target(&self) -> SocketAddr {
        *self.0.lock().unwrap()
    }
}

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    served: AtomicUsize,
    wrong: Mutex<Vec<String>>,
}

async fn ask(balancer: Balancer, key: String, seen: Arc<Seen>) {
    let mut at = balancer.target();
    let mut client = Client::new(at);
    while !seen.stop.load(Ordering::Relaxed) {
        if balancer.target() != at {
            at = balancer.target();
            client = Client::new(at);
        }
        match client.exchange(call(SERVER, &key, 7, "n")).await {
            Ok(answer) if answer.status == 200 => drop(seen.served.fetch_add(1, Ordering::Relaxed)),
            other => seen.wrong.lock().unwrap().push(format!("{other:?}")),
        }
        sleep(PAUSE).await;
    }
}

/// Reads a stream to its end: whether that came between two events, with nothing cut.
async fn follow(address: SocketAddr, key: String, open: Arc<AtomicUsize>) -> Result<(), String> {
    let (_sender, response) = Client::new(address).open(listen(SERVER, &key)).await?;
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame
            .map_err(|error| error.to_string())?
            .into_data()
            .unwrap();
        if text.is_empty() {
            open.fetch_add(1, Ordering::Relaxed);
        }
        text = [&text[text.len().saturating_sub(2)..], &data].concat();
    }
    text.ends_with(b"\n\n")
        .then_some(())
        .ok_or_else(|| "it ended within an event".to_owned())
}

// Fails when `stop::drain` stops the listener before it waits, when `connection` asks nobody to leave, when
// open streams are cut, and when the accepting task drops what waits to be accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_and_three_hundred_requests_a_second_lose_nothing() {
    let health = Health::somewhere();
    let root = format!(
        "{}drain_delay = \"2s\"\ndrain_timeout = \"15s\"\n[limits]\nuser_streams = 2000\n",
        health.line()
    );
    let lines = Lines {
        root: &root,
        ..Lines::default()
    };
    let servers = [(SERVER, echo(Manner::Json).await)];
    let mut proxy = Proxy::start(&Place::Sqlite, &lines, &servers).await;
    let other = Health::somewhere().0.to_string();
    let second = proxy.replica_with(&[("CLOAKROOM_HEALTH_LISTEN", other.as_str())]);
    let key = proxy.settle_in("alice", &[SERVER]).await;
    while !health.is_ready().await {
        sleep(Duration::from_millis(20)).await;
    }

    let first = proxy.serving.address;
    let (open, mut streams) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for n in 0..STREAMS {
        streams.spawn(follow(first, key.clone(), open.clone()));
        if n % 50 == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    while open.load(Ordering::Relaxed) < STREAMS {
        assert!(streams.try_join_next().is_none(), "a stream ended early");
        sleep(Duration::from_millis(20)).await;
    }
    let balancer = Balancer::start(first, health, second.address);
    let (seen, mut clients) = (Arc::new(Seen::default()), JoinSet::new());
    for _ in 0..CLIENTS {
        clients.spawn(ask(balancer.clone(), key.clone(), seen.clone()));
    }
    sleep(Duration::from_secs(1)).await;

    let begun = Instant::now();
    proxy.serving.signal(Signal::TERM);
    let code = proxy.serving.gone(Duration::from_secs(25)).await;
    let took = begun.elapsed();
    assert_eq!(code, Some(0));
    let mut cut = Vec::new();
    while let Some(done) = streams.join_next().await {
        cut.extend(done.unwrap().err());
    }
    assert!(cut.is_empty(), "{} streams cut: {}", cut.len(), cut[0]);
    sleep(Duration::from_secs(1)).await;
    seen.stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    let wrong = seen.wrong.lock().unwrap();
    let served = seen.served.load(Ordering::Relaxed);
    assert!(
        wrong.is_empty(),
        "{} of {served} lost: {}",
        wrong.len(),
        wrong[0]
    );
    assert!(served > 500, "only {served} requests");
    assert!(
        took < Duration::from_secs(15),
        "the streams' end was waited for: {took:?}"
    );
    println!("stopped after {took:?}; {served} requests, none lost");
}

/// A server whose only tool takes its time.
async fn slow(takes: Duration) -> String {
    let answer = move || async move {
        sleep(takes).await;
        axum::Json(json!({"jsonrpc": "2.0", "id": 7, "result": {"content": []}}))
    };
    let app = axum::Router::new().fallback(answer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn slow_call(key: &str) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "t"}});
    post(SERVER, key, body.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_under_way_finish_and_a_second_signal_waits_for_nobody() {
    let servers = [(SERVER, slow(Duration::from_secs(6)).await)];
    let mut proxy = Proxy::start(&Place::Sqlite, &Lines::default(), &servers).await;
    let key = proxy.settle_in("alice", &[SERVER]).await;
    for told in [1, 2] {
        let mut replica = proxy.replica(None);
        let mut client = replica.client();
        let request = slow_call(&key);
        let call = tokio::spawn(async move { client.exchange(request).await });
        sleep(Duration::from_millis(500)).await;
        let begun = Instant::now();
        for _ in 0..told {
            replica.signal(Signal::TERM);
            sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(replica.gone(Duration::from_secs(10)).await, Some(0));
        let (answer, took) = (call.await.unwrap(), begun.elapsed());
        if told == 1 {
            let answer = answer.unwrap();
            assert_eq!(answer.status, 200);
            // Its client is told not to use the connection any more.
            assert_eq!(answer.header("connection"), Some("close"));
        } else {
            assert!(answer.is_err() && took < Duration::from_secs(4), "{took:?}");
        }
    }
    proxy.serving.stop().await;
}
