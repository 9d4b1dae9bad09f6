//! Single flight: however many requests wait for the same records, one read is under way.
//!
//! A read is a task of its own, so a client that goes away stops nobody else's. A change that
//! arrives while a read is under way makes it dirty: what it brings may be older than the change,
//! so it is not served, and the read is made again. Not for ever: after [`READS`] its result goes to
//! those who asked before the last one began, and who came later asks anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use tokio::sync::oneshot;

use super::entry::{Entry, RecordKey};
use crate::store::StoreError;

/// What came of a read: one entry per record asked for.
pub(super) type Loaded = Result<Arc<[Arc<Entry>]>, StoreError>;

/// A ticket to what a read will bring.
pub(super) type Ticket = Shared<oneshot::Receiver<Loaded>>;

/// A read made dirty by changes is made so often in all.
const READS: usize = 5;

struct Flight {
    ticket: Ticket,
    dirty: bool,
    /// How often it may still be made after this.
    left: usize,
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
    /// One is under way that brings nothing young enough: ask again after it.
    Late(Ticket),
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
            let ticket = flight.ticket.clone();
            return if flight.dirty && flight.left == 0 {
                Joined::Late(ticket)
            } else {
                Joined::Flying(ticket, None)
            };
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
                left: READS - 1,
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

    /// Something may have changed about any record: no read under way counts.
    pub(super) fn taint_all(&self) {
        for flight in self.lock().values_mut() {
            flight.dirty = true;
        }
    }

    /// A read of `keys` is over. `land` is told whether it was tainted, and puts what was read into
    /// the cache; no change comes between. `None`: it is to be made again.
    pub(super) fn land<T>(&self, keys: &[RecordKey], land: impl FnOnce(bool) -> T) -> Option<T> {
        let mut flights = self.lock();
        let flight = flights.get_mut(keys)?;
        let dirty = std::mem::take(&mut flight.dirty);
        let landed = land(dirty);
        if dirty && flight.left > 0 {
            flight.left -= 1;
            return None;
        }
        flights.remove(keys);
        Some(landed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<[RecordKey]>, Flight>> {
        // Nothing is left half done by a panic in here: the map is a map at every step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
