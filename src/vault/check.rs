//! Check values: a store remembers which keyring it belongs to, so that a wrong one is refused at
//! start and not by every request. And it remembers which keys were retired: who would still write with
//! one, by a copy of the file from before, is refused too, else nothing would ever be rid of it.
//!
//! A record `c/<key>` holds the key's check value, if it has one, and after it [`RETIRED`] once it is
//! retired. The realm's active key seals it.

mod claim;
#[cfg(test)]
mod tests;

use super::crypto::equal;
use super::{KeyKind, KeyName, OpenError, Vault, VaultError, envelope, ids, next_version};
use crate::store::{Record, StoreError, WriteError};

/// What a retired key's record ends with.
const RETIRED: &[u8] = b" retired";

/// Why a keyring and a store do not belong together.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CheckError {
    /// The store was begun with another keyring.
    #[error(
        "the keyring is not the one this store was begun with (its key `{0}` differs): name the \
         right file in [keyring] file, or another store"
    )]
    WrongKeyring(String),
    /// What the store holds is sealed by a key that came after this keyring.
    #[error(
        "this keyring lacks the key `{0}`, which the store's records are sealed by: bring the current \
         keyring file here (see `cloakroom keyring rotate`)"
    )]
    OldKeyring(String),
    /// It would write with a key that was retired.
    #[error(
        "this keyring would write with the key `{0}`, which `cloakroom keyring retire` has retired: bring \
         the current keyring file here"
    )]
    RetiredKey(KeyName),
    /// It would write with a key the store does not know, though it knows others.
    #[error(
        "this keyring would write with the key `{0}`, which the store does not know: bring the current \
         keyring file here; if this is it, because the key was put first by hand, run `cloakroom keyring \
         rotate`"
    )]
    UnknownKey(KeyName),
    /// The store holds records but knows none of the keyring's keys.
    #[error(
        "this store was begun with another keyring: none of this keyring's keys is known to it; \
         name the right file in [keyring] file, or another store"
    )]
    UnknownKeyring,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the store says of one key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unknown,
    Known,
    Retired,
}

impl Vault {
    /// Checks that this keyring is the store's, and the current one as far as it writes; a store that is empty,
    /// or that another process is about to begin, is begun with it.
    ///
    /// # Errors
    /// When they do not belong together, or the store does not answer.
    pub async fn check_keyring(&self) -> Result<(), CheckError> {
        self.check_before_rotation().await?;
        // Asked before the keys are: once it is begun, all of its keys are known.
        if !self.is_begun().await? {
            // Another process is at it. What this one writes next must not come before its last key.
            return self.note_keys().await;
        }
        let values = self.ring.check_values();
        let mut active = self.ring.active();
        active.retain(|key| values.iter().any(|(name, _)| *name == key.check_name()));
        let active = self.standings(active).await?;
        match active.into_iter().find(|(_, is)| *is == Standing::Unknown) {
            Some((key, _)) => Err(CheckError::UnknownKey(key)),
            None => Ok(()),
        }
    }

    /// Whether nobody has begun the store yet, or not to its end; looks only.
    ///
    /// # Errors
    /// When the store does not answer, or knows another key under a name of this keyring's.
    pub async fn is_unused(&self) -> Result<bool, CheckError> {
        if self.known_keys().await? == 0 {
            return Ok(self.is_empty().await?);
        }
        Ok(!self.is_begun().await?)
    }

    /// As [`Vault::check_keyring`], but a key that was put first by hand need not be known yet: a
    /// rotation makes it known.
    ///
    /// # Errors
    /// When they do not belong together, or the store does not answer.
    pub async fn check_before_rotation(&self) -> Result<(), CheckError> {
        if self.known_keys().await? == 0 {
            if self.is_empty().await? {
                self.note_keys().await?;
            } else if self.known_keys().await? == 0 {
                // Looked for again: another process may have begun the store between the two looks.
                return Err(CheckError::UnknownKeyring);
            }
        }
        let active = self.standings(self.ring.active()).await?;
        match active.into_iter().find(|(_, is)| *is == Standing::Retired) {
            Some((key, _)) => Err(CheckError::RetiredKey(key)),
            None => Ok(()),
        }
    }

    /// Has the store remember every key of this keyring that it does not know, so that another of the
    /// same name is refused. A sidecar's keyring leaves it as it is.
    ///
    /// # Errors
    /// When a key differs from the one the store knows, or the store does not answer.
    pub async fn note_keys(&self) -> Result<(), CheckError> {
        if !self.ring.can_sign() {
            return Ok(());
        }
        let mut values = self.ring.check_values();
        // The index key's comes last: it says that the others are there (see `is_begun`).
        values.sort_by_key(|(name, _)| is_index(name));
        for (name, value) in values {
            let id = ids::key_check(&name);
            let record = envelope::seal_plain(&self.ring, &id, next_version(None), &value[..]);
            match self.store.put_if(record, None).await {
                // Known already, or noted by another process at the same moment.
                Ok(()) | Err(WriteError::Conflict) => {}
                Err(WriteError::Store(error)) => return Err(error.into()),
            }
        }
        self.known_keys().await.map(drop)
    }

    /// Has the store remember that `key` is retired, whether or not it knew it: from then on no process
    /// starts that would write with it.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn retire_key(&self, key: &KeyName) -> Result<(), VaultError> {
        let values = self.ring.check_values();
        let name = key.check_name();
        let value = values.iter().find(|(of, _)| *of == name);
        let mut payload = value.map_or(Vec::new(), |(_, value)| value.to_vec());
        payload.extend_from_slice(RETIRED);
        self.put_check(key, &payload).await
    }

    /// Takes back what [`Vault::retire_key`] did.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn keep_key(&self, key: &KeyName) -> Result<(), VaultError> {
        let values = self.ring.check_values();
        let name = key.check_name();
        match values.iter().find(|(of, _)| *of == name) {
            Some((_, value)) => self.put_check(key, &value[..]).await,
            None => self.delete(&ids::key_check(&name)).await,
        }
    }

    async fn put_check(&self, key: &KeyName, payload: &[u8]) -> Result<(), VaultError> {
        self.ring.require_sign()?;
        self.put_plain(&ids::key_check(&key.check_name()), payload)
            .await
    }

    /// How many of the keyring's keys the store knows, which all are the same there.
    async fn known_keys(&self) -> Result<usize, CheckError> {
        let values = self.ring.check_values();
        let found = self
            .checks(values.iter().map(|(name, _)| name.as_str()))
            .await?;
        for ((name, value), record) in values.iter().zip(&found) {
            let Some(record) = record else {
                continue;
            };
            let (kept, _) = self.opened_check(name, record)?;
            if !equal(&kept, &value[..]) {
                return Err(CheckError::WrongKeyring(name.clone()));
            }
        }
        Ok(found.iter().flatten().count())
    }

    async fn standings(&self, keys: Vec<KeyName>) -> Result<Vec<(KeyName, Standing)>, CheckError> {
        let names: Vec<_> = keys.iter().map(KeyName::check_name).collect();
        let found = self.checks(names.iter().map(String::as_str)).await?;
        let mut standings = Vec::new();
        for ((key, name), record) in keys.into_iter().zip(&names).zip(&found) {
            let standing = match record {
                None => Standing::Unknown,
                Some(record) if self.opened_check(name, record)?.1 => Standing::Retired,
                Some(_) => Standing::Known,
            };
            standings.push((key, standing));
        }
        Ok(standings)
    }

    async fn checks(
        &self,
        names: impl Iterator<Item = &str>,
    ) -> Result<Vec<Option<Record>>, StoreError> {
        let ids: Vec<_> = names.map(ids::key_check).collect();
        self.store.get_many(&ids).await
    }

    /// The check value that a record holds, and whether its key is retired.
    fn opened_check(&self, name: &str, record: &Record) -> Result<(Vec<u8>, bool), CheckError> {
        let payload = match envelope::open_plain(&self.ring, record) {
            Ok(payload) => payload,
            Err(OpenError::NoKey(id)) => {
                return Err(CheckError::OldKeyring(format!("{}:{id}", KeyKind::Realm)));
            }
            Err(_) => return Err(CheckError::WrongKeyring(name.to_owned())),
        };
        Ok(match payload.strip_suffix(RETIRED) {
            Some(value) => (value.to_vec(), true),
            None => (payload.to_vec(), false),
        })
    }

    /// Whether who began the store was done with it, so that a key it does not know is none of its own.
    async fn is_begun(&self) -> Result<bool, CheckError> {
        let values = self.ring.check_values();
        let names = values.iter().map(|(name, _)| name.as_str());
        let index = self.checks(names.filter(|name| is_index(name))).await?;
        Ok(index.iter().flatten().count() > 0 || self.holds_users().await?)
    }

    async fn holds_users(&self) -> Result<bool, StoreError> {
        for prefix in ["u/", "k/"] {
            if !self.store.page(prefix, None, 1).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.store.page("c/", None, 1).await?.is_empty() && !self.holds_users().await?)
    }
}

fn is_index(name: &str) -> bool {
    name.starts_with("index:")
}
