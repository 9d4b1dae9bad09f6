//! Asking the store: for how long, and how often while it does not answer.
//!
//! What fails is a shard, not the store: where several servers share the records, one that is away
//! holds up those whose records it keeps and nobody else. So each shard is asked apart and has its
//! own failure.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::figures::Count;
use crate::store::{Record, RecordId, Store, StoreError};

/// How long one read of the store may take; with it an unknown key is answered within a second.
const READ_TIMEOUT: Duration = Duration::from_millis(900);
/// After a failed read of a shard none is tried for so long, and then one.
const RETRY: Duration = Duration::from_millis(250);
/// A failure older than this says nothing of now.
const RECENT: Duration = Duration::from_secs(2);

pub(super) struct Source {
    store: Arc<dyn Store>,
    trouble: Mutex<Trouble>,
    pub(super) reads: Count,
    pub(super) failures: Count,
}

struct Trouble {
    shards: HashMap<u16, Failure>,
    /// How often all was forgiven. A failure of a read begun before does not count.
    forgiven: u64,
    /// When a shard last answered.
    answered: Option<Instant>,
}

struct Failure {
    /// When it failed, or was last tried again.
    at: Instant,
    error: StoreError,
}

impl Failure {
    fn holds(&self) -> bool {
        self.at.elapsed() < RETRY
    }
}

impl Source {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        let trouble = Trouble {
            shards: HashMap::new(),
            forgiven: 0,
            answered: None,
        };
        Self {
            store,
            trouble: Mutex::new(trouble),
            reads: Count::default(),
            failures: Count::default(),
        }
    }

    /// Why a read of these would fail without being tried. `ids` are made only where something is
    /// wrong.
    pub(super) fn failing<I>(&self, ids: impl FnOnce() -> I) -> Option<StoreError>
    where
        I: Iterator<Item = RecordId>,
    {
        let trouble = self.lock();
        if trouble.shards.is_empty() {
            return None;
        }
        let failures = ids().filter_map(|id| trouble.shards.get(&self.store.shard_of(&id)));
        let held = failures.filter(|failure| failure.holds()).last();
        held.map(|failure| failure.error.clone())
    }

    /// Whether one of these was just asked for in vain, and nobody has reached its shard since. `ids`
    /// are made only where something is wrong.
    pub(super) fn is_away<I>(&self, ids: impl FnOnce() -> I) -> bool
    where
        I: Iterator<Item = RecordId>,
    {
        let trouble = self.lock();
        let failed = |id| trouble.shards.get(&self.store.shard_of(&id));
        let lately = |failure: &Failure| failure.at.elapsed() < RECENT;
        !trouble.shards.is_empty() && ids().filter_map(failed).any(lately)
    }

    /// Whether some shard answered within this time.
    pub(super) fn answered_within(&self, time: Duration) -> bool {
        self.lock().answered.is_some_and(|at| at.elapsed() < time)
    }

    /// The store can be reached again.
    pub(super) fn forgive(&self) {
        let mut trouble = self.lock();
        trouble.shards.clear();
        trouble.forgiven += 1;
    }

    /// Reads records; fails if a shard that keeps one of them does.
    pub(super) async fn get_many(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<Record>>, StoreError> {
        let mut shards: BTreeMap<u16, (Vec<usize>, Vec<RecordId>)> = BTreeMap::new();
        for (place, id) in ids.iter().enumerate() {
            let (places, ids) = shards.entry(self.store.shard_of(id)).or_default();
            places.push(place);
            ids.push(id.clone());
        }
        let asked = shards.iter().map(|(shard, (_, ids))| self.ask(*shard, ids));
        let answers = join_all(asked).await;
        let mut found = vec![None; ids.len()];
        for ((places, _), answer) in shards.values().zip(answers) {
            for (place, record) in places.iter().zip(answer?) {
                found[*place] = record;
            }
        }
        Ok(found)
    }

    async fn ask(&self, shard: u16, ids: &[RecordId]) -> Result<Vec<Option<Record>>, StoreError> {
        let begun = self.take_turn(shard)?;
        self.reads.add();
        let found = match timeout(READ_TIMEOUT, self.store.get_many(ids)).await {
            Ok(found) => found,
            Err(_) => Err(StoreError::Unreachable("no answer within 900 ms".into())),
        };
        if found.is_err() {
            self.failures.add();
        }
        self.note(shard, begun, found.as_ref().err());
        found
    }

    /// Of all who would try a failing shard again, one does. Gives how often all was forgiven before.
    fn take_turn(&self, shard: u16) -> Result<u64, StoreError> {
        let mut trouble = self.lock();
        let forgiven = trouble.forgiven;
        match trouble.shards.get_mut(&shard) {
            Some(failure) if failure.holds() => Err(failure.error.clone()),
            Some(failure) => {
                failure.at = Instant::now();
                Ok(forgiven)
            }
            None => Ok(forgiven),
        }
    }

    fn note(&self, shard: u16, begun: u64, error: Option<&StoreError>) {
        let mut trouble = self.lock();
        match error {
            Some(StoreError::Unreachable(_)) if begun < trouble.forgiven => {}
            Some(error @ StoreError::Unreachable(_)) => {
                let failure = Failure {
                    at: Instant::now(),
                    error: error.clone(),
                };
                trouble.shards.insert(shard, failure);
            }
            // A damaged record is that record's trouble: the shard did answer.
            _ => {
                trouble.answered = Some(Instant::now());
                trouble.shards.remove(&shard);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Trouble> {
        // Whole at every step, whatever panics.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
