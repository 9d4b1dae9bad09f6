//! What a request costs of the bounds of its user and its key.

use std::time::Duration;

use super::Gate;
use crate::limits::{Bucket, Limiter, Refused, WhenDown};
use crate::rejection::{Kind, Rejection};
use crate::resolve::Identity;
use crate::store::{Meter, MeterId};
use crate::vault::{Limits, now_seconds};

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// Bounds over time for whom no record says others.
#[derive(Clone)]
pub struct Rates {
    /// What counts.
    pub limiter: Limiter,
    /// By each user.
    pub user: Limits,
    /// With each key.
    pub key: Limits,
    /// What is done while the store is away.
    pub when_down: WhenDown,
}

impl Gate {
    /// Takes what `requests` cost from the bounds of the user and the key.
    ///
    /// # Errors
    /// That it is too much for now, with how long to wait; or that it cannot be counted.
    pub async fn spend(&self, identity: &Identity, requests: usize) -> Result<(), Rejection> {
        let Some(rates) = self.rules.rates.as_ref().filter(|_| requests > 0) else {
            return Ok(());
        };
        let buckets = rates.buckets(identity, now_seconds);
        if buckets.is_empty() {
            return Ok(());
        }
        let n = u32::try_from(requests).unwrap_or(u32::MAX);
        let admitted = rates.limiter.admit(&buckets, n, rates.when_down);
        Box::pin(admitted)
            .await
            .map_err(|refused| refusal(&refused, &buckets))
    }

    /// How many requests of the user may be under way at one moment for another to begin, where his record
    /// or that of the key says it: the fewer of both.
    #[must_use]
    pub fn concurrent(&self, identity: &Identity) -> Option<u32> {
        let bounds = [&identity.user().limits, &identity.key().limits];
        let bounds = bounds.into_iter().filter_map(|limits| limits.concurrent);
        bounds.filter(|most| *most > 0).min()
    }
}

impl Rates {
    /// Those that bound a request of `identity`; `now` says what time it is, in unix seconds. Who acts for
    /// another spends what his key may and what the other may.
    fn buckets(&self, identity: &Identity, now: fn() -> u64) -> Vec<Bucket> {
        // A bucket of its own for each: the letter says which.
        let user = || identity.user_id().to_string();
        let key = || identity.digest().to_hex();
        let mut buckets = Vec::new();
        let (own, all) = (&identity.user().limits, &self.user);
        bounds(['u', 'd'], user, own, all, now, &mut buckets);
        let (own, all) = (&identity.key().limits, &self.key);
        bounds(['k', 'q'], key, own, all, now, &mut buckets);
        buckets
    }
}

fn bounds(
    letters: [char; 2],
    name: impl Fn() -> String,
    own: &Limits,
    all: &Limits,
    now: fn() -> u64,
    buckets: &mut Vec<Bucket>,
) {
    // 0 is written by who is to have no bound although everybody else has one.
    let rate = own.rate.or(all.rate).filter(|rate| *rate > 0);
    let burst = match own.rate {
        Some(_) => own.burst,
        None => own.burst.or(all.burst),
    };
    let daily = own.daily.or(all.daily).filter(|max| *max > 0);
    let meters = [
        rate.map(|rate| rate_meter(rate, burst)),
        daily.map(|max| Meter::Quota {
            max,
            until: (now() / DAY + 1) * DAY,
        }),
    ];
    for (letter, meter) in letters.into_iter().zip(meters) {
        let Some(meter) = meter else { continue };
        let id = MeterId::parse(&format!("{letter}/{}", name()));
        let id = id.expect("a letter, a slash and hexadecimal digits");
        buckets.push(Bucket { id, meter });
    }
}

/// `rate` a minute, of which a sixth at once unless said.
fn rate_meter(rate: u32, burst: Option<u32>) -> Meter {
    let burst = burst.filter(|burst| *burst > 0).unwrap_or(rate / 6);
    Meter::Rate {
        interval: (Duration::from_secs(60) / rate).max(Duration::from_micros(1)),
        burst: burst.max(1),
    }
}

fn refusal(refused: &Refused, buckets: &[Bucket]) -> Rejection {
    let kind = |which: usize| match buckets[which].meter {
        Meter::Rate { .. } => Kind::RateLimited,
        Meter::Quota { .. } => Kind::QuotaSpent,
    };
    match refused {
        Refused::Empty { which, retry_after } => {
            Rejection::new(kind(*which)).with_retry_after(*retry_after)
        }
        Refused::TooMany { which, most } => {
            let text = format!(
                "the batch holds more requests than your limit ever lets through at once ({most}): \
                 send fewer together"
            );
            Rejection::with_text(kind(*which), text)
        }
        Refused::Unavailable { retry_after } => {
            Rejection::new(Kind::StoreUnreachable).with_retry_after(*retry_after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(own: Limits, all: Limits) -> Vec<Meter> {
        let mut buckets = Vec::new();
        bounds(
            ['u', 'd'],
            || "00".to_owned(),
            &own,
            &all,
            || 100,
            &mut buckets,
        );
        let names: std::collections::BTreeSet<_> = buckets.iter().map(|b| b.id.as_str()).collect();
        assert_eq!(names.len(), buckets.len(), "a bucket of its own for each");
        buckets.into_iter().map(|bucket| bucket.meter).collect()
    }

    fn rate(interval: Duration, burst: u32) -> Meter {
        Meter::Rate { interval, burst }
    }

    // Fails when the bounds of everybody come before a user's own, or 0 bounds anything.
    #[test]
    fn a_users_own_bounds_come_before_those_of_everybody() {
        let limits = |rate, burst, daily| Limits {
            rate,
            burst,
            daily,
            concurrent: None,
        };
        let none = Limits::default();
        let second = Duration::from_secs(1);
        let today = Meter::Quota { max: 9, until: DAY };
        for (own, all, expected) in [
            (none, none, vec![]),
            (none, limits(Some(60), None, None), vec![rate(second, 10)]),
            (
                none,
                limits(Some(60), Some(7), Some(9)),
                vec![rate(second, 7), today],
            ),
            (
                limits(Some(30), None, None),
                limits(Some(60), Some(50), None),
                vec![rate(second * 2, 5)],
            ),
            (
                limits(None, Some(3), None),
                limits(Some(60), Some(50), None),
                vec![rate(second, 3)],
            ),
            (
                limits(Some(0), None, Some(0)),
                limits(Some(60), None, Some(9)),
                vec![],
            ),
            (
                limits(Some(2), None, None),
                none,
                vec![rate(second * 30, 1)],
            ),
        ] {
            assert_eq!(of(own, all), expected, "{own:?} {all:?}");
        }
    }
}
