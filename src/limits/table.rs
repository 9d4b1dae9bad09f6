//! All buckets in use: many small maps, each behind a lock of its own.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use foldhash::fast::RandomState;
use futures_util::future::Shared;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Bucket;
use super::hand::Hand;
use crate::store::MeterId;

/// Enough that two cores seldom meet.
const SHARDS: usize = 64;
/// Buckets of a shard that are never swept.
const FEW: usize = 64;

/// What ends when a lease has landed, or failed.
pub(super) type Ticket = Shared<oneshot::Receiver<()>>;

pub(super) struct Entry {
    pub(super) hand: Hand,
    /// The lease under way.
    pub(super) lease: Option<Ticket>,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<MeterId, Entry, RandomState>,
    /// How many were needed when last swept.
    needed: usize,
}

pub(super) struct Table {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::default(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Does something with the bucket's entry, which is made if there is none.
    pub(super) fn with<T>(
        &self,
        bucket: &Bucket,
        now: Instant,
        work: impl FnOnce(&mut Entry) -> T,
    ) -> T {
        let place = self.hasher.hash_one(&bucket.id) as usize % SHARDS;
        let mut shard = self.shards[place]
            .lock()
            // Nothing below leaves a hand half way through a change.
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = shard.entries.get_mut(&bucket.id) {
            return work(entry);
        }
        shard.sweep(now);
        let entry = shard.entries.entry(bucket.id.clone());
        work(entry.or_insert_with(|| Entry {
            hand: Hand::new(bucket.meter),
            lease: None,
        }))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let len = |shard: &Mutex<Shard>| shard.lock().unwrap().entries.len();
        self.shards.iter().map(len).sum()
    }
}

impl Shard {
    /// When there are twice as many as were needed, drops those that no longer are: each is looked at
    /// about once for each that came.
    fn sweep(&mut self, now: Instant) {
        if self.entries.len() < FEW.max(2 * self.needed) {
            return;
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix = unix.unwrap_or_default().as_secs();
        self.entries
            .retain(|_, entry| entry.lease.is_some() || entry.hand.is_needed(now, unix));
        self.needed = self.entries.len();
    }
}
