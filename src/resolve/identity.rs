//! Who a key belongs to, verified.

use std::fmt;
use std::sync::Arc;

use super::entry::{Content, Held, LoadedGroup, LoadedUser};
use super::statics::StaticKey;
use crate::identity::{KeyDigest, KeyId};
use crate::vault::{Access, GroupId, GroupRecord, KeyRecord, UserId, UserRecord};

/// A key's owner, as the vault's records say. Only [`super::Resolver`] makes one, from a key that was
/// presented, or, where there is a default user, from none. Every request asks it for its own, which is that of
/// the one before for as long as the records are the same (`reminder`). Cheap to clone.
///
/// That the key has expired, the user is disabled, or may not act for another, is for [`crate::policy`]
/// to judge.
#[derive(Clone)]
pub struct Identity(Arc<Facts>);

/// How a request says who it is.
#[derive(Clone)]
pub(super) enum Credential {
    /// By a key whose record is in the store.
    Issued(KeyDigest),
    /// By a key of the configuration, or as its default user.
    Static(Arc<StaticKey>),
}

struct Facts {
    credential: Credential,
    key: Arc<KeyRecord>,
    user: Arc<LoadedUser>,
    groups: Vec<Arc<LoadedGroup>>,
    /// Whose key it is, where that is somebody who acts for the user.
    actor: Option<Arc<LoadedUser>>,
    /// Where all of it came from: tells when something changes.
    entries: Vec<Held>,
}

impl Credential {
    pub(super) fn digest(&self) -> KeyDigest {
        match self {
            Self::Issued(digest) => *digest,
            Self::Static(key) => key.digest,
        }
    }
}

impl Identity {
    /// From the record of a user and those of his groups; `None` unless they are that. `others` is whatever
    /// else it came from.
    pub(super) fn new(
        credential: Credential,
        key: Arc<KeyRecord>,
        user: Held,
        groups: Vec<Held>,
        others: impl IntoIterator<Item = Held>,
    ) -> Option<Self> {
        let Content::User(found) = &user.entry.content else {
            return None;
        };
        let loaded = groups.iter().map(|held| match &held.entry.content {
            Content::Group(group) => Some(group.clone()),
            _ => None,
        });
        Some(Self(Arc::new(Facts {
            credential,
            key,
            user: found.clone(),
            groups: loaded.collect::<Option<_>>()?,
            actor: None,
            entries: [user].into_iter().chain(groups).chain(others).collect(),
        })))
    }

    /// The same, for a caller who acts for this user.
    pub(super) fn called_by(self, actor: &Self) -> Self {
        let facts = &*self.0;
        Self(Arc::new(Facts {
            credential: actor.0.credential.clone(),
            key: actor.0.key.clone(),
            user: facts.user.clone(),
            groups: facts.groups.clone(),
            actor: Some(actor.0.user.clone()),
            entries: facts
                .entries
                .iter()
                .chain(&actor.0.entries)
                .cloned()
                .collect(),
        }))
    }

    /// The key's record.
    #[must_use]
    pub fn key(&self) -> &KeyRecord {
        &self.0.key
    }

    /// The user for good.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.0.user.id
    }

    /// The user's name.
    #[must_use]
    pub fn user_name(&self) -> &str {
        &self.user().name
    }

    /// The user's record.
    #[must_use]
    pub fn user(&self) -> &UserRecord {
        &self.0.user.record
    }

    /// Who calls for the user, if it is somebody else.
    #[must_use]
    pub fn actor(&self) -> Option<&UserRecord> {
        self.0.actor.as_ref().map(|actor| &actor.record)
    }

    /// Whether the user is disabled.
    #[must_use]
    pub fn disabled(&self) -> bool {
        self.user().disabled
    }

    /// The groups the user is in, in the order he joined.
    pub fn groups(&self) -> impl Iterator<Item = &GroupRecord> {
        self.0.groups.iter().map(|group| &group.record)
    }

    /// What the user's record and those of his groups say of access.
    pub fn access(&self) -> impl Iterator<Item = &Access> + Clone {
        let groups = self.0.groups.iter().map(|group| &group.record.access);
        std::iter::once(&self.user().access).chain(groups)
    }

    /// Whether the user, or a group of his, has secrets for a server in a profile.
    #[must_use]
    pub fn has_secrets(&self, server: &str, profile: &str) -> bool {
        let shared = || {
            self.groups()
                .any(|group| group.sets.get(server, profile).is_some())
        };
        self.user().sets.get(server, profile).is_some() || shared()
    }

    /// The groups of the user that have secrets for a server, each with a profile it has them in.
    pub fn shares(&self, server: &str) -> impl Iterator<Item = (GroupId, &str)> {
        self.0.groups.iter().flat_map(move |group| {
            let sets = group.record.sets.secrets.iter();
            let sets = sets.filter(move |set| set.server == server);
            sets.map(|set| (group.id, &*set.profile))
        })
    }

    /// The name of the key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.digest().key_id()
    }

    /// The digest of the key.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        self.0.credential.digest()
    }

    pub(super) fn key_record(&self) -> Arc<KeyRecord> {
        self.0.key.clone()
    }

    pub(super) fn credential(&self) -> &Credential {
        &self.0.credential
    }

    pub(super) fn is_acted_for(&self) -> bool {
        self.0.actor.is_some()
    }

    pub(super) fn loaded(&self) -> &LoadedUser {
        &self.0.user
    }

    pub(super) fn loaded_groups(&self) -> &[Arc<LoadedGroup>] {
        &self.0.groups
    }

    pub(super) fn entries(&self) -> &[Held] {
        &self.0.entries
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("user", &self.user_name())
            .field("key", &self.key_id().as_str())
            .finish_non_exhaustive()
    }
}
