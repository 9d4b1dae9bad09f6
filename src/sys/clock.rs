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

    use rustix::time::{ClockId, clock_gettime};

    /// A moment, as ours and as the system's. Ours is read first: so what is reckoned from it is never ahead.
    static BEGUN: LazyLock<(Instant, Duration)> =
        LazyLock::new(|| (Instant::now(), read(ClockId::Monotonic)));

    pub(super) fn last() -> Instant {
        let (ours, theirs) = *BEGUN;
        // The last tick may have been before that moment.
        ours + read(ClockId::MonotonicCoarse).saturating_sub(theirs)
    }

    fn read(clock: ClockId) -> Duration {
        clock_gettime(clock).try_into().unwrap_or_default()
    }
}
