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
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::task::unconstrained;

use super::http1::{Connection, Lease};
use super::replicas::ReplicaAddress;
use crate::names::{ProfileName, ServerName};
use crate::sys::Tick;
use crate::telemetry::Gauge;
use crate::vault::UserId;

/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(4);
/// Idle connections of one owner.
const OF_ONE: usize = 16;

/// Whom a connection serves, and where it leads: all of it, always.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) user: UserId,
    pub(super) server: ServerName,
    pub(super) profile: ProfileName,
    pub(super) replica: ReplicaAddress,
}

impl Hash for Owner {
    // Random, and enough: few have connections to many places.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.user.hash(state);
    }
}

struct Idle {
    connection: Box<Connection>,
    since: Tick,
}

impl Idle {
    fn is_recent(&self) -> bool {
        Tick::last().since(self.since) < IDLE
    }
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
    pub(super) async fn take(&self, owner: &Owner) -> Option<Box<Connection>> {
        // A task whose turn is nearly over is told of no socket that there is anything to read.
        unconstrained(poll_fn(|cx| Poll::Ready(self.quiet(owner, cx)))).await
    }

    fn quiet(&self, owner: &Owner, cx: &mut Context<'_>) -> Option<Box<Connection>> {
        loop {
            let mut idle = self.0.lock().take(owner)?;
            self.0.count.dec();
            if idle.is_recent() && idle.connection.is_quiet(cx) {
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
            idle.retain_mut(|idle| idle.is_recent() && idle.connection.is_quiet(&mut cx));
            !idle.is_empty()
        });
        kept.connections = kept.by_owner.values().map(Vec::len).sum();
        self.0.closed(before - kept.connections);
    }
}

impl Shared {
    fn put(&self, owner: Owner, connection: Box<Connection>) {
        let since = Tick::last();
        let mut kept = self.lock();
        let idle = kept.by_owner.entry(owner).or_default();
        // Who has many takes no room from others.
        if idle.len() >= OF_ONE {
            return;
        }
        idle.push(Idle { connection, since });
        kept.connections += 1;
        if kept.connections > self.most && kept.drop_oldest() {
            return;
        }
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixStream;
    use tokio::task::{coop, yield_now};

    use super::super::http1::Stream;
    use super::*;

    fn owner(user: u8) -> Owner {
        Owner {
            user: UserId::from_hex(&format!("{user:02x}").repeat(16)).unwrap(),
            server: ServerName::parse("one").unwrap(),
            profile: ProfileName::default_profile(),
            replica: ReplicaAddress::new("localhost", 1),
        }
    }

    /// Gives an owner an idle connection, of which this is the other end.
    fn give(pool: &Pool, to: u8) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        pool.lease(owner(to))(Connection::new(Stream::Unix(ours), Arc::default()));
        theirs
    }

    // Fails when `take` is held to the task's budget: then nobody looks at the socket.
    #[tokio::test]
    async fn a_connection_is_looked_at_however_much_its_task_has_done() {
        let pool = Pool::new(8, Gauge::default());
        let mut theirs = give(&pool, 1);
        theirs.write_all(b"nobody asked").await.unwrap();
        for _ in 0..10 {
            yield_now().await;
        }
        while coop::has_budget_remaining() {
            // Takes a part of it, and waits for nothing until it is spent.
            let spent = tokio::sync::Semaphore::new(1);
            drop(spent.acquire().await);
        }
        assert!(pool.take(&owner(1)).await.is_none());
    }

    // Fails when room is made for more than one owner may have.
    #[tokio::test]
    async fn who_has_many_takes_none_from_others() {
        let pool = Pool::new(OF_ONE + 1, Gauge::default());
        let _other = give(&pool, 2);
        let _many: Vec<_> = (0..OF_ONE + 3).map(|_| give(&pool, 1)).collect();
        assert!(pool.take(&owner(2)).await.is_some());
        for _ in 0..OF_ONE {
            assert!(pool.take(&owner(1)).await.is_some());
        }
        assert!(pool.take(&owner(1)).await.is_none());
        assert_eq!(pool.0.count.get(), 0);
    }

    // Fails when an owner's connection is another's, or the one idle longest stays.
    #[tokio::test]
    async fn each_has_his_own_and_the_oldest_makes_room() {
        let pool = Pool::new(2, Gauge::default());
        let _ends = [1, 2, 3].map(|user| give(&pool, user));
        assert!(pool.take(&owner(1)).await.is_none());
        assert!(pool.take(&owner(2)).await.is_some());
        assert!(pool.take(&owner(2)).await.is_none());
        assert!(pool.take(&owner(3)).await.is_some());
    }
}
