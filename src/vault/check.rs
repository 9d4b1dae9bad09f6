//! Check values: a store remembers which keyring it belongs to, so that a wrong one is refused at
//! start and not by every request.

use super::crypto::equal;
use super::{OpenError, Vault, envelope, ids, next_version};
use crate::store::{StoreError, WriteError};

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

impl Vault {
    /// Checks that this keyring is the store's; an empty store is begun with it.
    ///
    /// # Errors
    /// When they do not belong together, or the store does not answer.
    pub async fn check_keyring(&self) -> Result<(), CheckError> {
        if self.known_keys().await? == 0 {
            if !self.is_empty().await? {
                return Err(CheckError::UnknownKeyring);
            }
            self.note_keys().await?;
        }
        Ok(())
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
        for (name, value) in self.ring.check_values() {
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

    /// How many of the keyring's keys the store knows, which all are the same there.
    async fn known_keys(&self) -> Result<usize, CheckError> {
        let values = self.ring.check_values();
        let ids: Vec<_> = values
            .iter()
            .map(|(name, _)| ids::key_check(name))
            .collect();
        let found = self.store.get_many(&ids).await?;
        for ((name, value), record) in values.iter().zip(&found) {
            match record
                .as_ref()
                .map(|record| envelope::open_plain(&self.ring, record))
            {
                None => {}
                Some(Ok(kept)) if equal(&kept, &value[..]) => {}
                Some(Err(OpenError::NoKey(id))) => {
                    return Err(CheckError::OldKeyring(format!("realm:{id}")));
                }
                Some(_) => return Err(CheckError::WrongKeyring(name.clone())),
            }
        }
        Ok(found.iter().flatten().count())
    }

    async fn is_empty(&self) -> Result<bool, StoreError> {
        for prefix in ["c/", "u/", "k/"] {
            if !self.store.page(prefix, None, 1).await?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
