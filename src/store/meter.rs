//! Permits that all replicas take from the same place: what a meter is, and what taking from one does.
//!
//! The rule is a pure function of what is kept, the meter and the store's own clock, so that no
//! replica's clock matters. SQLite and memory call it; Redis has it as a script (`redis::take`). One
//! suite runs against all of them.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::RecordId;

/// How long a quota is remembered after its end: as far as clocks of replicas may be apart.
pub(super) const GRACE_US: u64 = 3_600_000_000;
/// How far ahead a rate may be used up: 142 years. With the clock it stays below 2^53, up to which a
/// Lua number is exact.
const LONGEST_WINDOW_US: u64 = 1 << 52;

/// Up to the year 2242 a Lua number is exact in microseconds.
const LAST_SECOND: u64 = 1 << 33;

/// The name of a meter, of the form of a [`RecordId`]; the letter says what it is a limit of. A meter
/// is not a record and is never found as one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MeterId(RecordId);

impl MeterId {
    /// Checks the form of a [`RecordId`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        RecordId::parse(text).map(Self)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The record of the same name: stores keep both in the same shard (see [`super::Store::shard_of`]).
    #[must_use]
    pub fn as_record(&self) -> &RecordId {
        &self.0
    }
}

impl fmt::Debug for MeterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many permits there are. A rate and a quota of one name are two meters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meter {
    /// A permit every so often, and a burst of so many: the generic cell rate algorithm (ITU-T I.371).
    Rate {
        /// One permit comes back in this time; at least a microsecond, finer ones are not told apart.
        interval: Duration,
        /// So many may be taken at once after a long rest; 0: none, ever.
        burst: u32,
    },
    /// So many in all, then none until a moment at which it starts anew.
    Quota {
        /// Permits of one period.
        max: u64,
        /// When the period ends, in seconds since 1970. A later one than is kept counts once the
        /// store's clock has passed the one that is kept; an earlier one is not heard.
        until: u64,
    },
}

/// What to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// From which meter.
    pub id: MeterId,
    /// What it holds; said each time, for no store keeps it.
    pub meter: Meter,
    /// At most so many.
    pub want: u32,
}

/// What was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// So many permits, at most as many as were wanted.
    pub granted: u32,
    /// When fewer were granted than wanted: how long until one more may be had. Otherwise zero.
    pub retry_after: Duration,
}

/// What is kept of a meter. All times are of the store's clock, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    /// Rate: when all permits are back (the theoretical arrival time). Quota: how many were taken.
    pub(super) level: u64,
    /// Quota: when its period ends, in seconds. Rate: 0.
    pub(super) until: u64,
    /// From then on nothing need be kept.
    pub(super) expires: u64,
}

impl Ask {
    /// The name of what is kept, which says of what sort it is.
    pub(super) fn name(&self) -> String {
        match self.meter {
            Meter::Rate { .. } => format!("rate/{}", self.id.as_str()),
            Meter::Quota { .. } => format!("quota/{}", self.id.as_str()),
        }
    }
}

/// A clock's time in the unit of a [`Level`].
pub(super) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX / 2)
}

/// A rate's interval and how far ahead it may be used up, in microseconds.
pub(super) fn rate_us(interval: Duration, burst: u32) -> (u64, u64) {
    let interval = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
    let interval = interval.clamp(1, LONGEST_WINDOW_US);
    let window = interval
        .saturating_mul(u64::from(burst))
        .min(LONGEST_WINDOW_US);
    (interval, window)
}

/// A quota's size and end, neither greater than stores can count.
pub(super) fn quota_bounds(max: u64, until: u64) -> (u64, u64) {
    (max.min(LONGEST_WINDOW_US), until.min(LAST_SECOND))
}

/// Takes what may be taken; also answers what is to be kept, if that is something new.
pub(super) fn take(
    meter: Meter,
    found: Option<Level>,
    want: u32,
    now: u64,
) -> (Option<Level>, Taken) {
    match meter {
        Meter::Rate { interval, burst } => {
            let (interval, window) = rate_us(interval, burst);
            take_rate(interval, window, found, want, now)
        }
        Meter::Quota { max, until } => {
            let (max, until) = quota_bounds(max, until);
            take_quota(max, until, found, want, now)
        }
    }
}

fn take_rate(
    interval: u64,
    window: u64,
    found: Option<Level>,
    want: u32,
    now: u64,
) -> (Option<Level>, Taken) {
    // Never fuller than full: the limit may have been greater, or the clock have gone back.
    let back = found.map_or(now, |found| found.level.clamp(now, now + window));
    let free = (now + window - back) / interval;
    let granted = u32::try_from(free).unwrap_or(u32::MAX).min(want);
    let back = back + u64::from(granted) * interval;
    let wait = (back + interval).saturating_sub(now + window);
    let kept = (granted > 0).then_some(Level {
        level: back,
        until: 0,
        expires: back,
    });
    (kept, taken(granted, want, wait))
}

fn take_quota(
    max: u64,
    until: u64,
    found: Option<Level>,
    want: u32,
    now: u64,
) -> (Option<Level>, Taken) {
    let second = 1_000_000;
    let lives = |found: &Level| found.until >= until || found.until.saturating_mul(second) > now;
    let (used, until) = found
        .filter(lives)
        .map_or((0, until), |found| (found.level, found.until));
    let free = max.saturating_sub(used);
    let granted = u32::try_from(free).unwrap_or(u32::MAX).min(want);
    let end = until.saturating_mul(second);
    let kept = (granted > 0).then_some(Level {
        level: used + u64::from(granted),
        until,
        expires: end.max(now).saturating_add(GRACE_US),
    });
    // Who asks for a period that is over has a slow clock.
    let wait = end.saturating_sub(now).max(second);
    (kept, taken(granted, want, wait))
}

fn taken(granted: u32, want: u32, wait: u64) -> Taken {
    let short = granted < want;
    Taken {
        granted,
        retry_after: Duration::from_micros(if short { wait } else { 0 }),
    }
}
