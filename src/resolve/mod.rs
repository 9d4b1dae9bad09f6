//! From a key's digest to who it belongs to and what sealed secrets he has: from the cache when it
//! is known to be right, else from the store, in two round trips at most.
//!
//! `freshness` decides whether an entry may be served, `entry` is what is cached, `entries` the cache,
//! `denial` what is believed when the store goes back in time, `flights` makes one read of many,
//! `source` asks the store, `inner` does all of it, `reminder` tells whose a key was a moment ago,
//! `follow` hears of changes, `statics` are keys of the configuration. The cache holds keys, users and
//! groups opened and verified, secrets sealed. Groups are few and shared by many, so a cold key of their
//! members still costs two round trips.

mod denial;
mod entries;
mod entry;
mod figures;
mod flights;
mod follow;
mod freshness;
mod identity;
mod inner;
#[cfg(test)]
mod model;
mod reminder;
mod source;
mod statics;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::select_all;
use tokio::runtime::Handle;
use tokio::time::sleep;

use entries::Entries;
use entry::{Content, Entry, Held, RecordKey};
use figures::Counts;
pub use figures::{Figures, Watch};
use flights::Flights;
use follow::follow;
use freshness::{Freshness, RECHECK};
use identity::Credential;
pub use identity::Identity;
use inner::Inner;
pub(crate) use reminder::Reminder;
use source::Source;
use statics::Statics;
pub use statics::{StaticKey, StaticKeys};

use crate::identity::KeyDigest;
use crate::names::UserName;
use crate::store::{RecordId, Store, StoreError};
use crate::vault::{KeptSet, KeyRecord, Limits, OpenError, Reader, SecretRef, UserId};

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

/// Finds out whose a key is. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

impl Resolver {
    /// A resolver that reads `store` and follows its changes, on the runtime it is made on.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, reader: Reader, settings: &Settings) -> Self {
        let events = store.watch();
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let inner = Arc::new(Inner {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            source: Source::new(store),
            counts: Counts::new(settings.lag.clone()),
            reader,
            entries: Entries::new(settings.cache_bytes),
            flights: Flights::default(),
            freshness: Freshness::new(),
            statics: Statics::default(),
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
        let key = inner.held(RecordKey::Key(digest)).await?;
        let record = match &key.entry.content {
            Content::Key(record) => record,
            Content::Unreadable(error) => return Err(Unreadable::Open(error.clone()).into()),
            _ => return Err(ResolveError::Unknown),
        };
        let user_key = RecordKey::User(record.user);
        let entry = match (inner.fresh(&user_key), wants) {
            (Some(user), _) => {
                inner.counts.hits.add();
                user
            }
            (None, None) => inner.entry(user_key.clone()).await?,
            (None, Some((server, profile))) => {
                let profile = record.profile.as_deref().unwrap_or(profile);
                let set = inner.reader.secrets_record(record.user, server, profile);
                let keys = [user_key.clone(), RecordKey::Secrets(set)];
                Box::pin(inner.first_of(keys)).await?
            }
        };
        let user = Held {
            key: user_key,
            entry,
        };
        let (credential, record) = (Credential::Issued(digest), record.clone());
        inner.identity(credential, record, user, [key]).await
    }

    /// The keys of the configuration, in place of those there were. Who is served by one that is gone is
    /// told by [`Resolver::changed`].
    pub fn set_static_keys(&self, keys: StaticKeys) {
        self.0.statics.set(keys);
    }

    /// The key of the configuration that is presented, if it is one.
    #[must_use]
    pub fn static_key(&self, presented: &[u8]) -> Option<Arc<StaticKey>> {
        self.0.statics.find(presented)
    }

    /// The key of the configuration that has this digest, if one has.
    #[must_use]
    pub fn static_key_of(&self, digest: &KeyDigest) -> Option<Arc<StaticKey>> {
        self.0.statics.get(digest)
    }

    /// Who a request without a key comes from, if that is anybody.
    #[must_use]
    pub fn default_user(&self) -> Option<Arc<StaticKey>> {
        self.0.statics.default_user()
    }

    /// Whose a key of the configuration is.
    ///
    /// # Errors
    /// See [`ResolveError`]; [`ResolveError::Unknown`] if its user is not there.
    pub async fn identify_static(&self, key: Arc<StaticKey>) -> Result<Identity, ResolveError> {
        let inner = &self.0;
        let (name, user) = inner.user_named(&key.user).await?;
        let record = KeyRecord {
            user: user_of(&name.entry)?,
            name: Some(key.label.clone()),
            profile: key.profile.as_ref().map(ToString::to_string),
            created: 0,
            expires: None,
            revoked: None,
            limits: Limits::default(),
        };
        let credential = Credential::Static(key);
        inner
            .identity(credential, record.into(), user, [name])
            .await
    }

    /// The user `name`, called for by `caller`. Whether he may is for [`crate::policy`] to judge.
    ///
    /// # Errors
    /// See [`ResolveError`]; [`ResolveError::Unknown`] if there is no such user.
    pub async fn on_behalf(
        &self,
        caller: &Identity,
        name: &UserName,
    ) -> Result<Identity, ResolveError> {
        let inner = &self.0;
        let (name, user) = inner.user_named(name).await?;
        inner.acted_for(caller, user, Some(name)).await
    }

    /// The sealed secrets of a user for a server and profile: his own first, then those his groups share,
    /// in the order he joined them.
    ///
    /// # Errors
    /// [`Unreadable`] when a record lists a set that is not there, or is older than listed: also a
    /// group's, though the user may have all he needs himself.
    pub async fn secrets(
        &self,
        identity: &Identity,
        server: &str,
        profile: &str,
    ) -> Result<Vec<Sealed>, ResolveError> {
        let own = identity
            .loaded()
            .set(server, profile)
            .map(|set| (set, None));
        let shared = identity.loaded_groups().iter().filter_map(|group| {
            let name = &group.record.name;
            Some((group.set(server, profile)?, Some(name.clone())))
        });
        let mut found = Vec::new();
        for ((entry, place), group) in own.into_iter().chain(shared) {
            let set = self.sealed(entry, place).await?;
            found.push(Sealed { set, group });
        }
        Ok(found)
    }

    async fn sealed(
        &self,
        listed: &SecretRef,
        place: &RecordId,
    ) -> Result<Arc<KeptSet>, ResolveError> {
        let key = RecordKey::Secrets(place.clone());
        let mut found = self.0.entry(key.clone()).await?;
        // The two records are cached apart: one may have been read before a change and one after.
        if !matches!(&found.content, Content::Secrets(set) if set.record().version >= listed.version)
        {
            found = Box::pin(self.0.load_anew(&[key])).await?;
        }
        match &found.content {
            Content::Secrets(set) if set.record().version < listed.version => {
                Err(Unreadable::PutBack.into())
            }
            Content::Secrets(set) => Ok(set.clone()),
            Content::Unreadable(error) => Err(Unreadable::Open(error.clone()).into()),
            _ => Err(Unreadable::Gone.into()),
        }
    }

    /// Waits until something about a key or its user may have changed since `identity` was made,
    /// or `at_most` has passed. Then [`Resolver::identify`] tells what is so now.
    pub async fn changed(&self, identity: &Identity, at_most: Duration) {
        let freshness = &self.0.freshness;
        let mut epochs = freshness.epochs();
        let mut statics = self.0.statics.changes();
        let entries = identity.entries().iter().map(|held| held.entry.changes());
        let mut entries: Vec<_> = entries.collect();
        if !freshness.pushed() {
            return sleep(at_most.min(RECHECK)).await;
        }
        // Whatever happened before the subscriptions shows here. The pause keeps callers who go
        // round from spinning while the store cannot be read.
        if self.outdated(identity) {
            return sleep(at_most.min(PAUSE)).await;
        }
        let changed = entries.iter_mut().map(|entry| Box::pin(entry.changed()));
        tokio::select! {
            _ = select_all(changed) => {}
            _ = epochs.changed() => {}
            _ = statics.changed() => {}
            () = sleep(at_most) => {}
        }
    }

    /// Reads the identity's key again.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn again(&self, identity: &Identity) -> Result<Identity, ResolveError> {
        let inner = &self.0;
        let caller = match identity.credential() {
            Credential::Issued(digest) => self.identify(*digest, None).await?,
            Credential::Static(key) => {
                let key = inner.statics.again(key).ok_or(ResolveError::Unknown)?;
                self.identify_static(key).await?
            }
        };
        if !identity.is_acted_for() {
            // Another user under the name in the configuration is somebody else.
            let same = caller.user_id() == identity.user_id();
            return same.then_some(caller).ok_or(ResolveError::Unknown);
        }
        let user = inner.held(RecordKey::User(identity.user_id())).await?;
        inner.acted_for(&caller, user, None).await
    }

    /// The identity with the records of its user and his groups as they are in the store, whatever is
    /// cached: for what may have been written a moment ago by who asks now.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn reread(&self, identity: &Identity) -> Result<Identity, ResolveError> {
        let inner = &self.0;
        let key = RecordKey::User(identity.user_id());
        let groups = identity.loaded_groups().iter();
        let groups = groups.map(|group| RecordKey::Group(group.id));
        let keys: Vec<_> = [key.clone()].into_iter().chain(groups).collect();
        let entry = inner.load_anew(&keys).await?;
        if identity.is_acted_for() {
            return self.again(identity).await;
        }
        let others = identity.entries().iter();
        let others = others.filter(|held| held.key.is_of_a_key()).cloned();
        let (credential, record) = (identity.credential().clone(), identity.key_record());
        inner
            .identity(credential, record, Held { key, entry }, others)
            .await
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
        let is_outdated = |held: &Held| {
            let now = self.0.fresh(&held.key);
            !now.is_some_and(|now| Arc::ptr_eq(&now, &held.entry))
        };
        let gone = match identity.credential() {
            Credential::Issued(_) => false,
            // Also the same key for another user, or by another profile.
            Credential::Static(key) => {
                let now = self.0.statics.again(key);
                !now.is_some_and(|now| Arc::ptr_eq(&now, key))
            }
        };
        gone || identity.entries().iter().any(is_outdated)
    }
}

/// A secret set, as it was read.
pub struct Sealed {
    /// Still sealed.
    pub set: Arc<KeptSet>,
    /// The name of the group that shares it; none for the user's own.
    pub group: Option<String>,
}

fn user_of(name: &Entry) -> Result<UserId, ResolveError> {
    match &name.content {
        Content::Name(user) => Ok(*user),
        Content::Unreadable(error) => Err(Unreadable::Open(error.clone()).into()),
        _ => Err(ResolveError::Unknown),
    }
}
