//! The time, where some milliseconds do not matter: for a tenth of what it costs to the nanosecond, which
//! every request would ask for a dozen times.

use std::time::Duration;

/// A moment at which the system's clock ticked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

impl Tick {
    /// The last tick: some milliseconds ago, more on a machine that stands still at times, and never ahead.
    #[must_use]
    pub fn last() -> Self {
        #[cfg(not(test))]
        return Self(ticked::last());
        // Tests stop the clock, and set it.
        #[cfg(test)]
        return Self(stopped::last());
    }

    /// The time from `earlier` to this; none if that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The same in whole milliseconds.
    #[must_use]
    pub fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }
}

#[cfg_attr(test, allow(dead_code, reason = "but for one test"))]
mod ticked {
    use std::sync::LazyLock;
    use std::time::Instant;

    /// For a system that has no such clock, as one that is emulated may: what is to end some time must not stand
    /// still.
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

    /// In nanoseconds.
    pub(super) fn last() -> u64 {
        read().unwrap_or_else(|| BEGUN.elapsed().as_nanos() as u64)
    }

    // Not by rustix, which finds its own way to the kernel's page and dies on it under valgrind.
    fn read() -> Option<u64> {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        #[expect(unsafe_code, reason = "rustix would be safe, but see above")]
        // SAFETY: it writes to `time`, and to nothing else.
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
        let (seconds, nanoseconds) = (time.tv_sec as u64, time.tv_nsec as u64);
        // Of 64 bits they are enough for five centuries without a restart.
        (failed == 0).then(|| {
            seconds
                .wrapping_mul(1_000_000_000)
                .wrapping_add(nanoseconds)
        })
    }
}

#[cfg(test)]
mod stopped {
    use std::sync::LazyLock;
    use std::time::{Duration, Instant};

    /// Long before any clock was stopped.
    static BEGUN: LazyLock<Instant> = LazyLock::new(|| {
        let now = Instant::now();
        now.checked_sub(Duration::from_secs(86_400)).unwrap_or(now)
    });

    pub(super) fn last() -> u64 {
        let now = tokio::time::Instant::now().into_std();
        now.saturating_duration_since(*BEGUN).as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    // Fails when the clock of the last tick stands still, or goes at another pace.
    #[test]
    fn it_goes_on_as_the_other_does() {
        let last = || Tick(ticked::last());
        let (begun, first) = (Instant::now(), last());
        while last().since(first) < Duration::from_millis(50) {
            assert!(begun.elapsed().as_secs() < 10, "it stands still");
        }
        // It may tick right after it was asked first.
        assert!(begun.elapsed() > Duration::from_millis(20));
        assert_eq!(first.since(last()), Duration::ZERO);
        assert!(last().millis_since(first) >= 50);
    }
}
