//! The one server is away, or slow. Whom the proxy knows does not notice; whom it does not know is told
//! to come again, never that the key is wrong.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::until_served;
use super::{SERVER, SOON, ask, assert_unavailable, away_for, served_on, start, strangers};
use crate::support::load::Load;
use crate::support::proxy::{Place, Proxy, beside_few};
use crate::support::redis::{Options, Server};
use crate::support::relay::{Faults, Relay, Way};

/// From the return of the store to the first answer for which it was asked.
const RECOVERED: Duration = Duration::from_secs(2);
/// Of each user of the load.
const PAUSE: Duration = Duration::from_millis(15);
const USERS: usize = 3;

/// While the store is away: strangers are told so, and soon.
async fn strangers_are_put_off(proxy: &Proxy, stranger: &str, until: Instant) {
    let mut client = proxy.client();
    while Instant::now() < until {
        let (answer, took) = ask(&mut client, stranger).await;
        assert_unavailable(&answer, took);
        sleep(Duration::from_millis(50)).await;
    }
}

/// One more whom the proxy never saw.
fn next(strangers: &mut Vec<String>) -> String {
    strangers.pop().expect("there are enough strangers")
}

/// Makes it go away, and come back after a while.
async fn away_and_back(what: &str, redis: Server, leave: fn(&Server), come_back: fn(&Server)) {
    let proxy = start(&Place::Redis(&redis)).await;
    let load = Load::start(&proxy, SERVER, USERS, PAUSE).await;
    let mut strangers = strangers(&proxy, 2).await;
    let (later, mut client) = proxy.known("later", SERVER).await;
    leave(&redis);
    let left = Instant::now();
    // What was sent before it left may still be answered.
    sleep(Duration::from_millis(20)).await;
    strangers_are_put_off(&proxy, &strangers[0], left + away_for()).await;
    come_back(&redis);
    until_served(&proxy, &next(&mut strangers), Instant::now(), RECOVERED).await;
    // As before: news comes at once.
    proxy.revoke(&later).await;
    let took = served_on(&mut client, &later, Instant::now()).await;
    assert!(took < SOON, "{what}: revoked, and served for {took:?}");
    load.stop().await.assert_clean(what);
}

/// What it needs to keep its records when it is killed.
fn durable() -> Server {
    Server::start(Options {
        lines: "appendonly yes\nappendfsync always",
        ..Options::default()
    })
}

/// All commands wait, or those that write.
async fn paused(what: &str, mode: &str, reads: bool) {
    let redis = Server::plain();
    let proxy = start(&Place::Redis(&redis)).await;
    let load = Load::start(&proxy, SERVER, USERS, PAUSE).await;
    let mut strangers = strangers(&proxy, 3).await;
    let (later, mut client) = proxy.known("later", SERVER).await;
    let pause = |length: Duration| {
        let command = format!("CLIENT PAUSE {} {mode}", length.as_millis());
        redis.ask::<()>(&command).unwrap();
        Instant::now() + length
    };
    if reads {
        // A write that is held up is made in the end, and holds.
        let back = pause(Duration::from_secs(1));
        proxy.revoke(&later).await;
        assert!(Instant::now() > back - Duration::from_millis(100));
        let took = served_on(&mut client, &later, Instant::now()).await;
        assert!(took < SOON, "{what}: revoked, and served for {took:?}");
    }
    let back = pause(away_for());
    if reads {
        until_served(&proxy, &next(&mut strangers), Instant::now(), SOON).await;
        sleep(back.saturating_duration_since(Instant::now())).await;
    } else {
        let before = back - Duration::from_millis(100);
        strangers_are_put_off(&proxy, &strangers[0], before - SOON).await;
        sleep(back.saturating_duration_since(Instant::now())).await;
    }
    until_served(&proxy, &next(&mut strangers), Instant::now(), RECOVERED).await;
    load.stop().await.assert_clean(what);
}

/// Every answer is so much later.
async fn slow(milliseconds: u64) {
    let what = format!("slow by {milliseconds} ms");
    let round_trip = Duration::from_millis(milliseconds);
    let redis = Server::plain();
    let relay = Relay::to(redis.port).await;
    let proxy = start(&Place::Relayed(&redis, relay.port)).await;
    let load = Load::start(&proxy, SERVER, USERS, PAUSE).await;
    let mut strangers = strangers(&proxy, 40).await;
    let (later, mut client) = proxy.known("later", SERVER).await;
    relay.set(Faults::both(Way::Late(round_trip / 2)));
    let until = Instant::now() + away_for();
    let mut stranger = proxy.client();
    if 2 * round_trip < SOON {
        while Instant::now() < until {
            let key = next(&mut strangers);
            let (answer, took) = ask(&mut stranger, &key).await;
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
            assert!(took < SOON, "{what}: {took:?}");
            sleep(Duration::from_millis(200)).await;
        }
        proxy.revoke(&later).await;
        let took = served_on(&mut client, &later, Instant::now()).await;
        assert!(took < round_trip + SOON, "{what}: {took:?}");
    } else {
        strangers_are_put_off(&proxy, &strangers[0], until).await;
    }
    relay.release();
    until_served(&proxy, &next(&mut strangers), Instant::now(), RECOVERED).await;
    assert_eq!(stranger.call(SERVER, "clk_wrong", "").await.status, 401);
    load.stop().await.assert_clean(&what);
}

// Fails when `may_be_stale` in the resolver is never true, when `load` there makes a read that failed an
// `Absent`, or when `REFUSE_FOR` of a line or `LONGEST_PAUSE` of the watch are 10 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_keys_are_served_whatever_happens_to_the_server() {
    let _place = beside_few().await;
    let mut all = JoinSet::new();
    all.spawn(away_and_back(
        "killed",
        durable(),
        Server::kill,
        Server::restart,
    ));
    all.spawn(away_and_back(
        "frozen",
        Server::plain(),
        Server::freeze,
        Server::thaw,
    ));
    all.spawn(paused("paused", "ALL", false));
    all.spawn(paused("writes paused", "WRITE", true));
    all.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_keys_are_served_however_slow_the_server() {
    let _place = beside_few().await;
    let mut all = JoinSet::new();
    all.spawn(slow(50));
    all.spawn(slow(200));
    all.spawn(slow(1000));
    all.join_all().await;
}
