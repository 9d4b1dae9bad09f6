//! The limiter on a store that does as it is told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{advance, sleep};

use super::*;
use crate::store::{Ask, Event, Record, RecordId, Settled, StoreError, Taken, WriteError};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    /// Grants this many in each answer, at most.
    Grants(u32),
    Fails,
    Hangs,
    Panics,
}

struct Told {
    mood: Mutex<Mood>,
    asked: AtomicUsize,
    /// An answer takes one.
    answers: Semaphore,
}

#[async_trait]
impl Store for Told {
    async fn take(&self, asks: &[Ask]) -> Result<Vec<Taken>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answers.acquire().await.unwrap().forget();
        let mood = *self.mood.lock().unwrap();
        let most = match mood {
            Mood::Grants(most) => most,
            Mood::Fails => return Err(StoreError::Unreachable("as told".into())),
            Mood::Hangs => std::future::pending().await,
            Mood::Panics => panic!("as told"),
        };
        let taken = asks.iter().map(|ask| Taken {
            granted: ask.want.min(most),
            retry_after: Duration::from_secs(if ask.want > most { 3 } else { 0 }),
        });
        Ok(taken.collect())
    }

    async fn get_many(&self, _: &[RecordId]) -> Result<Vec<Option<Record>>, StoreError> {
        unreachable!("limits have no records")
    }

    async fn put_if(&self, _: Record, _: Option<u64>) -> Result<(), WriteError> {
        unreachable!("limits have no records")
    }

    async fn delete_if(&self, _: &RecordId, _: u64) -> Result<(), WriteError> {
        unreachable!("limits have no records")
    }

    async fn page(
        &self,
        _: &str,
        _: Option<&RecordId>,
        _: usize,
    ) -> Result<Vec<Record>, StoreError> {
        unreachable!("limits have no records")
    }

    async fn settle(&self) -> Result<Settled, StoreError> {
        Ok(Settled::Everywhere)
    }

    fn watch(&self) -> mpsc::UnboundedReceiver<Event> {
        mpsc::unbounded_channel().1
    }
}

impl Told {
    fn limiter(mood: Mood) -> (Arc<Self>, Limiter) {
        let store = Arc::new(Self {
            mood: Mutex::new(mood),
            asked: AtomicUsize::new(0),
            answers: Semaphore::new(1 << 20),
        });
        (store.clone(), Limiter::new(store))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn is_now(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

fn bucket(id: &str, burst: u32) -> Bucket {
    Bucket {
        id: MeterId::parse(id).unwrap(),
        meter: Meter::Rate {
            interval: Duration::from_secs(1),
            burst,
        },
    }
}

async fn admit(limiter: &Limiter, bucket: &Bucket) -> Result<(), Refused> {
    let buckets = std::slice::from_ref(bucket);
    limiter.admit(buckets, 1, WhenDown::Deny).await
}

#[tokio::test(start_paused = true)]
async fn only_an_empty_slice_asks_the_store() {
    let (store, limiter) = Told::limiter(Mood::Grants(100));
    limiter.admit(&[], 1, WhenDown::Deny).await.unwrap();
    assert_eq!(store.asked(), 0);
    let bucket = bucket("u/ab", 400);
    for _ in 0..127 {
        admit(&limiter, &bucket).await.unwrap();
    }
    assert_eq!(store.asked(), 7, "1 + 2 + 4 + ... + 64");
    let (batch, buckets) = (401, std::slice::from_ref(&bucket));
    let refused = limiter.admit(buckets, batch, WhenDown::Local).await;
    assert_eq!(
        refused,
        Err(Refused::TooMany {
            which: 0,
            most: 400
        })
    );
}

// Fails when what is held is not given back.
#[tokio::test(start_paused = true)]
async fn all_buckets_grant_or_none() {
    let (store, limiter) = Told::limiter(Mood::Grants(1));
    let (one, other) = (bucket("u/ab", 4), bucket("k/cd", 4));
    admit(&limiter, &other).await.unwrap();
    store.is_now(Mood::Grants(0));
    assert!(admit(&limiter, &other).await.is_err());
    store.is_now(Mood::Grants(1));
    let both = [one.clone(), other];
    let asked = store.asked();
    for _ in 0..5 {
        let refused = limiter.admit(&both, 1, WhenDown::Deny).await;
        let Err(Refused::Empty { which: 1, .. }) = refused else {
            panic!("{refused:?}");
        };
        // The lease of the first lands behind the refusal.
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(store.asked(), asked + 1, "for the first bucket, once");
    admit(&limiter, &one).await.unwrap();
    assert_eq!(store.asked(), asked + 1);
}

// Fails when the lease is made by its caller, or each caller makes one.
#[tokio::test(start_paused = true)]
async fn one_lease_at_a_time_and_it_lands_whoever_goes_away() {
    let (store, limiter) = Told::limiter(Mood::Grants(100));
    let all = store.answers.forget_permits(usize::MAX >> 3);
    let bucket = bucket("u/ab", 400);
    let ask = |_| {
        let (limiter, bucket) = (limiter.clone(), bucket.clone());
        tokio::spawn(async move { admit(&limiter, &bucket).await })
    };
    let callers: Vec<_> = (0..8).map(ask).collect();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(store.asked(), 1);
    callers[0].abort();
    store.answers.add_permits(all);
    for caller in callers.into_iter().skip(1) {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(store.asked(), 3, "of 1, 2 and 4 permits");
}

// Fails when a lease that ends badly is still taken to be under way.
#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_a_lease_nobody_waits_for_ever() {
    for mood in [Mood::Fails, Mood::Hangs, Mood::Panics] {
        let (store, limiter) = Told::limiter(mood);
        let (bucket, since) = (bucket("u/ab", 4), Instant::now());
        let refused = admit(&limiter, &bucket).await;
        assert_eq!(refused, Err(unavailable()), "{mood:?}");
        assert!(since.elapsed() <= Duration::from_secs(1), "{mood:?}");
        store.is_now(Mood::Grants(1));
        sleep(Duration::from_millis(250)).await;
        admit(&limiter, &bucket).await.unwrap();
    }
}

// Fails when `Health::of` does not hold off, or `Local` is no limit.
#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_it_is_seldom_asked() {
    let (store, limiter) = Told::limiter(Mood::Hangs);
    let buckets = [bucket("u/ab", 4)];
    let local = async || limiter.admit(&buckets, 1, WhenDown::Local).await;
    let since = Instant::now();
    local().await.unwrap();
    let waited = since.elapsed().saturating_sub(PATIENCE);
    assert!(
        waited < Duration::from_millis(10),
        "the first waits {waited:?}"
    );
    let waited = Instant::now();
    let mut passed = 1;
    for _ in 0..1000 {
        advance(Duration::from_millis(10)).await;
        let before = Instant::now();
        passed += u32::from(local().await.is_ok());
        assert_eq!(before.elapsed(), Duration::ZERO, "nobody else does");
    }
    assert_eq!(waited.elapsed(), Duration::from_secs(10));
    assert!(
        (13..=14).contains(&passed),
        "{passed}: the burst, and one a second"
    );
    assert!(store.asked() <= 1 + 40, "{}", store.asked());
    let asked = store.asked();
    let denied = [bucket("k/ab", 4)];
    let refused = limiter.admit(&denied, 1, WhenDown::Deny).await;
    assert_eq!(refused, Err(unavailable()));
    assert!(store.asked() <= asked + 1);

    store.is_now(Mood::Grants(1));
    sleep(Duration::from_millis(1200)).await;
    let _ = local().await;
    sleep(Duration::from_millis(1)).await;
    limiter.admit(&denied, 1, WhenDown::Deny).await.unwrap();
}

// Fails when nothing is swept, or what is in use is.
#[tokio::test(start_paused = true)]
async fn what_is_no_longer_needed_is_forgotten() {
    let (store, limiter) = Told::limiter(Mood::Grants(100));
    let kept = Bucket {
        meter: Meter::Quota {
            max: 1000,
            until: u64::MAX,
        },
        ..bucket("u/ffff", 1)
    };
    for _ in 0..2 {
        admit(&limiter, &kept).await.unwrap();
    }
    let asked = store.asked();
    for n in 0..60_000_u32 {
        admit(&limiter, &bucket(&format!("u/{n:08x}"), 1))
            .await
            .unwrap();
        if n % 100 == 0 {
            advance(Duration::from_secs(1)).await;
        }
    }
    let left = limiter.0.table.len();
    assert!(left <= 64 * 64 + 400, "{left}");
    admit(&limiter, &kept).await.unwrap();
    assert_eq!(store.asked(), asked + 60_000, "one of two was left");
}
