//! Asking the store for permits. A lease is a task of its own: who waits for it may go away, and it
//! lands all the same, or fails, whatever happens to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::table::Ticket;
use super::{Bucket, Inner, PATIENCE};
use crate::store::{Ask, Taken};

/// A lease that somebody has to make.
pub(super) struct Lead {
    bucket: Bucket,
    shard: u16,
    want: u32,
    done: oneshot::Sender<()>,
}

impl Lead {
    pub(super) fn new(bucket: Bucket, shard: u16, want: u32) -> (Self, Ticket) {
        let (done, ticket) = oneshot::channel();
        let lead = Self {
            bucket,
            shard,
            want,
            done,
        };
        (lead, ticket.shared())
    }
}

/// Makes these leases: those of one shard in one trip.
pub(super) fn start(inner: &Arc<Inner>, leads: Vec<Lead>, now: Instant) {
    let mut shards: BTreeMap<u16, Vec<Lead>> = BTreeMap::new();
    for lead in leads {
        shards.entry(lead.shard).or_default().push(lead);
    }
    for (shard, leads) in shards {
        let flight = Flight {
            inner: inner.clone(),
            shard,
            leads,
            asked: now,
            taken: None,
        };
        inner.runtime.spawn(flight.fly());
    }
}

/// Leases under way. They land when this is dropped: also when the store panics, or the runtime ends.
struct Flight {
    inner: Arc<Inner>,
    shard: u16,
    leads: Vec<Lead>,
    asked: Instant,
    taken: Option<Vec<Taken>>,
}

impl Flight {
    async fn fly(mut self) {
        let ask = |lead: &Lead| Ask {
            id: lead.bucket.id.clone(),
            meter: lead.bucket.meter,
            want: lead.want,
        };
        let asks: Vec<_> = self.leads.iter().map(ask).collect();
        let store = self.inner.store.clone();
        self.taken = match timeout(PATIENCE, store.take(&asks)).await {
            Ok(Ok(taken)) if taken.len() == asks.len() => Some(taken),
            Ok(Ok(_)) => None,
            Ok(Err(error)) => {
                tracing::debug!(%error, "The store does not count.");
                None
            }
            Err(_) => {
                tracing::debug!("The store counts too slowly.");
                None
            }
        };
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let now = Instant::now();
        // Before anybody is woken, who would ask again.
        match self.taken {
            Some(_) => self.inner.health.answered(self.shard),
            None => self.inner.health.failed(self.shard, now),
        }
        let taken = self.taken.take().unwrap_or_default();
        let mut taken = taken.into_iter();
        for lead in self.leads.drain(..) {
            let brought = taken.next();
            let Bucket { meter, .. } = lead.bucket;
            self.inner.table.with(&lead.bucket, now, |entry| {
                entry.lease = None;
                if let Some(taken) = brought {
                    entry.hand.land(meter, lead.want, taken, self.asked, now);
                }
            });
            // Nobody may wait any more.
            let _ = lead.done.send(());
        }
    }
}
