//! The time, for less than what the system takes for it: every request would ask a dozen times.
//!
//! Where some milliseconds do not matter, there is the system's last tick, for a third of what the exact time
//! costs. And in a [`turn`], which is over before anything can wait, the time is asked once.

use std::time::{Duration, SystemTime};

/// A moment, by a clock that nobody sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

impl Tick {
    /// The last tick of the system's clock: some milliseconds ago, more on a machine that stands still at times, and
    /// never ahead. In a turn, what was told in it before.
    #[must_use]
    pub fn last() -> Self {
        Self(asked::last())
    }

    /// Now, to the nanosecond; what is asked later in this turn is told the same.
    #[must_use]
    pub fn now() -> Self {
        Self(asked::now())
    }

    /// What [`Tick::now`] told last in this turn; if it was not asked, it is.
    #[must_use]
    pub fn of_turn() -> Self {
        Self(asked::of_turn())
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

    /// The same moment, as timers know it.
    #[must_use]
    pub fn instant(self) -> tokio::time::Instant {
        asked::instant(self.0)
    }
}

/// What everybody calls the time. In a turn, that of its moment by [`Tick::of_turn`]: whoever set the clock less than
/// 10 ms ago is not heeded yet.
#[must_use]
pub fn wall() -> SystemTime {
    asked::wall()
}

/// Does something that waits for nothing, such as one poll of a task, in a turn of its thread's clock. A turn within a
/// turn ends both.
pub fn turn<T>(something: impl FnOnce() -> T) -> T {
    turns::turn(something)
}

#[cfg(test)]
use stopped as asked;
#[cfg(not(test))]
use turns as asked;

#[cfg_attr(test, allow(dead_code, reason = "tests stop the clock, but for some"))]
mod turns {
    use std::cell::Cell;
    use std::sync::LazyLock;
    use std::time::{Duration, SystemTime};

    use tokio::time::Instant;

    use super::system;

    /// How long what the clock on the wall said is gone on from.
    const WALL: u64 = 10_000_000;

    /// What was told in this turn, in nanoseconds.
    #[derive(Clone, Copy)]
    enum Told {
        /// It is no turn.
        NoTurn,
        Nothing,
        Last(u64),
        Exact(u64),
    }

    thread_local! {
        static TOLD: Cell<Told> = const { Cell::new(Told::NoTurn) };
        /// When the clock on the wall was looked at, and what it said.
        static LOOKED: Cell<Option<(u64, SystemTime)>> = const { Cell::new(None) };
    }

    static SAME: LazyLock<(u64, Instant)> = LazyLock::new(|| (system::now(), Instant::now()));

    pub(super) fn turn<T>(something: impl FnOnce() -> T) -> T {
        struct Over;
        impl Drop for Over {
            fn drop(&mut self) {
                TOLD.set(Told::NoTurn);
            }
        }
        let _over = Over;
        TOLD.set(Told::Nothing);
        something()
    }

    pub(super) fn last() -> u64 {
        match TOLD.get() {
            Told::NoTurn => system::last(),
            Told::Last(told) | Told::Exact(told) => told,
            Told::Nothing => {
                let last = system::last();
                TOLD.set(Told::Last(last));
                last
            }
        }
    }

    pub(super) fn now() -> u64 {
        let now = system::now();
        if !matches!(TOLD.get(), Told::NoTurn) {
            TOLD.set(Told::Exact(now));
        }
        now
    }

    pub(super) fn of_turn() -> u64 {
        match TOLD.get() {
            Told::Exact(told) => told,
            _ => now(),
        }
    }

    pub(super) fn instant(at: u64) -> Instant {
        let (then, instant) = *SAME;
        match at.checked_sub(then) {
            Some(since) => instant + Duration::from_nanos(since),
            None => instant - Duration::from_nanos(then - at),
        }
    }

    pub(super) fn wall() -> SystemTime {
        let now = match TOLD.get() {
            Told::NoTurn => return SystemTime::now(),
            _ => of_turn(),
        };
        if let Some(still) = LOOKED.get().and_then(|looked| still(looked, now)) {
            return still;
        }
        let (at, said) = (system::now(), SystemTime::now());
        LOOKED.set(Some((at, said)));
        said - Duration::from_nanos(at.saturating_sub(now))
    }

    /// What the clock on the wall says `now`, if it was looked at lately.
    pub(super) fn still((at, said): (u64, SystemTime), now: u64) -> Option<SystemTime> {
        let since = now.checked_sub(at)?;
        (since < WALL).then(|| said + Duration::from_nanos(since))
    }
}

#[cfg_attr(test, allow(dead_code, reason = "tests stop the clock, but for some"))]
mod system {
    use std::sync::LazyLock;
    use std::time::Instant;

    /// For a system that has no such clock, as one that is emulated may: what is to end some time must not stand
    /// still.
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

    /// In nanoseconds.
    pub(super) fn last() -> u64 {
        read(libc::CLOCK_MONOTONIC_COARSE).unwrap_or_else(now)
    }

    /// In nanoseconds.
    pub(super) fn now() -> u64 {
        read(libc::CLOCK_MONOTONIC).unwrap_or_else(|| BEGUN.elapsed().as_nanos() as u64)
    }

    // Not by rustix, which finds its own way to the kernel's page and dies on it under valgrind.
    fn read(clock: libc::clockid_t) -> Option<u64> {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        #[expect(unsafe_code, reason = "rustix would be safe, but see above")]
        // SAFETY: it writes to `time`, and to nothing else.
        let failed = unsafe { libc::clock_gettime(clock, &raw mut time) };
        let (seconds, nanoseconds) = (time.tv_sec as u64, time.tv_nsec as u64);
        // Of 64 bits they are enough for five centuries without a restart.
        (failed == 0).then(|| {
            seconds
                .wrapping_mul(1_000_000_000)
                .wrapping_add(nanoseconds)
        })
    }
}

/// The clock of tests, which stop and set it.
#[cfg(test)]
mod stopped {
    use std::sync::LazyLock;
    use std::time::{Duration, SystemTime};

    use tokio::time::Instant;

    /// Long before any clock was stopped.
    static BEGUN: LazyLock<std::time::Instant> = LazyLock::new(|| {
        let now = std::time::Instant::now();
        now.checked_sub(Duration::from_secs(86_400)).unwrap_or(now)
    });

    pub(super) fn now() -> u64 {
        let now = Instant::now().into_std();
        now.saturating_duration_since(*BEGUN).as_nanos() as u64
    }

    pub(super) use now as last;
    pub(super) use now as of_turn;

    pub(super) fn instant(at: u64) -> Instant {
        Instant::from_std(*BEGUN + Duration::from_nanos(at))
    }

    pub(super) fn wall() -> SystemTime {
        SystemTime::now()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const WHILE: Duration = Duration::from_millis(50);

    // Fails when the clock of the last tick stands still, or goes at another pace or from elsewhere.
    #[test]
    fn it_goes_on_as_the_other_does() {
        let last = || Tick(system::last());
        let (begun, first) = (Instant::now(), last());
        while last().since(first) < WHILE {
            assert!(begun.elapsed().as_secs() < 10, "it stands still");
        }
        // It may tick right after it was asked first.
        assert!(begun.elapsed() > Duration::from_millis(20));
        assert_eq!(first.since(last()), Duration::ZERO);
        assert!(last().millis_since(first) >= 50);
        let (before, now) = (last(), Tick(system::now()));
        assert!(now >= before && now.since(before) < Duration::from_secs(5));
    }

    // Fails when the time of one turn is told in the next, or what was asked anew is not.
    #[test]
    fn in_a_turn_it_stands_until_it_is_asked_anew() {
        let pause = || std::thread::sleep(WHILE);
        let before = turns::last();
        pause();
        assert!(turns::last() > before);
        let first = turns::turn(|| {
            let first = turns::last();
            pause();
            assert_eq!(turns::last(), first);
            let exact = turns::of_turn();
            assert!(exact > first);
            pause();
            assert_eq!([turns::last(), turns::of_turn()], [exact; 2]);
            let anew = turns::now();
            assert!(anew > exact && turns::last() == anew);
            first
        });
        assert!(turns::turn(turns::last) > first);
        let broken = std::panic::catch_unwind(|| turns::turn(|| panic!("{}", turns::now())));
        assert!(broken.is_err());
        let after = turns::last();
        pause();
        assert!(turns::last() > after);
    }

    // Fails when a clock on the wall that was set is gone on from for longer, or a moment before it was looked at is
    // told as one after.
    #[test]
    fn the_wall_is_looked_at_again() {
        let (at, said) = (1_000_000_000, SystemTime::now());
        let still = |now| turns::still((at, said), now);
        assert_eq!(still(at), Some(said));
        let later = at + 9_000_000;
        assert_eq!(still(later), Some(said + Duration::from_millis(9)));
        assert_eq!([still(at + 10_000_000), still(at - 1)], [None; 2]);
    }

    // Fails when the moment of a turn is another on the wall, or by the timers.
    #[test]
    fn a_moment_is_the_same_by_every_clock() {
        for _ in 0..20 {
            turns::turn(|| {
                let before = (SystemTime::now(), tokio::time::Instant::now());
                let now = turns::now();
                let after = (SystemTime::now(), tokio::time::Instant::now());
                std::thread::sleep(Duration::from_millis(3));
                let (wall, instant) = (turns::wall(), turns::instant(now));
                let slack = Duration::from_millis(1);
                assert!(before.0 <= wall + slack && wall <= after.0 + slack);
                assert!(before.1 <= instant + slack && instant <= after.1 + slack);
            });
        }
    }
}
