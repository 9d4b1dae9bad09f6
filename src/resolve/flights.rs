//! Single flight: however many requests wait for the same records, one read is under way.
//!
//! A read is a task of its own, so a client that goes away stops nobody else's. A change that
//! arrives while a read is under way makes it dirty: what it brings may be older than the change,
//! so it is neither cached nor served, and the read is made again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use tokio::sync::oneshot;

use super::entry::{Entry, RecordKey};
use crate::store::StoreError;

/// What a read brought: one entry per record asked for.
pub(super) type Loaded = Result<Arc<[Arc<Entry>]>, StoreError>;

/// A ticket to what a read will bring.
pub(super) type Ticket = Shared<oneshot::Receiver<Loaded>>;

struct Flight {
    ticket: Ticket,
    dirty: bool,
}

/// The reads under way.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Arc<[RecordKey]>, Flight>>);

/// The caller who is to make the read.
pub(super) struct Lead {
    pub(super) keys: Arc<[RecordKey]>,
    pub(super) done: oneshot::Sender<Loaded>,
}

/// What came of joining a read.
pub(super) enum Joined {
    /// It ended a moment ago, and brought this.
    Landed(Arc<Entry>),
    /// It is under way; whoever is given the lead is to make it.
    Flying(Ticket, Option<Lead>),
}

impl Flights {
    /// Joins the read of `keys`; the first who does is also told to make it. `landed` looks into the
    /// cache once more: the read may have ended since the caller looked.
    pub(super) fn join(
        &self,
        keys: &[RecordKey],
        landed: impl FnOnce() -> Option<Arc<Entry>>,
    ) -> Joined {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(keys) {
            return Joined::Flying(flight.ticket.clone(), None);
        }
        if let Some(entry) = landed() {
            return Joined::Landed(entry);
        }
        let (done, ticket) = oneshot::channel();
        let (keys, ticket): (Arc<[RecordKey]>, _) = (keys.into(), ticket.shared());
        flights.insert(
            keys.clone(),
            Flight {
                ticket: ticket.clone(),
                dirty: false,
            },
        );
        Joined::Flying(ticket, Some(Lead { keys, done }))
    }

    /// A change of `key` arrived: reads under way that include it do not count. `remove` takes it
    /// from the cache, and cannot come between a read's end and its landing.
    pub(super) fn taint(&self, key: &RecordKey, remove: impl FnOnce()) {
        let mut flights = self.lock();
        for (keys, flight) in flights.iter_mut() {
            flight.dirty |= keys.contains(key);
        }
        remove();
    }

    /// Ends the read of `keys` if nothing tainted it: calls `land`, which puts what was read into
    /// the cache. `false`: it was tainted and is to be made again.
    pub(super) fn land(&self, keys: &Arc<[RecordKey]>, land: impl FnOnce()) -> bool {
        let mut flights = self.lock();
        match flights.get_mut(keys) {
            Some(flight) if flight.dirty => {
                flight.dirty = false;
                false
            }
            _ => {
                flights.remove(keys);
                land();
                true
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<[RecordKey]>, Flight>> {
        // Nothing is left half done by a panic in here: the map is a map at every step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
