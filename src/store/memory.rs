//! A store that is gone with its process: for tests.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::meter::{self, Level};
use super::{
    Ask, Event, Record, RecordId, Settled, Store, StoreError, Taken, WriteError, check_size,
};

const ALIVE_EVERY: Duration = Duration::from_millis(250);
/// Meters there may be before those nobody needs any more are looked for.
const METERS: usize = 1000;

pub(super) struct Memory {
    home: Handle,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    records: BTreeMap<RecordId, Record>,
    watchers: Vec<UnboundedSender<Event>>,
    meters: HashMap<String, Level>,
    /// How many meters were in use when last swept.
    in_use: usize,
}

impl Inner {
    fn version(&self, id: &RecordId) -> Option<u64> {
        self.records.get(id).map(|record| record.version)
    }

    /// Under the same lock as the write, so that no watcher can miss it or see it early.
    fn tell(&mut self, id: &RecordId) {
        if id.is_quiet() {
            return;
        }
        let event = Event::Changed(id.clone());
        self.watchers
            .retain(|watcher| watcher.send(event.clone()).is_ok());
    }

    fn take(&mut self, ask: &Ask, now: u64) -> Taken {
        let name = ask.name();
        let found = self.meters.get(&name).copied();
        let (kept, taken) = meter::take(ask.meter, found, ask.want, now);
        if let Some(kept) = kept {
            self.meters.insert(name, kept);
        }
        if self.meters.len() > METERS + 2 * self.in_use {
            self.meters.retain(|_, level| level.expires > now);
            self.in_use = self.meters.len();
        }
        taken
    }
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            home: Handle::current(),
            inner: Arc::default(),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        // No code below can panic half way through a change, so a poisoned lock guards sound data.
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Store for Memory {
    async fn get_many(&self, ids: &[RecordId]) -> Result<Vec<Option<Record>>, StoreError> {
        Ok(self.with(|inner| {
            ids.iter()
                .map(|id| inner.records.get(id).cloned())
                .collect()
        }))
    }

    async fn put_if(&self, record: Record, expected: Option<u64>) -> Result<(), WriteError> {
        check_size(&record)?;
        self.with(|inner| {
            if inner.version(&record.id) != expected {
                return Err(WriteError::Conflict);
            }
            inner.tell(&record.id);
            inner.records.insert(record.id.clone(), record);
            Ok(())
        })
    }

    async fn delete_if(&self, id: &RecordId, expected: u64) -> Result<(), WriteError> {
        self.with(|inner| {
            if inner.version(id) != Some(expected) {
                return Err(WriteError::Conflict);
            }
            inner.records.remove(id);
            inner.tell(id);
            Ok(())
        })
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.clone()));
        Ok(self.with(|inner| {
            let walk = inner.records.range((from, Bound::Unbounded));
            let walk = walk.filter(|(id, _)| id.as_str().starts_with(prefix));
            walk.take(limit).map(|(_, record)| record.clone()).collect()
        }))
    }

    async fn settle(&self) -> Result<Settled, StoreError> {
        Ok(Settled::Everywhere)
    }

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Taken>, StoreError> {
        let now = meter::micros(SystemTime::now());
        Ok(self.with(|inner| asks.iter().map(|ask| inner.take(ask, now)).collect()))
    }

    fn watch(&self) -> UnboundedReceiver<Event> {
        let (events, receiver) = mpsc::unbounded_channel();
        let alive = events.clone();
        self.with(|inner| {
            // The receiver is in this function: it cannot be gone.
            let _ = events.send(Event::Up);
            inner.watchers.push(events);
        });
        self.home.spawn(async move {
            while alive.send(Event::Alive).is_ok() {
                tokio::time::sleep(ALIVE_EVERY).await;
            }
        });
        receiver
    }
}
