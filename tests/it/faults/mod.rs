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

use cloakroom::store::Settled;

use crate::support::client::{Answer, Client};
use crate::support::echo::{Manner, echo};
use crate::support::load::Load;
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
/// How long somebody may wait for being put off: the 0.9 s of the proxy, and what a busy machine adds.
const PUT_OFF: Duration = Duration::from_millis(1750);
/// How soon a revocation holds while changes are pushed: at once, and what a busy machine adds. Shorter than
/// the 2 s after which the proxy reads again what it was not told of.
const PUSHED: Duration = Duration::from_secs(1);
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

/// Asks with a key the proxy never saw until it is served; until then it is told to come again, soon.
async fn until_served(proxy: &Proxy, key: &str, since: Instant, patience: Duration) {
    let mut client = proxy.client();
    loop {
        let (answer, took) = ask(&mut client, key).await;
        if answer.status == 200 {
            return;
        }
        assert_unavailable(&answer, took);
        assert!(since.elapsed() < patience, "not within {patience:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn assert_unavailable(answer: &Answer, took: Duration) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(took < PUT_OFF, "{took:?}: {}", answer.text());
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

/// Waits until every copy has what was written.
async fn settled(proxy: &Proxy) {
    let begun = Instant::now();
    loop {
        let told = proxy.store.settle().await;
        if matches!(told, Ok(Settled::Everywhere)) {
            return;
        }
        assert!(begun.elapsed() < TAKEN_OVER, "{told:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Revokes, again until the store could be reached, and sees that it holds `within` that time.
async fn revoked(what: &str, proxy: &Proxy, (key, client): (&str, &mut Client), within: Duration) {
    let begun = Instant::now();
    while let Err(told) = proxy.command_revokes(key).await {
        assert!(begun.elapsed() < TAKEN_OVER, "{what}: {told}");
    }
    let took = served_on(client, key, Instant::now()).await;
    assert!(took < within, "{what}: revoked, and served for {took:?}");
}

/// How a master is lost, and comes back.
struct Loss {
    what: &'static str,
    lose: fn(&Server),
    back: fn(&Server),
}

const KILLED: Loss = Loss {
    what: "killed",
    lose: Server::kill,
    back: Server::restart,
};
const FROZEN: Loss = Loss {
    what: "frozen",
    lose: Server::freeze,
    back: Server::thaw,
};

/// Another takes the place of `master`, which has the records of the user whose key is `later`, and of
/// `stranger`, whom the proxy never saw.
async fn replaced(
    Loss { what, lose, back }: &Loss,
    proxy: &Proxy,
    master: &Server,
    (later, mut client): (String, Client),
    stranger: &str,
) {
    let load = Load::start(proxy, SERVER, 3, Duration::from_millis(15)).await;
    let (last, mut lasts) = proxy.known("last", SERVER).await;
    settled(proxy).await;
    lose(master);
    let since = Instant::now();
    // What was sent before may still be answered.
    tokio::time::sleep(Duration::from_millis(20)).await;
    until_served(proxy, stranger, since, TAKEN_OVER).await;
    // What listens for changes may still be on its way to the new master.
    revoked(what, proxy, (&later, &mut client), RECHECKED).await;
    // It comes back, and is a master in its own eyes until it is told.
    back(master);
    let until = Instant::now() + away_for();
    while Instant::now() < until {
        assert_eq!(ask(&mut client, &later).await.0.status, 401, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    revoked(what, proxy, (&last, &mut lasts), PUSHED).await;
    load.stop().await.assert_clean(what);
}
