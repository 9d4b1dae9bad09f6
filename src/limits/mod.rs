//! Rate limits and quotas that hold over all replicas.
//!
//! The store counts ([`Store::take`]); a replica leases permits from it in slices, so that only who finds
//! the slice empty waits for the store, and who has no limit never does. In any time over all replicas at
//! most the limit and one more burst are let through: what is leased dies after the time in which an
//! idle meter is full again (or 100 ms, if that is longer).
//!
//! | file | what it does |
//! |---|---|
//! | `hand` | the permits of one bucket in hand, the size of the next slice; pure |
//! | `local` | the whole limit in this process, for while the store is away; pure |
//! | `table` | all buckets in use |
//! | `health` | when a store that is away is asked again |
//! | `lease` | asking the store: one lease of a bucket at a time, whoever waits for it or goes away |

mod hand;
mod health;
mod lease;
mod local;
mod table;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::time::Instant;

use self::hand::{Permits, Turn};
use self::health::{Health, Shard};
use self::lease::Lead;
use self::table::{Entry, Table, Ticket};
use crate::store::{Meter, MeterId, Store};

/// How long one answer of the store is waited for. Who wants permits is answered within a second.
const PATIENCE: Duration = Duration::from_millis(900);
/// What who is refused while the store is away is told to wait.
const AWAY: Duration = Duration::from_secs(1);

/// What a request has to pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Whose it is: of a user, or of a key.
    pub id: MeterId,
    /// What it holds. When that changes, what was leased before is given up.
    pub meter: Meter,
}

/// What to do while the store cannot be reached, or does not answer within 900 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenDown {
    /// Refuse.
    Deny,
    /// Go on with the whole limit in each replica.
    Local,
}

/// Why a request may not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A bucket is empty.
    #[error("bucket {which} is empty; it is not for {retry_after:?}")]
    Empty {
        /// Its place among those asked for.
        which: usize,
        /// How long until it holds what is wanted, if nobody else takes any.
        retry_after: Duration,
    },
    /// A bucket never holds so many.
    #[error("bucket {which} never holds more than {most}")]
    TooMany {
        /// Its place among those asked for.
        which: usize,
        /// What it holds when it is full.
        most: u64,
    },
    /// The store cannot be asked.
    #[error("the store does not answer")]
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

/// Lets requests through, or not. Cheap to clone.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    /// Where leases are made: a caller's runtime may end before they do.
    runtime: Handle,
    table: Table,
    health: Health,
}

impl Limiter {
    /// A limiter that leases from `store`, on the runtime this is called on.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(Arc::new(Inner {
            store,
            runtime: Handle::current(),
            table: Table::new(),
            health: Health::default(),
        }))
    }

    /// Takes `n` permits from each of `buckets`, which are of different names, or from none of them.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn admit(
        &self,
        buckets: &[Bucket],
        n: u32,
        when_down: WhenDown,
    ) -> Result<(), Refused> {
        if buckets.is_empty() || n == 0 {
            return Ok(());
        }
        let mut admission = Admission {
            inner: &self.0,
            buckets,
            n,
            when_down,
            held: vec![None; buckets.len()],
            give_up: None,
        };
        loop {
            let waiting = admission.pass(Instant::now())?;
            if waiting.is_empty() {
                admission.held.clear();
                return Ok(());
            }
            join_all(waiting).await;
        }
    }
}

/// One request on its way through its buckets. What it holds when it is dropped is given back.
struct Admission<'a> {
    inner: &'a Arc<Inner>,
    buckets: &'a [Bucket],
    n: u32,
    when_down: WhenDown,
    held: Vec<Option<Permits>>,
    /// From then on a store that answers slowly is one that is away.
    give_up: Option<Instant>,
}

/// What came of looking at one bucket.
enum Looked {
    Held(Permits),
    Waiting(Ticket),
    Refused(Refused),
}

impl Admission<'_> {
    /// Takes what is in hand, and sees to it that what is not will be. Answers what to wait for before
    /// the next pass; nothing when all is held.
    fn pass(&mut self, now: Instant) -> Result<Vec<Ticket>, Refused> {
        let (mut leads, mut waiting) = (Vec::new(), Vec::new());
        let mut refused = None;
        for which in 0..self.buckets.len() {
            if self.held[which].is_some() {
                continue;
            }
            match self.look(which, now, &mut leads) {
                Looked::Held(permits) => self.held[which] = Some(permits),
                Looked::Waiting(ticket) => waiting.push(ticket),
                Looked::Refused(why) => {
                    refused = Some(why);
                    break;
                }
            }
        }
        // Also those of a request that is refused: others may wait for them already.
        lease::start(self.inner, leads, now);
        if !waiting.is_empty() && self.give_up.is_none() {
            self.give_up = Some(now + PATIENCE);
        }
        refused.map_or(Ok(waiting), Err)
    }

    fn look(&self, which: usize, now: Instant, leads: &mut Vec<Lead>) -> Looked {
        let bucket = &self.buckets[which];
        self.inner.table.with(bucket, now, |entry| {
            match entry.hand.take(bucket.meter, self.n, now) {
                Turn::Go(permits) => Looked::Held(permits),
                Turn::No(retry_after) => Looked::Refused(Refused::Empty { which, retry_after }),
                Turn::Never(most) => Looked::Refused(Refused::TooMany { which, most }),
                Turn::Lease(want) => self.lease(which, want, entry, now, leads),
            }
        })
    }

    /// Waits for the lease under way, or makes one; or does without, while the store is away.
    fn lease(
        &self,
        which: usize,
        want: u32,
        entry: &mut Entry,
        now: Instant,
        leads: &mut Vec<Lead>,
    ) -> Looked {
        let bucket = &self.buckets[which];
        let shard = self.inner.store.shard_of(bucket.id.as_record());
        let health = self.inner.health.of(shard, now);
        let slow = self.give_up.is_some_and(|until| now >= until);
        if entry.lease.is_none() && health != Shard::Away && !slow {
            let (lead, ticket) = Lead::new(bucket.clone(), shard, want);
            leads.push(lead);
            entry.lease = Some(ticket);
        }
        let on_our_own = self.when_down == WhenDown::Local && (slow || health != Shard::Well);
        match entry.lease.clone() {
            _ if on_our_own => match entry.hand.take_local(self.n, now) {
                Turn::Go(permits) => Looked::Held(permits),
                Turn::No(retry_after) => Looked::Refused(Refused::Empty { which, retry_after }),
                // A local limit says nothing else.
                Turn::Never(_) | Turn::Lease(_) => Looked::Refused(unavailable()),
            },
            Some(ticket) if !slow => Looked::Waiting(ticket),
            _ => Looked::Refused(unavailable()),
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        for (bucket, permits) in self.buckets.iter().zip(&self.held) {
            if let Some(permits) = *permits {
                self.inner.table.with(bucket, now, |entry| {
                    entry.hand.give_back(bucket.meter, permits);
                });
            }
        }
    }
}

fn unavailable() -> Refused {
    Refused::Unavailable { retry_after: AWAY }
}

#[cfg(test)]
mod tests;
