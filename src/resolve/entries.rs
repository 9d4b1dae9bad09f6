//! The cache: bounded by bytes, and nobody who guesses pushes a known key out.

use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter};

use super::entry::{Content, Entry, RecordKey};

/// So many records that are not there are remembered, in a cache of their own.
const ABSENT: usize = 10_000;

#[derive(Clone)]
struct Weigh;

impl Weighter<RecordKey, Arc<Entry>> for Weigh {
    fn weight(&self, _: &RecordKey, entry: &Arc<Entry>) -> u64 {
        entry.weight()
    }
}

/// An entry an open stream watches stays: were it pushed out, the stream would hear of no change.
#[derive(Clone)]
struct Watched;

impl Lifecycle<RecordKey, Arc<Entry>> for Watched {
    type RequestState = ();

    fn is_pinned(&self, _: &RecordKey, entry: &Arc<Entry>) -> bool {
        entry.is_watched()
    }

    /// Also of what found no room from the start, or was replaced. Who still has it is told of no change of its
    /// record: so it is right no longer than it is here. Whoever watches one that was replaced is woken by who did
    /// that, not while everybody waits for the cache.
    fn on_evict(&self, (): &mut (), _: RecordKey, entry: Arc<Entry>) {
        entry.leave();
    }
}

pub(super) struct Entries {
    /// Also records that are gone, if they were seen before.
    present: Cache<RecordKey, Arc<Entry>, Weigh, DefaultHashBuilder, Watched>,
    absent: Cache<RecordKey, Arc<Entry>>,
}

impl Entries {
    pub(super) fn new(bytes: u64) -> Self {
        let guess = (bytes / 1024).max(16) as usize;
        let hash = DefaultHashBuilder::default();
        Self {
            present: Cache::with(guess, bytes, Weigh, hash, Watched),
            absent: Cache::new(ABSENT),
        }
    }

    pub(super) fn get(&self, key: &RecordKey) -> Option<Arc<Entry>> {
        self.present.get(key).or_else(|| self.absent.get(key))
    }

    /// What was last read of a record that was ever there; does not count as a use.
    pub(super) fn known(&self, key: &RecordKey) -> Option<Arc<Entry>> {
        self.present.peek(key)
    }

    pub(super) fn keep(&self, key: &RecordKey, entry: &Arc<Entry>) {
        if let (Content::Absent, None) = (&entry.content, entry.seen) {
            self.present.remove(key);
            self.absent.insert(key.clone(), entry.clone());
        } else {
            self.absent.remove(key);
            self.present.insert(key.clone(), entry.clone());
        }
    }

    /// The entry of a record that changed, which is to be outdated. It stays where it tells of the
    /// record's past.
    pub(super) fn outdated(&self, key: &RecordKey) -> Option<Arc<Entry>> {
        self.absent.remove(key);
        match key {
            RecordKey::Secrets(_) | RecordKey::Name(_) => {
                self.present.remove(key).map(|(_, entry)| entry)
            }
            RecordKey::Key(_) | RecordKey::User(_) | RecordKey::Group(_) => self.present.peek(key),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.present.len() as u64
    }

    pub(super) fn weight(&self) -> u64 {
        self.present.weight()
    }
}
