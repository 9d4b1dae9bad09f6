//! Which of the store's shards do not answer, and when they are asked again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// After a failure a shard is not asked for so long, and then once.
const RETRY: Duration = Duration::from_millis(250);
/// A failure older than this says nothing of now.
const RECENT: Duration = Duration::from_secs(2);

/// What is known of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shard {
    /// Nothing is wrong.
    Well,
    /// It failed a moment ago: it is not asked now.
    Away,
    /// It failed, and who hears this is to ask it again.
    Due,
    /// It failed so long ago that everybody may ask. Nobody waits for the answer who need not.
    Forgotten,
}

/// When each shard failed last, or was last asked again.
#[derive(Default)]
pub(super) struct Health(Mutex<HashMap<u16, Instant>>);

impl Health {
    pub(super) fn of(&self, shard: u16, now: Instant) -> Shard {
        let mut failures = self.lock();
        let Some(at) = failures.get_mut(&shard) else {
            return Shard::Well;
        };
        let since = now.saturating_duration_since(*at);
        if since >= RECENT {
            return Shard::Forgotten;
        }
        if since < RETRY {
            return Shard::Away;
        }
        *at = now;
        Shard::Due
    }

    pub(super) fn failed(&self, shard: u16, now: Instant) {
        self.lock().insert(shard, now);
    }

    pub(super) fn answered(&self, shard: u16) {
        self.lock().remove(&shard);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u16, Instant>> {
        // A map at every step, whoever panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a failure is forgotten at once, never, or asked after by all.
    #[test]
    fn a_shard_that_failed_is_asked_again_by_one_in_250_ms() {
        let (health, start) = (Health::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(health.of(1, at(0)), Shard::Well);
        health.failed(1, at(0));
        assert_eq!(health.of(2, at(1)), Shard::Well, "another shard");
        assert_eq!(health.of(1, at(249)), Shard::Away);
        assert_eq!(health.of(1, at(250)), Shard::Due);
        assert_eq!(health.of(1, at(251)), Shard::Away);
        assert_eq!(health.of(1, at(500)), Shard::Due);
        assert_eq!(health.of(1, at(2500)), Shard::Forgotten);
        health.answered(1);
        assert_eq!(health.of(1, at(2500)), Shard::Well);
    }
}
