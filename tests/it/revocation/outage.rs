//! What is served while the store, or only the news of its changes, is out of reach.

use std::time::{Duration, Instant};

use super::{SERVER, start, until_refused};
use crate::support::client::{Answer, Client};
use crate::support::proxy::{Place, Proxy, alone};
use crate::support::redis::Server;
use crate::support::relay::Relay;

/// A proxy whose connections to Redis pass a wire that can be held or cut.
struct Wired {
    proxy: Proxy,
    relay: Relay,
    _redis: Server,
}

impl Wired {
    async fn start(stale_for: &str) -> Self {
        let redis = Server::plain();
        let relay = Relay::to(redis.port).await;
        let place = Place::Relayed(&redis, relay.port);
        let proxy = start(&place, &format!("stale_for = \"{stale_for}\"")).await;
        Self {
            proxy,
            relay,
            _redis: redis,
        }
    }

    /// A user whose key the proxy knows.
    async fn known(&self, name: &str) -> (String, Client) {
        let key = self.proxy.settle_in(name, &[SERVER]).await;
        let mut client = self.proxy.client();
        for _ in 0..2 {
            let answer = client.call(SERVER, &key, "first").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            // The news of the user's own making may arrive after the first request, and makes the
            // proxy read again.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        (key, client)
    }

    async fn revoke(&self, key: &str) {
        let digest = cloakroom::identity::KeyDigest::of_presented(key.as_bytes(), &[]);
        let digest = digest.ok().unwrap();
        self.proxy.vault.revoke_digest(&digest).await.unwrap();
    }
}

/// Asks, and how long the answer took.
async fn ask(client: &mut Client, key: &str) -> (Answer, Duration) {
    let begun = Instant::now();
    let answer = client.call(SERVER, key, "now").await;
    (answer, begun.elapsed())
}

fn assert_unavailable(answer: &Answer, took: Duration) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_delays_a_revocation_by_seconds_at_most() {
    let _alone = alone().await;
    let wired = Wired::start("60s").await;
    let mut longest = Duration::ZERO;
    for n in 0..20 {
        let (key, mut client) = wired.known(&format!("user-{n}")).await;
        wired.relay.cut();
        wired.revoke(&key).await;
        let written = Instant::now();
        let refused = until_refused(&mut client, &key).await;
        longest = longest.max(refused.saturating_duration_since(written));
    }
    println!("with its connections cut: at most {longest:?}");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
}

// Fails when `may_be_stale` is always, or never, true.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_known_keys_are_served_for_a_while_and_others_never() {
    let _alone = alone().await;
    let wired = Wired::start("4s").await;
    let (alice, mut alices) = wired.known("alice").await;
    let (bob, mut bobs) = wired.known("bob").await;
    let stranger = wired.proxy.settle_in("carol", &[SERVER]).await;
    wired.revoke(&bob).await;
    until_refused(&mut bobs, &bob).await;
    wired.relay.hold();
    let held = Instant::now();
    let mut strangers = wired.proxy.client();
    while held.elapsed() < Duration::from_secs(2) {
        let (answer, took) = ask(&mut alices, &alice).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(took < Duration::from_secs(1), "{took:?}");
        let (answer, took) = ask(&mut strangers, &stranger).await;
        assert_unavailable(&answer, took);
        let (answer, _) = ask(&mut bobs, &bob).await;
        assert_eq!(answer.status, 401, "known to be revoked: {}", answer.text());
    }
    // It was last known to be right a moment before the wire was held.
    tokio::time::sleep(Duration::from_millis(4100).saturating_sub(held.elapsed())).await;
    for _ in 0..5 {
        let (answer, took) = ask(&mut alices, &alice).await;
        assert_unavailable(&answer, took);
    }
    wired.relay.release();
    let released = Instant::now();
    while ask(&mut alices, &alice).await.0.status != 200 {
        assert!(released.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(ask(&mut strangers, &stranger).await.0.status, 200);
    assert_eq!(ask(&mut bobs, &bob).await.0.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_serves_nothing_once_the_store_is_gone() {
    let _alone = alone().await;
    let wired = Wired::start("0s").await;
    let (alice, mut alices) = wired.known("alice").await;
    wired.relay.hold();
    let held = Instant::now();
    // The store counts as there until it was silent for too long.
    loop {
        assert!(held.elapsed() < Duration::from_secs(5), "it is served on");
        let (answer, took) = ask(&mut alices, &alice).await;
        if answer.status != 200 {
            assert_unavailable(&answer, took);
            break;
        }
    }
    println!("strict: served for {:?}", held.elapsed());
    for _ in 0..20 {
        let (answer, took) = ask(&mut alices, &alice).await;
        assert_unavailable(&answer, took);
    }
}

// Fails when `next_epoch` does nothing (where the wire is cut).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_store_is_back_nothing_is_served_unchecked() {
    let _alone = alone().await;
    for cut in [false, true] {
        let wired = Wired::start("60s").await;
        let (alice, mut alices) = wired.known("alice").await;
        let stranger = wired.proxy.settle_in("carol", &[SERVER]).await;
        wired.relay.hold();
        let held = Instant::now();
        wired.revoke(&alice).await;
        while held.elapsed() < Duration::from_secs(4) {
            let (answer, _) = ask(&mut alices, &alice).await;
            assert_eq!(answer.status, 200, "stale, as allowed: {}", answer.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if cut {
            // What was on the wire is lost: nobody will tell that the key was revoked.
            wired.relay.cut();
        }
        wired.relay.release();
        let released = Instant::now();
        // Whoever was never seen shows that the store is reached again.
        let mut strangers = wired.proxy.client();
        while ask(&mut strangers, &stranger).await.0.status != 200 {
            assert!(released.elapsed() < Duration::from_secs(5));
        }
        let back = released.elapsed();
        let (answer, _) = ask(&mut alices, &alice).await;
        assert_eq!(answer.status, 401, "served unchecked");
        println!("reached again {back:?} after it was back");
    }
}
