//! Who uses what: counted in memory, and told to the store now and then, never once for each request.
//!
//! What a process has counted since it last told is lost when it is killed; at most [`EVERY`]. While the
//! store is away it is kept, up to [`KEPT`] entries.

mod table;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::{MissedTickBehavior, interval};

pub use table::csv;

use crate::identity::KeyDigest;
use crate::names::ServerName;
use crate::vault::{Use, UserId, Vault, now_seconds};

/// How often the store is told.
pub const EVERY: Duration = Duration::from_secs(10);
/// Pairs of a key and a server that are counted at one moment; requests of others are not counted then.
pub const KEPT: usize = 200_000;
/// Users of whom the store is told at once.
const AT_ONCE: usize = 16;
/// Cores seldom meet at a lock.
const SHARDS: usize = 16;

/// One request that ended.
pub struct Request<'a> {
    /// Whose.
    pub user: UserId,
    /// Its key.
    pub key: KeyDigest,
    /// Where it went.
    pub server: &'a ServerName,
    /// Whether it was answered by an error of HTTP, or refused.
    pub failed: bool,
    /// Where it came from.
    pub address: Option<IpAddr>,
    /// What its client calls itself, without control characters, if it said so.
    pub client: Option<&'a str>,
}

type Who = (UserId, KeyDigest, ServerName);
type Counts = HashMap<Who, Tally, RandomState>;

#[derive(Clone)]
struct Tally {
    requests: u64,
    errors: u64,
    first: u64,
    last: u64,
    address: Option<IpAddr>,
    client: Option<Box<str>>,
}

/// What was used in this process and the store was not told yet. Cheap to clone.
#[derive(Clone)]
pub struct Usage(Arc<Inner>);

struct Inner {
    vault: Vault,
    shards: [Mutex<Counts>; SHARDS],
    entries: AtomicUsize,
    uncounted: AtomicU64,
}

impl Usage {
    /// Nothing was used yet; the store is told through `vault`.
    #[must_use]
    pub fn new(vault: Vault) -> Self {
        Self(Arc::new(Inner {
            vault,
            shards: std::array::from_fn(|_| Mutex::default()),
            entries: AtomicUsize::new(0),
            uncounted: AtomicU64::new(0),
        }))
    }

    /// Counts a request.
    pub fn note(&self, request: &Request<'_>) {
        let now = now_seconds();
        let who = (request.user, request.key, request.server.clone());
        let errors = u64::from(request.failed);
        let mut counts = self.shard(&request.user);
        match counts.entry(who) {
            Entry::Occupied(mut known) => {
                let tally = known.get_mut();
                tally.requests += 1;
                tally.errors += errors;
                tally.last = now;
                tally.address = request.address.or(tally.address);
                if let Some(client) = request.client
                    && tally.client.as_deref() != Some(client)
                {
                    tally.client = Some(client.into());
                }
            }
            Entry::Vacant(place) => {
                if self.0.entries.fetch_add(1, Ordering::Relaxed) >= KEPT {
                    self.0.entries.fetch_sub(1, Ordering::Relaxed);
                    self.0.uncounted.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                place.insert(Tally {
                    requests: 1,
                    errors,
                    first: now,
                    last: now,
                    address: request.address,
                    client: request.client.map(Into::into),
                });
            }
        }
    }

    /// Requests that were not counted because too much was.
    #[must_use]
    pub fn uncounted(&self) -> u64 {
        self.0.uncounted.load(Ordering::Relaxed)
    }

    /// Tells the store every [`EVERY`], for ever.
    pub async fn keep_told(self) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tick.tick().await;
            let told = self.tell().await;
            if !told && !failing {
                tracing::warn!("usage cannot be written to the store; it is kept until it can");
            }
            failing = !told;
        }
    }

    /// Tells the store now; `false` if that failed for anybody, of whom it is kept.
    pub async fn tell(&self) -> bool {
        let mut users: HashMap<UserId, Vec<(Who, Tally)>> = HashMap::new();
        for shard in &self.0.shards {
            let taken = std::mem::take(&mut *lock(shard));
            self.0.entries.fetch_sub(taken.len(), Ordering::Relaxed);
            for (who, tally) in taken {
                users.entry(who.0).or_default().push((who, tally));
            }
        }
        let work = users.into_iter().map(async |(user, counted)| {
            let uses: Vec<_> = counted.iter().map(|(who, tally)| tally.of(who)).collect();
            match self.0.vault.add_usage(&user, &uses).await {
                Ok(()) => true,
                Err(error) => {
                    tracing::debug!(%error, "usage cannot be written");
                    self.put_back(counted);
                    false
                }
            }
        });
        let told = stream::iter(work).buffer_unordered(AT_ONCE);
        told.fold(true, async |all, one| all && one).await
    }

    fn put_back(&self, counted: Vec<(Who, Tally)>) {
        for (who, tally) in counted {
            let mut counts = self.shard(&who.0);
            match counts.entry(who) {
                Entry::Occupied(mut newer) => newer.get_mut().add_earlier(&tally),
                Entry::Vacant(place) => {
                    if self.0.entries.fetch_add(1, Ordering::Relaxed) >= KEPT {
                        self.0.entries.fetch_sub(1, Ordering::Relaxed);
                        self.0
                            .uncounted
                            .fetch_add(tally.requests, Ordering::Relaxed);
                    } else {
                        place.insert(tally);
                    }
                }
            }
        }
    }

    fn shard(&self, user: &UserId) -> MutexGuard<'_, Counts> {
        lock(&self.0.shards[usize::from(user.as_bytes()[0]) % SHARDS])
    }
}

impl Tally {
    fn of(&self, (_, key, server): &Who) -> Use {
        Use {
            key: key.key_id().to_string(),
            server: server.to_string(),
            requests: self.requests,
            errors: self.errors,
            first: self.first,
            last: self.last,
            address: self.address,
            client: self.client.as_deref().map(str::to_owned),
        }
    }

    fn add_earlier(&mut self, earlier: &Self) {
        self.requests += earlier.requests;
        self.errors += earlier.errors;
        self.first = earlier.first;
        self.address = self.address.or(earlier.address);
        if self.client.is_none() {
            self.client.clone_from(&earlier.client);
        }
    }
}

fn lock(shard: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    // Whole at every step, whatever panics.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
