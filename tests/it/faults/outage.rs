//! What is served while the store, or only the news of its changes, is out of reach.

use std::time::{Duration, Instant};

use super::{RECHECKED, SERVER, SOON, Wired, ask, assert_unavailable, served_on};
use crate::support::proxy::beside_few;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_delays_a_revocation_by_seconds_at_most() {
    let _place = beside_few().await;
    let wired = Wired::start("").await;
    let mut longest = Duration::ZERO;
    for n in 0..20 {
        let (key, mut client) = wired.proxy.known(&format!("user-{n}"), SERVER).await;
        wired.relay.cut();
        wired.proxy.revoke(&key).await;
        let written = Instant::now();
        longest = longest.max(served_on(&mut client, &key, written).await);
    }
    assert!(longest < RECHECKED, "{longest:?}");
}

// Fails when `may_be_stale` is always, or never, true.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_known_keys_are_served_for_a_while_and_others_never() {
    let _place = beside_few().await;
    let wired = Wired::start("stale_for = \"4s\"").await;
    let (alice, mut alices) = wired.proxy.known("alice", SERVER).await;
    let (bob, mut bobs) = wired.proxy.known("bob", SERVER).await;
    let stranger = wired.proxy.settle_in("carol", &[SERVER]).await;
    wired.proxy.revoke(&bob).await;
    served_on(&mut bobs, &bob, Instant::now()).await;
    wired.relay.hold();
    let held = Instant::now();
    let mut strangers = wired.proxy.client();
    while held.elapsed() < Duration::from_secs(2) {
        let (answer, took) = ask(&mut alices, &alice).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(took < SOON, "{took:?}");
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
    let _place = beside_few().await;
    let wired = Wired::start("stale_for = \"0s\"").await;
    let (alice, mut alices) = wired.proxy.known("alice", SERVER).await;
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
    for _ in 0..20 {
        let (answer, took) = ask(&mut alices, &alice).await;
        assert_unavailable(&answer, took);
    }
}

// Fails when `next_epoch` does nothing (where the wire is cut).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_store_is_back_nothing_is_served_unchecked() {
    let _place = beside_few().await;
    for cut in [false, true] {
        let wired = Wired::start("").await;
        let (alice, mut alices) = wired.proxy.known("alice", SERVER).await;
        let stranger = wired.proxy.settle_in("carol", &[SERVER]).await;
        wired.relay.hold();
        let held = Instant::now();
        wired.proxy.revoke(&alice).await;
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
        assert_eq!(
            answer.status, 401,
            "served unchecked, {back:?} after it was back"
        );
    }
}
