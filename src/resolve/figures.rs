//! What the resolver can tell of itself.

use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Records in the cache that are there in the store.
    pub records: u64,
    /// What they take of the cache's bytes, about.
    pub bytes: u64,
}

/// Counts of what is rare: nothing on the path of a cached key.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) stale_answers: Count,
    pub(super) denials_kept: Count,
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
