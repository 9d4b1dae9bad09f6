//! Keys that the configuration maps to users, and the user of whoever brings no key.
//!
//! The table outlives a configuration: whoever is served by a key that is not in the next one is denied as
//! if it had been revoked.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::identity::KeyDigest;
use crate::names::{ProfileName, UserName};

/// A key of the configuration, or its default user.
pub struct StaticKey {
    /// Its digest; that of nothing at all for the default user.
    pub digest: KeyDigest,
    /// What the configuration calls it.
    pub label: String,
    /// Whose it is.
    pub user: UserName,
    /// The profile it uses where the path names none.
    pub profile: Option<ProfileName>,
}

/// All keys of a configuration.
#[derive(Default)]
pub struct StaticKeys {
    keys: HashMap<KeyDigest, Arc<StaticKey>>,
    default_user: Option<Arc<StaticKey>>,
}

impl StaticKeys {
    /// These keys, and the user of requests without one.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = StaticKey>, default_user: Option<UserName>) -> Self {
        let keys = keys.into_iter().map(|key| (key.digest, Arc::new(key)));
        let default_user = default_user.map(|user| {
            Arc::new(StaticKey {
                digest: KeyDigest::of_nothing(),
                label: "default user".to_owned(),
                user,
                profile: None,
            })
        });
        Self {
            keys: keys.collect(),
            default_user,
        }
    }
}

/// Those of the configuration in force.
pub(super) struct Statics(watch::Sender<Arc<StaticKeys>>);

impl Default for Statics {
    fn default() -> Self {
        Self(watch::Sender::new(Arc::default()))
    }
}

impl Statics {
    pub(super) fn set(&self, keys: StaticKeys) {
        self.0.send_replace(Arc::new(keys));
    }

    /// The key that is presented, if it is one of them.
    pub(super) fn find(&self, presented: &[u8]) -> Option<Arc<StaticKey>> {
        let now = self.0.borrow();
        if now.keys.is_empty() {
            return None;
        }
        now.keys.get(&KeyDigest::of_any(presented)?).cloned()
    }

    /// The one that has this digest.
    pub(super) fn get(&self, digest: &KeyDigest) -> Option<Arc<StaticKey>> {
        self.0.borrow().keys.get(digest).cloned()
    }

    pub(super) fn default_user(&self) -> Option<Arc<StaticKey>> {
        self.0.borrow().default_user.clone()
    }

    /// What stands in the configuration now under the same digest.
    pub(super) fn again(&self, key: &StaticKey) -> Option<Arc<StaticKey>> {
        let now = self.0.borrow();
        let of_default = || {
            now.default_user
                .as_ref()
                .filter(|user| user.digest == key.digest)
        };
        now.keys.get(&key.digest).or_else(of_default).cloned()
    }

    pub(super) fn changes(&self) -> watch::Receiver<Arc<StaticKeys>> {
        self.0.subscribe()
    }
}
