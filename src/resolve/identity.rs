//! Who a key belongs to, verified.

use std::fmt;
use std::sync::Arc;

use super::entry::{Content, Entry, LoadedUser};
use crate::identity::{KeyDigest, KeyId};
use crate::vault::{KeyRecord, UserId};

/// A key's owner, as the vault's records say. Only [`super::Resolver`] makes one, from a key that
/// was presented with this very request.
///
/// That the key has expired or the user is disabled is for [`crate::policy`] to judge.
#[derive(Clone)]
pub struct Identity {
    digest: KeyDigest,
    key: Arc<KeyRecord>,
    user: Arc<LoadedUser>,
    /// Where the two came from: tells when they change.
    entries: [Arc<Entry>; 2],
}

impl Identity {
    /// `None` unless the entries are a key's and its user's.
    pub(super) fn new(digest: KeyDigest, key: &Arc<Entry>, user: &Arc<Entry>) -> Option<Self> {
        let entries = [key.clone(), user.clone()];
        match (&key.content, &user.content) {
            (Content::Key(key), Content::User(user)) => Some(Self {
                digest,
                key: key.clone(),
                user: user.clone(),
                entries,
            }),
            _ => None,
        }
    }

    /// The key's record.
    #[must_use]
    pub fn key(&self) -> &KeyRecord {
        &self.key
    }

    /// The user for good.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.key().user
    }

    /// The user's name.
    #[must_use]
    pub fn user_name(&self) -> &str {
        &self.loaded().record.name
    }

    /// Whether the user is disabled.
    #[must_use]
    pub fn disabled(&self) -> bool {
        self.loaded().record.disabled
    }

    /// Whether the user has secrets for a server in a profile.
    #[must_use]
    pub fn has_secrets(&self, server: &str, profile: &str) -> bool {
        let sets = &self.loaded().record.secrets;
        sets.iter()
            .any(|set| set.server == server && set.profile == profile)
    }

    /// The name of the key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.digest.key_id()
    }

    pub(super) fn digest(&self) -> KeyDigest {
        self.digest
    }

    pub(super) fn loaded(&self) -> &LoadedUser {
        &self.user
    }

    pub(super) fn entries(&self) -> &[Arc<Entry>; 2] {
        &self.entries
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
