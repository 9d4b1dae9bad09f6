//! What the resolver can tell of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Whether changes of the store are heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// As they are made.
    Up,
    /// The store answers but reports none: everything is read again every 2 seconds.
    Blind,
    /// The store cannot be reached, or only its watch.
    Down,
}

/// Figures of one moment; counts are since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Whether changes are heard of.
    pub watch: Watch,
    /// Reads of the store.
    pub reads: u64,
    /// Those that failed.
    pub read_failures: u64,
    /// Answers from what could not be checked, because the store cannot be reached.
    pub stale_answers: u64,
    /// Denials that an older state of the store would have taken back.
    pub denials_kept: u64,
    /// Look-ups answered from the cache as it was.
    pub hits: u64,
    /// Look-ups for which the store was asked, or would have been had it answered.
    pub misses: u64,
    /// Records in the cache that are there in the store.
    pub records: u64,
    /// What they take of the cache's bytes, about.
    pub bytes: u64,
}

/// Counts of what happens.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) hits: Count,
    pub(super) misses: Count,
    pub(super) stale_answers: Count,
    pub(super) denials_kept: Count,
    lag: Option<Arc<dyn Fn(Duration) + Send + Sync>>,
}

impl Counts {
    pub(super) fn new(lag: Option<Arc<dyn Fn(Duration) + Send + Sync>>) -> Self {
        Self {
            lag,
            ..Self::default()
        }
    }

    /// A record was read again: tells how late the word of its change was, if that is known.
    pub(super) fn tell_lag(&self, took: Option<Duration>) {
        if let (Some(lag), Some(took)) = (&self.lag, took) {
            lag(took);
        }
    }
}

#[derive(Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
