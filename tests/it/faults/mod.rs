//! What still holds while the store is broken, and right after: rule 7, with real servers, under load.
//!
//! `CLOAKROOM_FAULT_SECONDS` sets how long a server is away in each test (5; a soak takes 30 and more).

mod cluster;
mod master;
mod outage;
mod push;
mod sentinels;
mod stale;

use std::time::{Duration, Instant};

use crate::support::client::{Answer, Client};
use crate::support::echo::{Manner, echo};
use crate::support::proxy::{Lines, Place, Proxy};
use crate::support::redis::Server;
use crate::support::relay::Relay;

const SERVER: &str = "json";
/// How soon an answer comes, whatever it says, when the proxy must ask a store that does not answer.
/// A second, and what a busy machine adds.
const SOON: Duration = Duration::from_millis(1250);
/// From the loss of a master to the first answer for which the store was asked, where another can take
/// its place.
const TAKEN_OVER: Duration = Duration::from_secs(10);
/// How soon a revocation holds when only the news of it is lost.
const RECHECKED: Duration = Duration::from_secs(5);

fn away_for() -> Duration {
    let named = std::env::var("CLOAKROOM_FAULT_SECONDS").ok();
    Duration::from_secs(named.map_or(5, |number| number.parse().expect("a number")))
}

async fn start(place: &Place<'_>) -> Proxy {
    start_with(place, "").await
}

/// With these lines about the store.
async fn start_with(place: &Place<'_>, store: &str) -> Proxy {
    let lines = Lines {
        root: "log = \"warn\"",
        store,
        slots: None,
    };
    let servers = [(SERVER, echo(Manner::Json).await)];
    Proxy::start(place, &lines, &servers).await
}

/// A proxy whose connections to Redis pass a wire with faults.
struct Wired {
    proxy: Proxy,
    relay: Relay,
    _redis: Server,
}

impl Wired {
    async fn start(store: &str) -> Self {
        let redis = Server::plain();
        let relay = Relay::to(redis.port).await;
        let proxy = start_with(&Place::Relayed(&redis, relay.port), store).await;
        Self {
            proxy,
            relay,
            _redis: redis,
        }
    }
}

/// Keys the proxy never saw, of a user with a secret.
async fn strangers(proxy: &Proxy, many: usize) -> Vec<String> {
    proxy.settle_in("stranger", &[SERVER]).await;
    let mut keys = Vec::with_capacity(many);
    for _ in 0..many {
        let issued = proxy.issue_key("stranger", None).await;
        keys.push(issued.key.reveal().to_owned());
    }
    keys
}

/// Asks once, and how long the answer took.
async fn ask(client: &mut Client, key: &str) -> (Answer, Duration) {
    let begun = Instant::now();
    let answer = client.call(SERVER, key, "now").await;
    (answer, begun.elapsed())
}

/// Asks with keys the proxy never saw until one is served; how long that took. Until then each is told to
/// come again, soon.
async fn until_found(proxy: &Proxy, strangers: &mut Vec<String>, patience: Duration) -> Duration {
    let begun = Instant::now();
    let mut client = proxy.client();
    loop {
        let key = strangers.last().expect("there are enough strangers");
        let (answer, took) = ask(&mut client, key).await;
        if answer.status == 200 {
            strangers.pop();
            return begun.elapsed();
        }
        assert_unavailable(&answer, took);
        assert!(begun.elapsed() < patience, "not within {patience:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn assert_unavailable(answer: &Answer, took: Duration) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(took < SOON, "{took:?}: {}", answer.text());
}

/// How long a client that asks all the time is still served, from `written` on.
async fn served_on(client: &mut Client, key: &str, written: Instant) -> Duration {
    loop {
        let (answer, _) = ask(client, key).await;
        if answer.status == 401 {
            return written.elapsed();
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(written.elapsed() < 2 * RECHECKED, "it is never refused");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Asks with keys the proxy never saw until one is served.
async fn until_taken_over(proxy: &Proxy, key: &str, since: Instant) -> Duration {
    let mut client = proxy.client();
    loop {
        let (answer, took) = ask(&mut client, key).await;
        if answer.status == 200 {
            return since.elapsed();
        }
        assert_unavailable(&answer, took);
        assert!(since.elapsed() < TAKEN_OVER, "not within {TAKEN_OVER:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The news comes at once, as ever.
async fn revoked_at_once(what: &str, proxy: &Proxy, key: &str, client: &mut Client) {
    let begun = Instant::now();
    // It may be told that the store cannot be reached, and is then given again.
    while let Err(told) = proxy.command_revokes(key).await {
        assert!(begun.elapsed() < TAKEN_OVER, "{what}: {told}");
    }
    let took = served_on(client, key, Instant::now()).await;
    println!("{what}: a revocation held after {took:?}");
    assert!(took < RECHECKED, "{what}: revoked, and served for {took:?}");
}
