//! A store played by hand: its reads are answered when, and as, the test says.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::store::{Event, Record, RecordId, Settled, Store, StoreError, WriteError};

type Found = Vec<Option<Record>>;
type Answer = Result<Found, StoreError>;

/// After a failure a shard is left alone for so long: said here again, for the model to differ.
pub(super) const RETRY: Duration = Duration::from_millis(250);

/// What the store held under an id from a moment on.
#[derive(Clone, Copy)]
pub(super) struct State {
    pub(super) seq: u64,
    pub(super) at: Instant,
    pub(super) version: Option<u64>,
}

/// What somebody who never forgets a denial thinks of a record.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) struct Belief {
    /// The highest version there ever was; 0: none.
    seen: u64,
    /// What must be had to be let in again: this version or a later one; none will do once it is gone.
    pub(super) least: u64,
    /// How often he was let in again.
    lifted: usize,
}

pub(super) struct Pending {
    pub(super) ids: Vec<RecordId>,
    begun: u64,
    /// What it will bring, if the store has looked already.
    looked: Option<Found>,
    reply: oneshot::Sender<Answer>,
}

/// A read that brought nothing.
pub(super) struct Failed {
    pub(super) shard: u16,
    pub(super) begun: u64,
    pub(super) at: Instant,
    pub(super) unreachable: bool,
}

#[derive(Default)]
pub(super) struct Stage {
    /// Counts what happens.
    pub(super) seq: u64,
    pub(super) records: BTreeMap<RecordId, Record>,
    pub(super) history: HashMap<RecordId, Vec<State>>,
    /// Changes that are to be reported, each with when it was made; `None`: nobody hears of them.
    pub(super) news: Option<Vec<(RecordId, u64)>>,
    pub(super) pending: Vec<Pending>,
    pub(super) failed: Vec<Failed>,
    /// Answers go out by themselves.
    pub(super) healthy: bool,
    /// Told by the test: which shard keeps what belongs to an id.
    pub(super) shards: HashMap<String, u16>,
    /// When a failing shard was last tried, or failed.
    tried: HashMap<u16, Instant>,
    up_at: u64,
    /// Versions that let nobody in, told by the test.
    pub(super) denying: HashSet<(RecordId, u64)>,
    /// What the resolver was told of each record, as far as it must not forget it.
    pub(super) beliefs: HashMap<RecordId, Belief>,
    pub(super) violations: Vec<String>,
    watcher: Option<mpsc::UnboundedSender<Event>>,
}

impl Stage {
    pub(super) fn set(&mut self, id: &RecordId, record: Option<Record>) {
        self.seq += 1;
        let state = State {
            seq: self.seq,
            at: Instant::now(),
            version: record.as_ref().map(|record| record.version),
        };
        self.history.entry(id.clone()).or_default().push(state);
        match record {
            Some(record) => drop(self.records.insert(id.clone(), record)),
            None => drop(self.records.remove(id)),
        }
        if let Some(news) = &mut self.news {
            news.push((id.clone(), self.seq));
        }
    }

    pub(super) fn shard(&self, id: &RecordId) -> u16 {
        let owner = id.as_str().split('/').nth(1).unwrap();
        self.shards.get(owner).copied().unwrap_or_default()
    }

    pub(super) fn is_failing(&self, id: &RecordId) -> bool {
        self.tried.contains_key(&self.shard(id))
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.seq += 1;
        if event == Event::Up {
            self.up_at = self.seq;
            self.tried.clear();
        }
        let _ = self.watcher.as_ref().unwrap().send(event);
    }

    fn find(&self, ids: &[RecordId]) -> Found {
        ids.iter().map(|id| self.records.get(id).cloned()).collect()
    }

    /// The `n`th read under way sees what is there now, whenever it is answered.
    pub(super) fn look(&mut self, n: usize) {
        let ids = self.pending[n].ids.clone();
        let found = self.find(&ids);
        self.pending[n].looked.get_or_insert(found);
    }

    /// Answers the `n`th read under way.
    pub(super) fn answer(&mut self, n: usize) {
        self.look(n);
        let pending = self.pending.remove(n);
        let found = pending.looked.unwrap();
        let versions: Vec<_> = found
            .iter()
            .map(|r| r.as_ref().map(|r| r.version))
            .collect();
        let sent = pending.reply.send(Ok(found));
        self.tried.remove(&self.shard(&pending.ids[0]));
        if sent.is_ok() {
            for (id, version) in pending.ids.iter().zip(versions) {
                self.believe(id, version);
            }
        }
    }

    /// What an identity may be made of, for who knew `then`: only what it was before he was let in
    /// again counts no more.
    pub(super) fn least(&self, id: &RecordId, then: Belief) -> u64 {
        let now = self.beliefs.get(id).copied().unwrap_or_default();
        if now.lifted == then.lifted {
            then.least
        } else {
            0
        }
    }

    fn believe(&mut self, id: &RecordId, version: Option<u64>) {
        let denying = version.is_some_and(|version| self.denying.contains(&(id.clone(), version)));
        let belief = self.beliefs.entry(id.clone()).or_default();
        belief.seen = belief.seen.max(version.unwrap_or(0));
        match version {
            None if belief.seen > 0 => belief.least = u64::MAX,
            None => {}
            Some(version) if version < belief.least => {}
            Some(version) if denying => belief.least = version,
            Some(_) => {
                belief.lifted += usize::from(belief.least > 0);
                belief.least = 0;
            }
        }
    }

    pub(super) fn fail(&mut self, n: usize, error: StoreError) {
        let pending = self.pending.remove(n);
        self.failure(&pending.ids, pending.begun, &error);
        let _ = pending.reply.send(Err(error));
    }

    fn failure(&mut self, ids: &[RecordId], begun: u64, error: &StoreError) {
        let unreachable = matches!(error, StoreError::Unreachable(_));
        let (shard, at) = (self.shard(&ids[0]), Instant::now());
        if !unreachable {
            self.tried.remove(&shard);
        } else if begun >= self.up_at {
            self.tried.insert(shard, at);
        }
        self.failed.push(Failed {
            shard,
            begun,
            at,
            unreachable,
        });
    }

    fn begin(&mut self, ids: &[RecordId]) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        self.seq += 1;
        if self.pending.iter().any(|pending| pending.ids == ids) {
            self.violations
                .push(format!("two reads of {ids:?} at once"));
        }
        let shard = self.shard(&ids[0]);
        if ids.iter().any(|id| self.shard(id) != shard) {
            self.violations.push("a read of two shards".into());
        }
        if let Some(tried) = self.tried.get_mut(&shard) {
            if tried.elapsed() < RETRY {
                self.violations
                    .push("a failing shard is tried too often".into());
            }
            *tried = Instant::now();
        }
        self.pending.push(Pending {
            ids: ids.to_vec(),
            begun: self.seq,
            looked: None,
            reply,
        });
        answer
    }

    /// Reads that were given up have failed.
    fn give_up(&mut self, ids: &[RecordId]) {
        if let Some(n) = self.pending.iter().position(|pending| pending.ids == ids) {
            let pending = self.pending.remove(n);
            self.failure(ids, pending.begun, &StoreError::Unreachable("late".into()));
        }
    }
}

/// The stage as the resolver sees it, or (`direct`) as the vault does, which is answered at once.
#[derive(Clone)]
pub(super) struct Script {
    stage: Arc<Mutex<Stage>>,
    direct: bool,
}

impl Script {
    pub(super) fn new() -> Self {
        Self {
            stage: Arc::default(),
            direct: false,
        }
    }

    pub(super) fn direct(&self) -> Self {
        Self {
            stage: self.stage.clone(),
            direct: true,
        }
    }

    pub(super) fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap()
    }
}

struct GivenUp<'a>(&'a Script, &'a [RecordId]);

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        self.0.stage().give_up(self.1);
    }
}

#[async_trait]
impl Store for Script {
    async fn get_many(&self, ids: &[RecordId]) -> Answer {
        let answer = {
            let mut stage = self.stage();
            if self.direct {
                return Ok(stage.find(ids));
            }
            let answer = stage.begin(ids);
            if stage.healthy {
                let last = stage.pending.len() - 1;
                stage.answer(last);
            }
            answer
        };
        let _given_up = GivenUp(self, ids);
        answer.await.unwrap()
    }

    async fn put_if(&self, record: Record, expected: Option<u64>) -> Result<(), WriteError> {
        let mut stage = self.stage();
        if stage.records.get(&record.id).map(|found| found.version) != expected {
            return Err(WriteError::Conflict);
        }
        let id = record.id.clone();
        stage.set(&id, Some(record));
        Ok(())
    }

    async fn delete_if(&self, id: &RecordId, _: u64) -> Result<(), WriteError> {
        self.stage().set(id, None);
        Ok(())
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let stage = self.stage();
        let records = stage.records.values();
        let found = records.filter(|record| {
            record.id.as_str().starts_with(prefix) && after.is_none_or(|after| record.id > *after)
        });
        Ok(found.take(limit).cloned().collect())
    }

    async fn settle(&self) -> Result<Settled, StoreError> {
        Ok(Settled::Everywhere)
    }

    fn shard_of(&self, id: &RecordId) -> u16 {
        self.stage().shard(id)
    }

    fn watch(&self) -> mpsc::UnboundedReceiver<Event> {
        let (watcher, events) = mpsc::unbounded_channel();
        self.stage().watcher = Some(watcher);
        events
    }
}
