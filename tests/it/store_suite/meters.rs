//! Permits, and lines for streams.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cloakroom::store::{Ask, Meter, MeterId, Store, StoreError, Taken};

use super::places::Place;

const HOUR: Duration = Duration::from_secs(3600);

fn ask(id: &str, meter: Meter, want: u32) -> Ask {
    let id = MeterId::parse(id).unwrap();
    Ask { id, meter, want }
}

fn rate(interval: Duration, burst: u32) -> Meter {
    Meter::Rate { interval, burst }
}

/// Seconds since 1970, so many from now.
fn in_seconds(seconds: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs().checked_add_signed(seconds).unwrap()
}

async fn take(store: &Arc<dyn Store>, id: &str, meter: Meter, want: u32) -> Taken {
    let taken = store.take(&[ask(id, meter, want)]).await.unwrap();
    assert_eq!(taken.len(), 1);
    taken[0]
}

/// What eight tasks on two handles are granted until each ends.
async fn together(
    place: &Place,
    meter: Meter,
    goes_on: impl Fn(u32) -> bool + Clone + Send + Sync + 'static,
) -> u64 {
    let stores = [place.open().await, place.open().await];
    let takers: Vec<_> = (0..8)
        .map(|taker| {
            let (store, goes_on) = (Arc::clone(&stores[taker % 2]), goes_on.clone());
            tokio::spawn(async move {
                let mut sum = 0;
                loop {
                    let granted = take(&store, "u/ab12", meter, 1 + taker as u32 % 3)
                        .await
                        .granted;
                    sum += u64::from(granted);
                    if !goes_on(granted) {
                        return sum;
                    }
                }
            })
        })
        .collect();
    let mut sum = 0;
    for taker in takers {
        sum += taker.await.unwrap();
    }
    sum
}

/// Fails when a store reads what is kept before it takes the lock, or forgets to keep it.
pub(super) async fn a_rate_holds_whoever_takes(place: &Place) {
    let interval = Duration::from_millis(5);
    let since = Instant::now();
    let until = since + Duration::from_millis(500);
    let sum = together(place, rate(interval, 20), move |_| Instant::now() < until).await;
    let elapsed = since.elapsed().as_millis() as u64;
    // One may come back at the first moment and one at the last.
    assert!(sum <= 20 + elapsed / 5 + 1, "{sum} in {elapsed} ms");
    assert!(sum >= 20 + 500 / 5 / 2, "{sum} in {elapsed} ms");
}

/// Fails as the one before.
pub(super) async fn a_quota_is_exact_whoever_takes(place: &Place) {
    let until = in_seconds(1000);
    let sum = together(place, Meter::Quota { max: 100, until }, |granted| {
        granted > 0
    })
    .await;
    assert_eq!(sum, 100);
}

pub(super) async fn a_denial_says_how_long(place: &Place) {
    let store = place.open().await;
    let meter = rate(Duration::from_millis(400), 2);
    assert_eq!(take(&store, "u/ab", meter, 5).await.granted, 2);
    let denied = take(&store, "u/ab", meter, 1).await;
    assert_eq!(denied.granted, 0);
    let wait = denied.retry_after;
    assert!(
        wait > Duration::ZERO && wait <= Duration::from_millis(400),
        "{wait:?}"
    );
    tokio::time::sleep(wait).await;
    assert_eq!(take(&store, "u/ab", meter, 1).await.granted, 1);

    // A quota starts anew at its end, by the store's clock, for who names the next.
    let (first, second) = (in_seconds(2), in_seconds(1000));
    let quota = |until| Meter::Quota { max: 2, until };
    assert_eq!(take(&store, "u/cd", quota(first), 2).await.granted, 2);
    let denied = take(&store, "u/cd", quota(second), 2).await;
    assert_eq!(denied.granted, 0, "the first has not ended");
    assert!(denied.retry_after <= Duration::from_secs(2), "{denied:?}");
    tokio::time::sleep(denied.retry_after).await;
    assert_eq!(take(&store, "u/cd", quota(first), 2).await.granted, 0);
    assert_eq!(take(&store, "u/cd", quota(second), 1).await.granted, 1);
    // A replica whose clock is slow takes from the new period too.
    assert_eq!(take(&store, "u/cd", quota(first), 2).await.granted, 1);
}

/// Answers that no clock has a part in. Fails when the script and the function differ.
pub(super) async fn the_rule_is_the_same_everywhere(place: &Place) {
    let store = place.open().await;
    let granted = async |meter, want| take(&store, "u/ab", meter, want).await.granted;
    // A limit that is changed counts at once, and who used more than the new one owes no more than all.
    assert_eq!(granted(rate(HOUR, 0), 1).await, 0);
    assert_eq!(granted(rate(HOUR, 4), 3).await, 3);
    assert_eq!(granted(rate(HOUR, 2), 1).await, 0);
    assert_eq!(granted(rate(HOUR, 6), 5).await, 3);
    assert_eq!(granted(rate(HOUR / 2, 5), 9).await, 0);
    assert_eq!(granted(rate(HOUR, 7), 9).await, 1);
    let full = take(&store, "u/ab", rate(HOUR, 7), 1).await;
    assert!(
        full.retry_after <= HOUR && full.retry_after > HOUR - Duration::from_secs(60),
        "{full:?}"
    );
    // Numbers nobody means do no harm.
    let huge = rate(Duration::MAX, u32::MAX);
    assert_eq!(take(&store, "u/ee", huge, u32::MAX).await.granted, 1);
    let tiny = rate(Duration::ZERO, u32::MAX);
    assert!(take(&store, "u/ef", tiny, u32::MAX).await.granted > 1_000_000);

    let quota = |max, seconds| Meter::Quota {
        max,
        until: in_seconds(seconds),
    };
    assert_eq!(granted(quota(0, 1000), 1).await, 0, "a meter of its own");
    assert_eq!(granted(quota(5, 1000), 3).await, 3);
    assert_eq!(
        granted(quota(5, 500), 1).await,
        1,
        "an earlier end is not heard"
    );
    let left = take(&store, "u/ab", quota(5, 5000), 3).await;
    assert_eq!(left.granted, 1, "a later end is not heard yet");
    let wait = left.retry_after;
    assert!(
        wait > Duration::from_secs(900) && wait <= Duration::from_secs(1000),
        "{wait:?}"
    );
    assert_eq!(granted(quota(8, 1000), 9).await, 3);
    assert_eq!(granted(quota(2, 1000), 9).await, 0);
    // A period that is over, asked for by a slow clock, is counted all the same, and ends with the next.
    let over = Meter::Quota {
        max: 5,
        until: in_seconds(-10),
    };
    let slow = async |meter, want| take(&store, "u/cd", meter, want).await;
    assert_eq!(slow(over, 3).await.granted, 3);
    assert_eq!(slow(over, 3).await.granted, 2);
    let denied = slow(over, 3).await;
    assert_eq!(
        (denied.granted, denied.retry_after),
        (0, Duration::from_secs(1))
    );
    assert_eq!(slow(quota(5, 1000), 9).await.granted, 5);
    assert_eq!(slow(over, 3).await.granted, 0);
    let endless = Meter::Quota {
        max: u64::MAX,
        until: u64::MAX,
    };
    assert_eq!(
        take(&store, "u/ee", endless, u32::MAX).await.granted,
        u32::MAX
    );
    assert_eq!(take(&store, "u/ee", endless, 1).await.granted, 1);
}

pub(super) async fn one_trip_takes_from_many_meters(place: &Place) {
    let store = place.open().await;
    let until = in_seconds(1000);
    // Of several shards, and one of them twice.
    let asks: Vec<_> = (0..40_u32)
        .map(|n| {
            let id = format!("k/{:02x}ff", n.wrapping_mul(0x9e37_79b9) >> 24);
            let max = u64::from(n % 4);
            ask(&id, Meter::Quota { max, until }, 2)
        })
        .chain([ask("k/00ff", Meter::Quota { max: 3, until }, 2)])
        .chain([ask("k/00ff", rate(HOUR, 9), 2)])
        .collect();
    let taken = store.take(&asks).await.unwrap();
    let granted: Vec<_> = taken.iter().map(|taken| taken.granted).collect();
    let expected = (0..40).map(|n| (n % 4).min(2)).chain([2, 2]);
    assert_eq!(granted, expected.collect::<Vec<_>>());
    assert!(store.take(&[]).await.unwrap().is_empty());
    // They are no records.
    assert!(store.page("k/", None, 9).await.unwrap().is_empty());
}

pub(super) async fn lines_go_to_redis_alone(place: &Place) {
    let store = place.open().await;
    let lines = ["one".into(), "two".into()];
    let appended = store.append("audit", 100, &lines).await;
    if store.has_streams() {
        appended.unwrap();
        for name in ["", "a}b", "A", &"a".repeat(64)] {
            let refused = store.append(name, 100, &lines).await;
            assert!(matches!(refused, Err(StoreError::Unsupported(_))), "{name}");
        }
    } else {
        let error = appended.unwrap_err().to_string();
        assert!(error.contains("only Redis"), "{error}");
    }
}
