//! Reading records: from the cache where it may be, else from the store, one read for all who wait for it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use tokio::runtime::Handle;

use super::denial::believed;
use super::entries::Entries;
use super::entry::{Content, Entry, Held, RecordKey};
use super::figures::{Counts, Watch};
use super::flights::{Flights, Joined, Lead};
use super::freshness::{Freshness, Verdict};
use super::identity::{Credential, Identity};
use super::source::Source;
use super::statics::Statics;
use super::{ResolveError, Unreadable, user_of};
use crate::names::UserName;
use crate::store::{RecordId, StoreError};
use crate::vault::{KeyRecord, Reader};

pub(super) struct Inner {
    /// Another than that of every other resolver.
    pub(super) number: u64,
    pub(super) source: Source,
    pub(super) counts: Counts,
    pub(super) reader: Reader,
    pub(super) entries: Entries,
    pub(super) flights: Flights,
    pub(super) freshness: Freshness,
    pub(super) statics: Statics,
    pub(super) stale_for: Duration,
    pub(super) runtime: Handle,
}

impl Inner {
    /// The entry that says whose a name is, and that user's.
    pub(super) async fn user_named(
        self: &Arc<Self>,
        name: &UserName,
    ) -> Result<(Held, Held), ResolveError> {
        let name = RecordKey::Name(self.reader.name_record(name));
        let name = self.held(name).await?;
        let user = self.held(RecordKey::User(user_of(&name.entry)?)).await?;
        Ok((name, user))
    }

    /// The identity of a user, with the groups he is in.
    pub(super) async fn identity(
        self: &Arc<Self>,
        credential: Credential,
        key: Arc<KeyRecord>,
        user: Held,
        others: impl IntoIterator<Item = Held>,
    ) -> Result<Identity, ResolveError> {
        let record = match &user.entry.content {
            Content::User(user) => &user.record,
            Content::Unreadable(error) => return Err(Unreadable::Open(error.clone()).into()),
            _ => return Err(ResolveError::Unknown),
        };
        let groups = if record.groups.is_empty() {
            Vec::new()
        } else {
            let groups = record.groups.iter();
            let groups = groups.map(|id| self.held(RecordKey::Group(*id)));
            Box::pin(try_join_all(groups)).await?
        };
        for group in &groups {
            match &group.entry.content {
                Content::Group(_) => {}
                Content::Unreadable(error) => return Err(Unreadable::Open(error.clone()).into()),
                // Who lists it is asked to leave it first: without it, what it blocks would be allowed.
                _ => return Err(Unreadable::Gone.into()),
            }
        }
        Identity::new(credential, key, user, groups, others).ok_or(ResolveError::Unknown)
    }

    pub(super) async fn acted_for(
        self: &Arc<Self>,
        caller: &Identity,
        user: Held,
        name: Option<Held>,
    ) -> Result<Identity, ResolveError> {
        let (credential, key) = (caller.credential().clone(), caller.key_record());
        let user = self.identity(credential, key, user, name).await?;
        Ok(user.called_by(caller))
    }

    /// The cached entry, if it may be served as it is.
    pub(super) fn fresh(&self, key: &RecordKey) -> Option<Arc<Entry>> {
        self.entries.get(key).filter(|entry| self.is_fresh(entry))
    }

    /// Whether an entry may be served as it is: one that is in the cache, or was and nothing became of it since.
    pub(super) fn is_fresh(&self, entry: &Entry) -> bool {
        !entry.is_outdated() && self.freshness.judge(entry.stamp) == Verdict::Fresh
    }

    fn cached(&self, key: &RecordKey) -> Option<Arc<Entry>> {
        let entry = self.entries.get(key)?;
        (!entry.is_outdated()).then_some(entry)
    }

    /// As [`Inner::entry`], with its key.
    pub(super) async fn held(self: &Arc<Self>, key: RecordKey) -> Result<Held, StoreError> {
        let entry = self.entry(key.clone()).await?;
        Ok(Held { key, entry })
    }

    pub(super) async fn entry(self: &Arc<Self>, key: RecordKey) -> Result<Arc<Entry>, StoreError> {
        match self.fresh(&key) {
            Some(entry) => {
                self.counts.hits.add();
                Ok(entry)
            }
            // Boxed, as it is seldom: otherwise the future of every request had room for it.
            None => Box::pin(self.first_of([key])).await,
        }
    }

    /// Reads `keys` in one round trip and gives the entry of the first; the stale one when the
    /// store cannot be reached and the rule allows it.
    pub(super) async fn first_of<const N: usize>(
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

    /// Reads `keys` in one round trip, whatever the cache holds, and gives the entry of the first.
    pub(super) async fn load_anew(
        self: &Arc<Self>,
        keys: &[RecordKey],
    ) -> Result<Arc<Entry>, StoreError> {
        self.load(keys, || None).await
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
            if let Some(known) = &known
                && !dirty
                && self.says_nothing_new(&read, known)
            {
                return known.clone();
            }
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

    /// Whether what was read is what is cached and served already. Who watches it is not told then: else one
    /// member of a group who makes it be read wakes the streams of all.
    fn says_nothing_new(&self, read: &Entry, known: &Entry) -> bool {
        let same = read.version.is_some() && read.version == known.version && !known.kept;
        same && self.is_fresh(known)
    }

    /// What is cached under `key` is no longer served. What it tells of the record's past stays.
    pub(super) fn forget(&self, key: &RecordKey) {
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
