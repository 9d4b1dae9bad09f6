//! The time, where some milliseconds do not matter: for an eighth of what it costs to the nanosecond, which
//! every request would ask for a dozen times.

use std::time::Instant;

/// The time at the last tick of the system's clock: up to 10 ms ago, and never ahead of [`Instant::now`].
#[must_use]
pub fn recently() -> Instant {
    #[cfg(not(test))]
    return ticked::last();
    // Tests stop the clock, and set it.
    #[cfg(test)]
    return tokio::time::Instant::now().into_std();
}

#[cfg(not(test))]
mod ticked {
    use std::sync::LazyLock;
    use std::time::{Duration, Instant};

    /// A moment, as ours and as the system's. Ours is read first: so what is reckoned from it is never ahead.
    static BEGUN: LazyLock<(Instant, Duration)> =
        LazyLock::new(|| (Instant::now(), read(libc::CLOCK_MONOTONIC)));

    pub(super) fn last() -> Instant {
        let (ours, theirs) = *BEGUN;
        // The last tick may have been before that moment.
        ours + read(libc::CLOCK_MONOTONIC_COARSE).saturating_sub(theirs)
    }

    // Not by rustix, which finds its own way to the kernel's page and dies on it under valgrind.
    fn read(clock: libc::clockid_t) -> Duration {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        #[expect(unsafe_code, reason = "rustix would be safe, but see above")]
        // SAFETY: it writes to `time` alone, and there are these clocks since Linux 2.6.32; where there were not,
        // `time` stays as it is.
        unsafe {
            libc::clock_gettime(clock, &raw mut time)
        };
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
        Duration::new(seconds, nanoseconds)
    }
}
