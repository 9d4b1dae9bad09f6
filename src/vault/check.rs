//! Check values: a store remembers which keyring it belongs to, so that a wrong one is refused at
//! start and not by every request.

use super::crypto::equal;
use super::{Vault, envelope, ids, next_version};
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
        let values = self.ring.check_values();
        let ids: Vec<_> = values
            .iter()
            .map(|(name, _)| ids::key_check(name))
            .collect();
        let found = self.store.get_many(&ids).await?;
        let known = found.iter().any(Option::is_some);
        if !known && !self.is_empty().await? {
            return Err(CheckError::UnknownKeyring);
        }
        for ((id, (name, value)), record) in ids.iter().zip(&values).zip(&found) {
            match record {
                Some(record) => {
                    let kept = envelope::open_plain(&self.ring, record);
                    if !kept.is_ok_and(|kept| equal(&kept, &value[..])) {
                        return Err(CheckError::WrongKeyring(name.clone()));
                    }
                }
                None if self.ring.can_sign() => {
                    let record =
                        envelope::seal_plain(&self.ring, id, next_version(None), &value[..]);
                    match self.store.put_if(record, None).await {
                        // Another process began the same store at the same moment.
                        Ok(()) | Err(WriteError::Conflict) => {}
                        Err(WriteError::Store(error)) => return Err(error.into()),
                    }
                }
                None => {}
            }
        }
        Ok(())
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
