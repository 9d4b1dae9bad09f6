//! Wrong keys, counted per address: the answers to an address that sends many come late.
//!
//! Only answers to wrong keys ever wait, so whoever has a right one is served as fast from behind the
//! same address. What is counted is an estimate that may be too high, and never too low (a count-min
//! sketch): at worst an address that sent few is answered late, too.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pingora_limits::inflight::{Guard, Inflight};
use pingora_limits::rate::{Rate, RateComponents};

/// What is counted is forgotten after this long, little by little.
const WINDOW: Duration = Duration::from_secs(10);
/// Size of the sketch, 1 MiB: so many addresses as it has columns are told apart well.
const ROWS: usize = 4;
const COLUMNS: usize = 1 << 14;
/// How much later each further answer comes.
const STEP: Duration = Duration::from_millis(50);
/// The latest.
const LATEST: Duration = Duration::from_secs(2);
/// Answers held back at one moment.
const HELD: usize = 1024;
/// Those to one address, as far as they can be told apart.
const HELD_OF_ONE: isize = 256;

/// Counts wrong keys. Clones count together.
#[derive(Clone)]
pub struct Flood {
    allowed: usize,
    counted: Arc<Counted>,
}

struct Counted {
    // Behind a lock although it needs none by its types: two threads that turn its window over at once
    // may subtract a later time from an earlier one, which is a panic.
    failed: Mutex<Rate>,
    held: AtomicUsize,
    held_of_one: Inflight,
    slowed: AtomicU64,
    cut: AtomicU64,
}

/// Figures of one moment; counts are since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloodFigures {
    /// Answers held back now.
    pub held: usize,
    /// Answers that were held back.
    pub slowed: u64,
    /// Answers given at once, and their connections closed, because too many were held back.
    pub cut: u64,
}

/// What becomes of the answer to a wrong key.
#[derive(Debug)]
pub(super) enum Late {
    /// It is given at once.
    Not,
    /// It is held back for so long.
    By(Duration, Holding),
    /// Too many are held back: it is given at once, and the connection closed.
    Cut,
}

/// Counts an answer that is held back, until it is dropped.
pub(super) struct Holding {
    counted: Arc<Counted>,
    _of_one: Guard,
}

impl Flood {
    /// Slows an address that sends more than `allowed` wrong keys in ten seconds.
    #[must_use]
    pub fn new(allowed: usize) -> Self {
        let counted = Counted {
            failed: Mutex::new(Rate::new_with_estimator_config(WINDOW, ROWS, COLUMNS)),
            held: AtomicUsize::new(0),
            held_of_one: Inflight::new(),
            slowed: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        };
        Self {
            allowed,
            counted: Arc::new(counted),
        }
    }

    /// The same counts, with another number of wrong keys allowed.
    #[must_use]
    pub fn with_allowed(&self, allowed: usize) -> Self {
        let counted = self.counted.clone();
        Self { allowed, counted }
    }

    /// What was slowed so far.
    #[must_use]
    pub fn figures(&self) -> FloodFigures {
        FloodFigures {
            held: self.counted.held.load(Ordering::Relaxed),
            slowed: self.counted.slowed.load(Ordering::Relaxed),
            cut: self.counted.cut.load(Ordering::Relaxed),
        }
    }

    /// Counts one wrong key from this address.
    pub(super) fn failed(&self, address: IpAddr) -> Late {
        let network = network(address);
        let over = self.count(network).saturating_sub(self.allowed);
        if over == 0 {
            return Late::Not;
        }
        let counted = &self.counted;
        let before = counted.held.fetch_add(1, Ordering::Relaxed);
        let (of_one, held_of_one) = counted.held_of_one.incr(network, 1);
        let holding = Holding {
            counted: counted.clone(),
            _of_one: of_one,
        };
        if before >= HELD || held_of_one > HELD_OF_ONE {
            counted.cut.fetch_add(1, Ordering::Relaxed);
            return Late::Cut;
        }
        counted.slowed.fetch_add(1, Ordering::Relaxed);
        Late::By(delay(over), holding)
    }

    /// Wrong keys in the last ten seconds, this one included: those of the window before count by how
    /// much of it still lies within.
    fn count(&self, network: IpAddr) -> usize {
        let failed = self.counted.failed.lock();
        let failed = failed.unwrap_or_else(PoisonError::into_inner);
        failed.observe(&network, 1);
        let samples = |window: RateComponents| {
            let before = window.prev_samples as f64 * (1.0 - window.current_interval_fraction);
            before as usize + usize::try_from(window.curr_samples).unwrap_or(0)
        };
        failed.rate_with(&network, samples)
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.counted.held.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Holding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Holding")
    }
}

/// How late the answer is to the so many-eth wrong key above what is allowed.
fn delay(over: usize) -> Duration {
    let steps = u32::try_from(over).unwrap_or(u32::MAX);
    STEP.saturating_mul(steps).min(LATEST)
}

/// All addresses one sender may have: of IPv6 everybody has 2^64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delayed(flood: &Flood, address: &str) -> Option<Duration> {
        match flood.failed(address.parse().unwrap()) {
            Late::Not => None,
            Late::By(delay, _) => Some(delay),
            Late::Cut => panic!("nothing is held back"),
        }
    }

    #[test]
    fn an_address_is_slowed_from_its_first_wrong_key_too_many_on() {
        let flood = Flood::new(3);
        for _ in 0..3 {
            assert_eq!(delayed(&flood, "192.0.2.1"), None);
        }
        assert_eq!(delayed(&flood, "192.0.2.1"), Some(STEP));
        assert_eq!(delayed(&flood, "::ffff:192.0.2.1"), Some(STEP * 2));
        assert_eq!(delayed(&flood, "192.0.2.2"), None);
        let later: Vec<_> = (0..100).map(|_| delayed(&flood, "192.0.2.1")).collect();
        assert_eq!(later.last().unwrap(), &Some(LATEST));
        assert!(later.is_sorted(), "{later:?}");
        assert_eq!(delayed(&flood.with_allowed(1000), "192.0.2.1"), None);
        assert_eq!(flood.figures().held, 0);
        assert_eq!(flood.figures().slowed, 102);
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one() {
        let flood = Flood::new(1);
        assert_eq!(delayed(&flood, "2001:db8::1"), None);
        assert_eq!(delayed(&flood, "2001:db8::ffff:2"), Some(STEP));
        assert_eq!(delayed(&flood, "2001:db8:0:1::1"), None);
    }

    // Fails when what is held back is not bounded, or not given back.
    #[test]
    fn so_many_answers_are_held_back_and_no_more() {
        let flood = Flood::new(1);
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        assert!(matches!(flood.failed(address(0)), Late::Not));
        let mut held: Vec<_> = (0..HELD_OF_ONE).map(|_| flood.failed(address(0))).collect();
        assert!(held.iter().all(|late| matches!(late, Late::By(..))));
        assert!(matches!(flood.failed(address(0)), Late::Cut));
        held.pop();
        assert!(matches!(flood.failed(address(0)), Late::By(..)));

        // Others are slowed still, until there are too many in all.
        for last in 1..=4 {
            assert!(matches!(flood.failed(address(last)), Late::Not));
            held.extend((1..HELD_OF_ONE).map(|_| flood.failed(address(last))));
        }
        let slowed = held.iter().filter(|late| matches!(late, Late::By(..)));
        assert_eq!(slowed.count(), HELD);
    }

    // The sketch alone would panic now and then, when two threads turn its window over at once.
    #[test]
    fn it_stands_all_cores_at_once() {
        let flood = Flood::new(1);
        std::thread::scope(|scope| {
            for n in 0..4_u8 {
                let flood = &flood;
                scope.spawn(move || {
                    for host in 0..20_000_u32 {
                        flood.failed(IpAddr::from((host | u32::from(n) << 24).to_be_bytes()));
                    }
                });
            }
        });
        assert_eq!(flood.figures().held, 0);
    }
}
