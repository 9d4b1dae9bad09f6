//! The whole limit in this process alone, for as long as the store is away. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::Meter;

/// As in [`super::hand`].
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86400);
/// For who waits for a quota that is used up while nobody knows the store's time.
const A_WHILE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Local {
    /// Rate: when all permits are back.
    back: Option<Instant>,
    /// Quota: how many were taken.
    used: u64,
}

impl Local {
    /// # Errors
    /// How long until there may be so many.
    pub(super) fn take(&mut self, meter: Meter, n: u32, now: Instant) -> Result<(), Duration> {
        match meter {
            Meter::Rate { interval, burst } => {
                let (cost, window) = (times(interval, n), times(interval, burst));
                let back = self.back.map_or(now, |back| back.max(now)) + cost;
                let ahead = back - now;
                if ahead > window {
                    return Err(ahead - window);
                }
                self.back = Some(back);
            }
            Meter::Quota { max, .. } => {
                let used = self.used.saturating_add(n.into());
                if used > max {
                    return Err(A_WHILE);
                }
                self.used = used;
            }
        }
        Ok(())
    }

    pub(super) fn give_back(&mut self, meter: Meter, n: u32) {
        match meter {
            Meter::Rate { interval, .. } => {
                let back = self.back.take();
                self.back = back.and_then(|back| back.checked_sub(times(interval, n)));
            }
            Meter::Quota { .. } => self.used = self.used.saturating_sub(n.into()),
        }
    }

    pub(super) fn is_used(&self, now: Instant) -> bool {
        self.back.is_some_and(|back| back > now)
    }
}

fn times(interval: Duration, n: u32) -> Duration {
    interval.saturating_mul(n).min(LONGEST)
}
