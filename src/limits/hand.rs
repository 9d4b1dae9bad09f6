//! The permits of one bucket that this process has in hand: what to do for who wants some. Pure.
//!
//! Permits are leased in slices: one at first, twice as many each time a slice is used up soon, up to a
//! quarter of the burst. They live as long as an idle meter takes to be full, so that a replica can never
//! save more than that.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::local::Local;
use crate::store::{Meter, Taken};

/// The shortest life of a leased permit: where a whole burst comes back sooner, it would be over before
/// the store has answered.
const SHORTEST_LIFE: Duration = Duration::from_millis(100);
/// The longest: what is behind all of a limit's times stays a time the clock knows.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 86400);
/// A slice of a quota that is used up in this time was too small.
const QUICK: Duration = Duration::from_secs(60);
/// The largest slice of a quota: so much of it a replica may hold that nobody asks any more.
const QUOTA_SLICE: u64 = 64;
/// Who was denied is denied for a sixteenth of a burst, at most so long: a meter that is empty is not
/// asked again for each permit that comes back.
const PAUSE: Duration = Duration::from_millis(50);

/// Permits that were given out, and may be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permits {
    /// Of a lease. `None`: they live as long as the meter's period.
    Leased { n: u32, dies: Option<Instant> },
    /// Of this replica's own limit, while the store is away.
    Local { n: u32 },
}

/// What is to be done for who wants permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// There they are.
    Go(Permits),
    /// There are none for so long.
    No(Duration),
    /// There never are more than this at once.
    Never(u64),
    /// So many are to be leased first.
    Lease(u32),
}

struct Lot {
    n: u32,
    dies: Option<Instant>,
}

/// What is in hand of one bucket.
pub(super) struct Hand {
    meter: Meter,
    lots: VecDeque<Lot>,
    denied_until: Option<Instant>,
    /// How many were leased last, and when that was asked for.
    slice: u32,
    leased_at: Option<Instant>,
    local: Local,
}

impl Hand {
    pub(super) fn new(meter: Meter) -> Self {
        Self {
            meter,
            lots: VecDeque::new(),
            denied_until: None,
            slice: 0,
            leased_at: None,
            local: Local::default(),
        }
    }

    /// Takes `n` permits out of the hand, or says what to do. A meter that changed begins anew.
    pub(super) fn take(&mut self, meter: Meter, n: u32, now: Instant) -> Turn {
        if meter != self.meter {
            *self = Self::new(meter);
        }
        let most = most(meter);
        if u64::from(n) > most {
            return Turn::Never(most);
        }
        self.bury(now);
        let have = self.lots.iter().map(|lot| lot.n).sum::<u32>();
        let Some(short) = n.checked_sub(have).filter(|short| *short > 0) else {
            return Turn::Go(self.draw(n));
        };
        if let Some(until) = self.denied_until.filter(|until| *until > now) {
            let further = interval(meter).saturating_mul(short - 1);
            return Turn::No((until - now).saturating_add(further));
        }
        Turn::Lease(self.next_slice(now).max(short))
    }

    /// As [`Self::take`], but of this replica's own limit.
    pub(super) fn take_local(&mut self, n: u32, now: Instant) -> Turn {
        match self.local.take(self.meter, n, now) {
            Ok(()) => Turn::Go(Permits::Local { n }),
            Err(wait) => Turn::No(wait),
        }
    }

    /// A lease of `want` permits of `meter`, asked for at `asked`, brought this.
    pub(super) fn land(
        &mut self,
        meter: Meter,
        want: u32,
        taken: Taken,
        asked: Instant,
        now: Instant,
    ) {
        if meter != self.meter {
            return;
        }
        let n = taken.granted.min(want);
        // From the moment of asking: the store granted them after it.
        let dies = life(meter).map(|life| asked + life);
        if n > 0 {
            self.lots.push_back(Lot { n, dies });
        }
        self.slice = n.clamp(1, largest_slice(meter));
        self.leased_at = Some(asked);
        self.denied_until = (n < want).then(|| {
            let pause = life(meter).map_or(PAUSE, |life| PAUSE.min(life / 16));
            now + taken.retry_after.clamp(pause, LONGEST_LIFE)
        });
    }

    /// What was taken was not used.
    pub(super) fn give_back(&mut self, meter: Meter, permits: Permits) {
        if meter != self.meter {
            return;
        }
        match permits {
            Permits::Leased { n, dies } => self.lots.push_front(Lot { n, dies }),
            Permits::Local { n } => self.local.give_back(meter, n),
        }
    }

    /// Whether anything would be lost with this. `unix_now` is in seconds.
    pub(super) fn is_needed(&mut self, now: Instant, unix_now: u64) -> bool {
        if let Meter::Quota { until, .. } = self.meter {
            return until > unix_now;
        }
        self.bury(now);
        let recent = |at: Instant| at + quick(self.meter) > now;
        !self.lots.is_empty()
            || self.denied_until.is_some_and(|until| until > now)
            || self.leased_at.is_some_and(recent)
            || self.local.is_used(now)
    }

    fn bury(&mut self, now: Instant) {
        self.lots
            .retain(|lot| lot.dies.is_none_or(|dies| dies > now));
    }

    /// The hand has `n`.
    fn draw(&mut self, n: u32) -> Permits {
        let (mut left, mut dies) = (n, None);
        while left > 0 {
            let Some(lot) = self.lots.front_mut() else {
                break;
            };
            let some = lot.n.min(left);
            (lot.n, left) = (lot.n - some, left - some);
            dies = [dies, lot.dies].into_iter().flatten().min();
            if lot.n == 0 {
                self.lots.pop_front();
            }
        }
        Permits::Leased { n, dies }
    }

    fn next_slice(&self, now: Instant) -> u32 {
        let soon = self
            .leased_at
            .is_some_and(|at| now < at + quick(self.meter));
        let next = if soon {
            self.slice.saturating_mul(2)
        } else {
            1
        };
        next.clamp(1, largest_slice(self.meter))
    }
}

/// The most anybody can have at once.
fn most(meter: Meter) -> u64 {
    match meter {
        Meter::Rate { burst, .. } => burst.into(),
        Meter::Quota { max, .. } => max,
    }
}

fn largest_slice(meter: Meter) -> u32 {
    match meter {
        Meter::Rate { burst, .. } => (burst / 4).max(1),
        Meter::Quota { max, .. } => (max / 100).clamp(1, QUOTA_SLICE) as u32,
    }
}

fn interval(meter: Meter) -> Duration {
    match meter {
        Meter::Rate { interval, .. } => interval.min(LONGEST_LIFE),
        Meter::Quota { .. } => Duration::ZERO,
    }
}

/// How long permits live after they were leased; `None`: as long as the meter's period.
fn life(meter: Meter) -> Option<Duration> {
    match meter {
        Meter::Rate { interval, burst } => {
            let window = interval.saturating_mul(burst);
            Some(window.clamp(SHORTEST_LIFE, LONGEST_LIFE))
        }
        Meter::Quota { .. } => None,
    }
}

/// A slice used up in this time was too small.
fn quick(meter: Meter) -> Duration {
    life(meter).unwrap_or(QUICK)
}

#[cfg(test)]
#[path = "hand_tests.rs"]
mod tests;
