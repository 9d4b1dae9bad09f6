//! From a key's digest to who it belongs to and what sealed secrets he has: from the cache when it
//! is known to be right, else from the store, in two round trips at most.
//!
//! `freshness` decides whether an entry may be served, `entry` is what is cached, `entries` the cache,
//! `denial` what is believed when the store goes back in time, `flights` makes one read of many,
//! `source` asks the store. The cache holds keys and users opened and verified, secrets sealed.

mod denial;
mod entries;
mod entry;
mod figures;
mod flights;
mod freshness;
mod identity;
#[cfg(test)]
mod model;
mod source;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::sleep;

use denial::believed;
use entries::Entries;
use entry::{Content, Entry, RecordKey};
use figures::Counts;
pub use figures::{Figures, Watch};
use flights::{Flights, Joined, Lead};
use freshness::{Freshness, RECHECK, Verdict};
pub use identity::Identity;
use source::Source;

use crate::identity::KeyDigest;
use crate::store::{Event, Record, RecordId, Store, StoreError};
use crate::vault::{OpenError, Reader};

/// Shortest time between two looks at a key whose stream is open.
const PAUSE: Duration = Duration::from_millis(50);

/// What the resolver may use.
pub struct Settings {
    /// Bytes of cached records, about.
    pub cache_bytes: u64,
    /// How long what is cached is served while the store cannot be reached.
    pub stale_for: Duration,
    /// Is told how long a change of a key or user took, from when it was written to when what was cached of
    /// it was dropped; once the record is read again, for only then it is known when it was written. Clocks
    /// that differ between who wrote and this process are in it; a change that was not pushed is not told.
    pub lag: Option<Arc<dyn Fn(Duration) + Send + Sync>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            stale_for: Duration::from_secs(60),
            lag: None,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ResolveError {
    /// No such key, or its user is gone.
    #[error("the key is not known")]
    Unknown,
    /// The record of the key, of the user, or of his secrets cannot be used.
    #[error("a record cannot be used: {0}")]
    Unreadable(#[from] Unreadable),
    /// The store cannot be reached, and what is cached is too old.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a record cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unreadable {
    /// It does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The user's record lists it, but the store has none.
    #[error("the record is gone from the store")]
    Gone,
    /// The user's record lists a later version.
    #[error("an earlier state of the record was put back into the store")]
    PutBack,
}

struct Inner {
    source: Source,
    counts: Counts,
    reader: Reader,
    entries: Entries,
    flights: Flights,
    freshness: Freshness,
    stale_for: Duration,
    runtime: Handle,
}

/// Finds out whose a key is. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

impl Resolver {
    /// A resolver that reads `store` and follows its changes, on the runtime it is made on.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, reader: Reader, settings: &Settings) -> Self {
        let events = store.watch();
        let inner = Arc::new(Inner {
            source: Source::new(store),
            counts: Counts::new(settings.lag.clone()),
            reader,
            entries: Entries::new(settings.cache_bytes),
            flights: Flights::default(),
            freshness: Freshness::new(),
            stale_for: settings.stale_for,
            runtime: Handle::current(),
        });
        // A weak reference: the watch ends with the resolver.
        tokio::spawn(follow(Arc::downgrade(&inner), events));
        Self(inner)
    }

    /// Whose key this is. `wants` is the server and profile whose secrets will be asked for next:
    /// on a cold key they come with the user's record, in the same round trip. The profile counts
    /// only where the key names none.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn identify(
        &self,
        digest: KeyDigest,
        wants: Option<(&str, &str)>,
    ) -> Result<Identity, ResolveError> {
        let inner = &self.0;
        let key = inner.entry(RecordKey::Key(digest)).await?;
        let record = match &key.content {
            Content::Key(record) => record,
            Content::Unreadable(error) => return Err(Unreadable::Open(error.clone()).into()),
            _ => return Err(ResolveError::Unknown),
        };
        let user_key = RecordKey::User(record.user);
        let user = match (inner.fresh(&user_key), wants) {
            (Some(user), _) => {
                inner.counts.hits.add();
                user
            }
            (None, None) => inner.entry(user_key).await?,
            (None, Some((server, profile))) => {
                let profile = record.profile.as_deref().unwrap_or(profile);
                let set = inner.reader.secrets_record(&record.user, server, profile);
                inner.first_of([user_key, RecordKey::Secrets(set)]).await?
            }
        };
        if let Content::Unreadable(error) = &user.content {
            return Err(Unreadable::Open(error.clone()).into());
        }
        Identity::new(digest, &key, &user).ok_or(ResolveError::Unknown)
    }

    /// The sealed secrets of a user for a server and profile; `None` when he has none.
    ///
    /// # Errors
    /// [`Unreadable`] when his record lists a set that is not there, or is older than listed.
    pub async fn secrets(
        &self,
        identity: &Identity,
        server: &str,
        profile: &str,
    ) -> Result<Option<Arc<Record>>, ResolveError> {
        let user = identity.loaded();
        let listed = user.record.secrets.iter().zip(&user.sets);
        let Some((entry, place)) = listed
            .into_iter()
            .find(|(set, _)| set.server == server && set.profile == profile)
        else {
            return Ok(None);
        };
        let key = RecordKey::Secrets(place.clone());
        let mut found = self.0.entry(key.clone()).await?;
        // The two records are cached apart: one may have been read before a change and one after.
        if !matches!(&found.content, Content::Secrets(record) if record.version >= entry.version) {
            found = self.0.load_one(key).await?;
        }
        match &found.content {
            Content::Secrets(record) if record.version < entry.version => {
                Err(Unreadable::PutBack.into())
            }
            Content::Secrets(record) => Ok(Some(record.clone())),
            Content::Unreadable(error) => Err(Unreadable::Open(error.clone()).into()),
            _ => Err(Unreadable::Gone.into()),
        }
    }

    /// Waits until something about a key or its user may have changed since `identity` was made,
    /// or `at_most` has passed. Then [`Resolver::identify`] tells what is so now.
    pub async fn changed(&self, identity: &Identity, at_most: Duration) {
        let freshness = &self.0.freshness;
        let mut epochs = freshness.epochs();
        let [mut key, mut user] = identity.entries().each_ref().map(|entry| entry.changes());
        if !freshness.pushed() {
            return sleep(at_most.min(RECHECK)).await;
        }
        // Whatever happened before the subscriptions shows here. The pause keeps callers who go
        // round from spinning while the store cannot be read.
        if self.outdated(identity) {
            return sleep(at_most.min(PAUSE)).await;
        }
        tokio::select! {
            _ = key.changed() => {}
            _ = user.changed() => {}
            _ = epochs.changed() => {}
            () = sleep(at_most) => {}
        }
    }

    /// Reads the identity's key again.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn again(&self, identity: &Identity) -> Result<Identity, ResolveError> {
        self.identify(identity.digest(), None).await
    }

    /// The identity with its user's record as it is in the store, whatever is cached: for what may have
    /// been written a moment ago by who asks now.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn reread(&self, identity: &Identity) -> Result<Identity, ResolveError> {
        let [key, _] = identity.entries();
        let user = self.0.load_one(RecordKey::User(identity.user_id())).await?;
        Identity::new(identity.digest(), key, &user).ok_or(ResolveError::Unknown)
    }

    /// Whether changes of the store are being heard of.
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.0.freshness.watch()
    }

    /// Whether known users are served: also for a while without the store, and for those whose records a
    /// server keeps that answers. All replicas share the store, so none is a better choice then.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let Inner {
            freshness,
            source,
            stale_for,
            ..
        } = &*self.0;
        freshness.watch() != Watch::Down
            || freshness.silent_for() < *stale_for
            || source.answered_within(*stale_for)
    }

    /// What happened so far. Not for the path of a request: it takes the cache's locks.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let inner = &self.0;
        Figures {
            watch: self.watch(),
            reads: inner.source.reads.get(),
            read_failures: inner.source.failures.get(),
            stale_answers: inner.counts.stale_answers.get(),
            denials_kept: inner.counts.denials_kept.get(),
            hits: inner.counts.hits.get(),
            misses: inner.counts.misses.get(),
            records: inner.entries.len(),
            bytes: inner.entries.weight(),
        }
    }

    fn outdated(&self, identity: &Identity) -> bool {
        let key = self.0.fresh(&RecordKey::Key(identity.digest()));
        let user = self.0.fresh(&RecordKey::User(identity.user_id()));
        let [key_then, user_then] = identity.entries();
        !key.is_some_and(|now| Arc::ptr_eq(&now, key_then))
            || !user.is_some_and(|now| Arc::ptr_eq(&now, user_then))
    }
}

impl Inner {
    /// The cached entry, if it may be served as it is.
    fn fresh(&self, key: &RecordKey) -> Option<Arc<Entry>> {
        let entry = self.cached(key)?;
        (self.freshness.judge(entry.stamp) == Verdict::Fresh).then_some(entry)
    }

    fn cached(&self, key: &RecordKey) -> Option<Arc<Entry>> {
        let entry = self.entries.get(key)?;
        (!entry.is_outdated()).then_some(entry)
    }

    async fn entry(self: &Arc<Self>, key: RecordKey) -> Result<Arc<Entry>, StoreError> {
        match self.fresh(&key) {
            Some(entry) => {
                self.counts.hits.add();
                Ok(entry)
            }
            None => self.first_of([key]).await,
        }
    }

    /// Reads `keys` in one round trip and gives the entry of the first; the stale one when the
    /// store cannot be reached and the rule allows it.
    async fn first_of<const N: usize>(
        self: &Arc<Self>,
        keys: [RecordKey; N],
    ) -> Result<Arc<Entry>, StoreError> {
        self.counts.misses.add();
        // While a store that is away is tried again, nobody waits for it who would be served all the same.
        if self.freshness.watch() == Watch::Down
            && self.source.is_away(|| ids(&keys))
            && let Some(stale) = self.stale(&keys[0])
        {
            let inner = self.clone();
            let again = async move { inner.load(&keys, || inner.fresh(&keys[0])).await };
            self.runtime.spawn(again);
            return Ok(stale);
        }
        match self.load(&keys, || self.fresh(&keys[0])).await {
            Ok(entry) => Ok(entry),
            Err(error @ StoreError::Unreachable(_)) => self.stale(&keys[0]).ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// What is cached, if it may be served while the store cannot be reached.
    fn stale(&self, key: &RecordKey) -> Option<Arc<Entry>> {
        let entry = self.cached(key).filter(|entry| self.may_be_stale(entry))?;
        self.counts.stale_answers.add();
        Some(entry)
    }

    /// Reads `key`, whatever the cache holds.
    async fn load_one(self: &Arc<Self>, key: RecordKey) -> Result<Arc<Entry>, StoreError> {
        self.load(&[key], || None).await
    }

    fn may_be_stale(&self, entry: &Entry) -> bool {
        // What was not there may be by now: its key is unknown while the store is asked, not while it is away.
        let verdict = self.freshness.judge(entry.stamp);
        verdict == Verdict::Fresh
            || !entry.was_never_there() && verdict.may_be_stale(self.stale_for)
    }

    async fn load(
        self: &Arc<Self>,
        keys: &[RecordKey],
        landed: impl Fn() -> Option<Arc<Entry>>,
    ) -> Result<Arc<Entry>, StoreError> {
        if let Some(error) = self.source.failing(|| ids(keys)) {
            return Err(error);
        }
        loop {
            let ticket = match self.flights.join(keys, &landed) {
                Joined::Landed(entry) => return Ok(entry),
                Joined::Late(ticket) => {
                    let _ = ticket.await;
                    continue;
                }
                Joined::Flying(ticket, None) => ticket,
                Joined::Flying(ticket, Some(lead)) => {
                    self.runtime.spawn(self.clone().fly(lead));
                    ticket
                }
            };
            let lost = || Err(StoreError::Unreachable("the read was given up".into()));
            let loaded = ticket.await.unwrap_or_else(|_| lost());
            return loaded.map(|entries| entries[0].clone());
        }
    }

    async fn fly(self: Arc<Self>, Lead { keys, done }: Lead) {
        loop {
            let read = self.try_read(&keys).await;
            let remember = |dirty| read.map(|read| self.remember(&keys, read, dirty));
            if let Some(loaded) = self.flights.land(&keys, remember) {
                let _ = done.send(loaded);
                return;
            }
        }
    }

    /// A panic ends this read alone: a flight that never landed would keep everybody from reading
    /// these records again.
    async fn try_read(&self, keys: &[RecordKey]) -> Result<Vec<Entry>, StoreError> {
        let read = AssertUnwindSafe(self.read(keys)).catch_unwind().await;
        read.unwrap_or_else(|_| Err(StoreError::Unreachable("the read was given up".into())))
    }

    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Entry>, StoreError> {
        let ids: Vec<_> = keys.iter().map(RecordKey::record_id).collect();
        let stamp = self.freshness.stamp();
        let found = self.source.get_many(&ids).await?;
        let entries = keys
            .iter()
            .zip(found)
            .map(|(key, record)| Entry::read(&self.reader, key, record, stamp));
        Ok(entries.collect())
    }

    /// Puts what was read into the cache, and gives what is to be believed of it. What a `dirty` read
    /// brought is known from then on, but not served to whoever asks later.
    fn remember(&self, keys: &[RecordKey], read: Vec<Entry>, dirty: bool) -> Arc<[Arc<Entry>]> {
        let entries = keys.iter().zip(read).map(|(key, read)| {
            let known = self.entries.known(key);
            let lag = known.as_ref().and_then(|known| known.dropped_after(&read));
            self.counts.tell_lag(lag);
            let entry = Arc::new(believed(read, known.as_deref()));
            if entry.kept && !known.as_ref().is_some_and(|known| known.kept) {
                self.counts.denials_kept.add();
                let kind = key.kind();
                tracing::warn!(
                    kind,
                    "the store brought an older state of a record that denies, as after a fail-over that \
                     lost a change; the denial still counts (if you restored that state, restart this \
                     process)"
                );
            }
            if dirty {
                entry.outdate();
            }
            self.entries.keep(key, &entry);
            // Changes are told to what is in the cache alone, and that is another entry now.
            if let Some(known) = known {
                known.outdate();
            }
            entry
        });
        entries.collect()
    }

    /// What is cached under `key` is no longer served. What it tells of the record's past stays.
    fn forget(&self, key: &RecordKey) {
        self.flights.taint(key, || {
            if let Some(entry) = self.entries.outdated(key) {
                entry.drop_now();
            }
        });
    }
}

fn ids(keys: &[RecordKey]) -> impl Iterator<Item = RecordId> {
    keys.iter().map(RecordKey::record_id)
}

/// Applies the store's events until the resolver is gone.
async fn follow(inner: std::sync::Weak<Inner>, mut events: mpsc::UnboundedReceiver<Event>) {
    while let Some(event) = events.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        match event {
            Event::Up => {
                tracing::info!("changes of the store are pushed to us");
                // It can be reached again: not for another moment is anything served unchecked.
                inner.source.forgive();
                inner.freshness.on_up();
                inner.flights.taint_all();
            }
            Event::Alive => inner.freshness.on_alive(),
            Event::Down => {
                tracing::warn!("changes of the store are no longer pushed to us; reading again");
                inner.freshness.on_down();
            }
            Event::Blind => {
                tracing::warn!(
                    "the store does not report changes: what is cached is read again every 2 s, so a \
                     revocation takes up to 5 s; allow its user CLIENT TRACKING (+client|tracking), \
                     or use a Redis that offers it"
                );
                inner.freshness.on_blind();
            }
            Event::Changed(id) => {
                if let Some(key) = RecordKey::of(&id) {
                    inner.forget(&key);
                }
            }
        }
    }
    if let Some(inner) = inner.upgrade() {
        inner.freshness.on_down();
    }
}
