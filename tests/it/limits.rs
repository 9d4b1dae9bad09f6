//! Limits over replicas: limiters, each with its own way to one store.

use std::time::{Duration, Instant};

use cloakroom::limits::{Bucket, Limiter, Refused, WhenDown};
use cloakroom::store::{Meter, MeterId, Settings, StoreUrl, open};

use crate::support::counted::Counted;
use crate::support::folder_in_memory;
use crate::support::redis::Server;

/// One in 5 ms, 40 at once.
const INTERVAL: Duration = Duration::from_millis(5);
const BURST: u32 = 40;
const RUN: Duration = Duration::from_secs(3);
/// More than anybody waits for a store that does not answer: these tests run beside others.
const PATIENCE: Duration = Duration::from_secs(5);

fn settings(url: &str) -> Settings {
    Settings::new(StoreUrl::parse(url, "".as_ref()).unwrap())
}

fn bucket(id: &str) -> Bucket {
    Bucket {
        id: MeterId::parse(id).unwrap(),
        meter: Meter::Rate {
            interval: INTERVAL,
            burst: BURST,
        },
    }
}

/// Asks until `until`, and as soon as it may be worth it after a refusal; how many passed.
async fn hammer(limiter: Limiter, id: &'static str, when_down: WhenDown, until: Instant) -> u64 {
    let (buckets, mut passed) = ([bucket(id)], 0);
    while Instant::now() < until {
        match limiter.admit(&buckets, 1, when_down).await {
            Ok(()) => passed += 1,
            Err(Refused::Empty { retry_after, .. }) => tokio::time::sleep(retry_after).await,
            Err(Refused::Unavailable { .. }) => tokio::time::sleep(INTERVAL).await,
            Err(refused) => panic!("{refused}"),
        }
    }
    passed
}

/// How many pass of eight tasks at each of `limiters`, and in how long.
async fn hammered(
    limiters: &[Limiter],
    id: &'static str,
    when_down: WhenDown,
    run: Duration,
) -> (u64, Duration) {
    let since = Instant::now();
    let tasks: Vec<_> = limiters
        .iter()
        .flat_map(|limiter| std::iter::repeat_n(limiter, 8))
        .map(|limiter| tokio::spawn(hammer(limiter.clone(), id, when_down, since + run)))
        .collect();
    let mut passed = 0;
    for task in tasks {
        passed += task.await.unwrap();
    }
    (passed, since.elapsed())
}

fn at_rate(time: Duration) -> u64 {
    (time.as_micros() / INTERVAL.as_micros()) as u64
}

/// Three replicas, eight tasks each, one bucket.
async fn the_limit_holds_over_replicas(settings: &Settings) {
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(Counted::open(settings).await);
    }
    let limiters: Vec<_> = stores
        .iter()
        .map(|store| Limiter::new(store.clone()))
        .collect();
    let (passed, took) = hammered(&limiters, "u/ab12", WhenDown::Deny, RUN).await;
    let (limit, burst) = (at_rate(took), u64::from(BURST));
    let asked: usize = stores.iter().map(|store| store.asked()).sum();
    println!(
        "{passed} passed in {took:?}, the limit is {limit} and a burst of {burst}; {asked} leases"
    );
    assert!(passed <= limit + 2 * burst, "{passed} in {took:?}");
    assert!(passed >= at_rate(RUN) * 7 / 10, "{passed} in {took:?}");
    // Who has no limit.
    limiters[0].admit(&[], 1, WhenDown::Deny).await.unwrap();
    assert_eq!(
        stores.iter().map(|store| store.asked()).sum::<usize>(),
        asked
    );
}

// Fails when leased permits never die and slices are as large as the burst, or a store's rule is broken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_holds_over_replicas_on_redis() {
    let server = Server::plain();
    the_limit_holds_over_replicas(&settings(&server.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_holds_over_replicas_on_sqlite() {
    let folder = folder_in_memory();
    let url = format!("sqlite:{}/store.db", folder.path().display());
    the_limit_holds_over_replicas(&settings(&url)).await;
}

// Fails when a lease is waited for without end, or `Local` denies or lets all through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hangs_denies_or_leaves_each_replica_its_limit() {
    let server = Server::plain();
    let store = Counted::open(&settings(&server.url())).await;
    let limiter = Limiter::new(store.clone());
    let buckets = [bucket("u/ab")];
    limiter.admit(&buckets, 1, WhenDown::Deny).await.unwrap();
    server.freeze();
    // Somebody who has nothing in hand.
    let others = [bucket("k/cd")];
    let since = Instant::now();
    let denied = limiter.admit(&others, 1, WhenDown::Deny).await;
    assert!(
        matches!(denied, Err(Refused::Unavailable { .. })),
        "{denied:?}"
    );
    assert!(since.elapsed() < PATIENCE, "{:?}", since.elapsed());

    let asked = store.asked();
    let run = Duration::from_millis(1500);
    let limiters = std::slice::from_ref(&limiter);
    let (passed, took) = hammered(limiters, "k/cd", WhenDown::Local, run).await;
    let (limit, burst) = (at_rate(took), u64::from(BURST));
    assert!(passed <= limit + burst + 1, "{passed} in {took:?}");
    assert!(passed >= at_rate(run) / 2, "{passed} in {took:?}");
    let asked = store.asked() - asked;
    assert!(
        asked as u128 <= 1 + took.as_millis() / 250,
        "{asked} in {took:?}"
    );

    // And it is found again.
    server.thaw();
    let until = Instant::now() + Duration::from_secs(5);
    while limiter.admit(&buckets, 1, WhenDown::Deny).await.is_err() {
        assert!(Instant::now() < until, "it is not found again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

// Fails when a connection that was cut makes the limiter let all through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_died_denies() {
    let server = Server::plain();
    let limiter = Limiter::new(open(&settings(&server.url())).await.unwrap());
    server.kill();
    for _ in 0..20 {
        let since = Instant::now();
        let denied = limiter.admit(&[bucket("u/ab")], 1, WhenDown::Deny).await;
        assert!(
            matches!(denied, Err(Refused::Unavailable { .. })),
            "{denied:?}"
        );
        assert!(since.elapsed() < PATIENCE, "{:?}", since.elapsed());
    }
}
