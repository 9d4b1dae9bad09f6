//! Idle connections of one core, each for one user, server and profile, to one replica of the server.
//!
//! A connection is never shared between users, not even one after the other: a backend that writes
//! one answer too many would hand it to whoever comes next (measured with a connection pool keyed by
//! address: half of all requests).
//!
//! An owner may have several: with one alone, whoever has five requests under way at a time opens four
//! connections for every five requests.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::http1::{Connection, Lease};
use super::replicas::ReplicaAddress;
use crate::names::{ProfileName, ServerName};
use crate::telemetry::Gauge;
use crate::vault::UserId;

/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(4);
/// Idle connections of one owner.
const OF_ONE: usize = 16;

/// Whom a connection serves, and where it leads: all of it, always.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub(super) user: UserId,
    pub(super) server: ServerName,
    pub(super) profile: ProfileName,
    pub(super) replica: ReplicaAddress,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// The idle connections of one core.
#[derive(Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    // Of one thread, so never waited for.
    idle: Mutex<Kept>,
    /// How many there may be; the one idle longest makes room.
    most: usize,
    count: Gauge,
}

#[derive(Default)]
struct Kept {
    /// Of each owner the one idle longest first.
    by_owner: HashMap<Owner, Vec<Idle>, RandomState>,
    connections: usize,
}

impl Pool {
    /// None yet, and at most so many; `count` is how many there are in all pools.
    pub(super) fn new(most: usize, count: Gauge) -> Self {
        Self(Arc::new(Shared {
            idle: Mutex::default(),
            most,
            count,
        }))
    }

    /// An idle connection of the owner that is still good, if there is one.
    pub(super) async fn take(&self, owner: &Owner) -> Option<Connection> {
        poll_fn(|cx| Poll::Ready(self.quiet(owner, cx))).await
    }

    fn quiet(&self, owner: &Owner, cx: &mut Context<'_>) -> Option<Connection> {
        loop {
            let mut idle = self.0.lock().take(owner)?;
            self.0.count.dec();
            if idle.since.elapsed() < IDLE && idle.connection.is_quiet(cx) {
                return Some(idle.connection);
            }
        }
    }

    /// What takes a connection of this owner back.
    pub(super) fn lease(&self, owner: Owner) -> Lease {
        let pool = self.clone();
        Box::new(move |connection| pool.0.put(owner, connection))
    }

    /// Closes what was idle for too long, and what the other end has closed or spoken on.
    pub(super) fn sweep(&self) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut kept = self.0.lock();
        let before = kept.connections;
        kept.by_owner.retain(|_, idle| {
            idle.retain_mut(|idle| {
                idle.since.elapsed() < IDLE && idle.connection.is_quiet(&mut cx)
            });
            !idle.is_empty()
        });
        kept.connections = kept.by_owner.values().map(Vec::len).sum();
        self.0.closed(before - kept.connections);
    }
}

impl Shared {
    fn put(&self, owner: Owner, connection: Connection) {
        let mut kept = self.lock();
        let is_full = kept.connections >= self.most;
        if is_full && kept.drop_oldest() {
            self.count.dec();
        }
        let idle = kept.by_owner.entry(owner).or_default();
        if idle.len() >= OF_ONE {
            return;
        }
        idle.push(Idle {
            connection,
            since: Instant::now(),
        });
        kept.connections += 1;
        self.count.inc();
    }

    fn closed(&self, connections: usize) {
        self.count
            .dec_by(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let left = self.lock().connections;
        self.closed(left);
    }
}

impl Kept {
    /// The owner's connection that was idle shortest.
    fn take(&mut self, owner: &Owner) -> Option<Idle> {
        let idle = self.by_owner.get_mut(owner)?;
        let last = idle.pop();
        self.connections -= usize::from(last.is_some());
        last
    }

    /// Makes room: `false` when there is nothing to be dropped.
    fn drop_oldest(&mut self) -> bool {
        let oldest = self.by_owner.iter();
        let oldest = oldest.filter_map(|(owner, idle)| Some((idle.first()?.since, owner)));
        let oldest = oldest.min_by_key(|(since, _)| *since);
        let Some(owner) = oldest.map(|(_, owner)| owner.clone()) else {
            return false;
        };
        if let Entry::Occupied(mut idle) = self.by_owner.entry(owner) {
            idle.get_mut().remove(0);
            self.connections -= 1;
            if idle.get().is_empty() {
                idle.remove();
            }
        }
        true
    }
}
