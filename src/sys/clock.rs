//! The time, where some milliseconds do not matter: for an eighth of what it costs to the nanosecond, which
//! every request would ask for a dozen times.

use std::time::Instant;

/// The time at the last tick of the system's clock: some milliseconds ago, more on a machine that stands still at
/// times, and never ahead of [`Instant::now`].
#[must_use]
pub fn recently() -> Instant {
    #[cfg(not(test))]
    return ticked::last();
    // Tests stop the clock, and set it.
    #[cfg(test)]
    return tokio::time::Instant::now().into_std();
}

mod ticked {
    use std::sync::LazyLock;
    use std::time::{Duration, Instant};

    /// A moment, as ours and as the system's. Ours is read first: so what is reckoned from it is never ahead.
    static BEGUN: LazyLock<(Instant, Option<Duration>)> =
        LazyLock::new(|| (Instant::now(), read(libc::CLOCK_MONOTONIC)));

    pub(super) fn last() -> Instant {
        let (ours, theirs) = *BEGUN;
        match (theirs, read(libc::CLOCK_MONOTONIC_COARSE)) {
            // The last tick may have been before that moment.
            (Some(theirs), Some(tick)) => ours + tick.saturating_sub(theirs),
            // What is to end some time must not stand still.
            _ => Instant::now(),
        }
    }

    /// None where the system has no such clock, as one that is emulated may.
    // Not by rustix, which finds its own way to the kernel's page and dies on it under valgrind.
    fn read(clock: libc::clockid_t) -> Option<Duration> {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        #[expect(unsafe_code, reason = "rustix would be safe, but see above")]
        // SAFETY: it writes to `time`, and to nothing else.
        let failed = unsafe { libc::clock_gettime(clock, &raw mut time) };
        let seconds = u64::try_from(time.tv_sec).ok()?;
        let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
        (failed == 0).then(|| Duration::new(seconds, nanoseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when the clock of the last tick stands still, or is ahead.
    #[test]
    fn it_goes_on_and_is_never_ahead() {
        let (begun, first) = (Instant::now(), ticked::last());
        assert!(first <= Instant::now());
        while ticked::last() == first {
            assert!(begun.elapsed().as_secs() < 10, "it stands still");
        }
    }
}
