//! More connections than there are file descriptors.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Raw, computed};
use crate::support::client::{Client, listen};
use crate::support::echo::{Manner, echo};
use crate::support::proxy::{Lines, Place, Proxy, Serving, alone};

/// What the process may have.
const DESCRIPTORS: u32 = 256;

/// Where the health listener of this process is; it says so in its log.
async fn health(serving: &Serving) -> SocketAddr {
    let printed = serving.log_with("health bound=").await;
    let at = printed.split_once("health bound=").expect("it has one").1;
    at.split_whitespace().next().unwrap().parse().unwrap()
}

async fn is_alive(health: SocketAddr) -> bool {
    let mut raw = Raw::connect(health).await;
    raw.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
    raw.status().await == Some(200)
}

async fn crowded() -> (Proxy, Serving) {
    let servers = [("one", echo(Manner::Json).await)];
    let lines = Lines {
        root: "threads = 2\nhealth_listen = \"127.0.0.1:0\"\n[limits]\nuser_streams = 1000",
        ..Lines::default()
    };
    let proxy = Proxy::start(&Place::Sqlite, &lines, &servers).await;
    let serving = proxy.replica_within(DESCRIPTORS);
    (proxy, serving)
}

// Fails when connections are not bounded, or idle ones do not make room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_make_room_for_others() {
    let _alone = alone().await;
    let (proxy, serving) = crowded().await;
    let key = proxy.settle_in("alice", &["one"]).await;
    let mut idle = Vec::new();
    for n in 0..2 * DESCRIPTORS {
        let mut raw = Raw::connect(serving.address).await;
        if n % 3 == 0 {
            // Half a head is no request.
            raw.send(b"POST /one/mcp HTTP/1.1\r\nHost: 127").await;
        }
        idle.push(raw);
    }
    let begun = Instant::now();
    let answer = serving.client().call("one", &key, "late").await;
    println!(
        "served after {:?} among {} idle ones",
        begun.elapsed(),
        idle.len()
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert!(is_alive(health(&serving).await).await);
    let log = String::from_utf8(serving.printed()).unwrap();
    assert!(!log.contains("cannot be accepted"), "{log}");
}

// Fails when the listener spins, takes the last descriptor, or does not notice that one is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_every_place_busy_the_next_waits_and_costs_nothing() {
    let _alone = alone().await;
    let (proxy, serving) = crowded().await;
    let key = proxy.settle_in("alice", &["one"]).await;
    let mut streams = Vec::new();
    loop {
        let mut client = serving.client();
        let opening = tokio::time::timeout(Duration::from_secs(3), async {
            client.open(listen("one", &key)).await.unwrap()
        });
        match opening.await {
            Ok((connection, response)) => {
                assert_eq!(response.status(), 200, "{}", streams.len());
                streams.push((connection, response));
            }
            Err(_) => break,
        }
    }
    assert!((20..100).contains(&streams.len()), "{}", streams.len());
    let waiting = tokio::spawn(waits(serving.client(), key.clone()));
    let more: Vec<_> = (0..50).map(|_| Raw::connect(serving.address)).collect();
    let more = futures_util::future::join_all(more).await;
    let health = health(&serving).await;
    let (before, begun) = (computed(serving.pid()), Instant::now());
    for _ in 0..10 {
        assert!(is_alive(health).await);
        sleep(Duration::from_millis(200)).await;
    }
    let busy = (computed(serving.pid()) - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    println!("{} streams, {:.1} % of a core", streams.len(), busy * 100.0);
    assert!(busy < 0.5, "{busy}");
    assert!(!waiting.is_finished());
    drop(more);
    let freed = Instant::now();
    streams.truncate(streams.len() / 2);
    let answered = waiting.await.unwrap();
    println!("served {:?} after others left", answered - freed);
    assert!(answered - freed < Duration::from_secs(5));
}

async fn waits(mut client: Client, key: String) -> Instant {
    let answer = client.call("one", &key, "waits").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    Instant::now()
}
