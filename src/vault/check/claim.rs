//! New keys are claimed in the store before a file says them: of two copies of the file only one gets a
//! key of a name, and the other stays as it was.

use super::super::{KeyName, Keyring, Vault, VaultError, envelope, ids, next_version, wrote};
use super::CheckError;
use crate::vault::crypto::equal;

impl Vault {
    /// Has the store remember the keys of `coming` that this keyring lacks: all, or none and the one
    /// that another file has another key for. Asked again with the same it says the same.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn claim_keys(&self, coming: &Keyring) -> Result<Option<KeyName>, VaultError> {
        let ours = self.ring.check_values();
        let mut claimed = Vec::new();
        for (name, value) in coming.check_values() {
            if ours.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let id = ids::key_check(&name);
            let record = envelope::seal_plain(&self.ring, &id, next_version(None), &value[..]);
            let is_ours = wrote(self.store.put_if(record, None).await)?
                || self.get(&id).await?.is_some_and(|record| {
                    let kept = envelope::open_plain(&self.ring, &record);
                    kept.is_ok_and(|kept| equal(&kept, &value[..]))
                });
            if !is_ours {
                // They were for a file that is not to be.
                for id in &claimed {
                    self.delete(id).await?;
                }
                return Ok(KeyName::of_check_name(&name));
            }
            claimed.push(id);
        }
        Ok(None)
    }

    /// Every key the store knows as retired: its name is never given again.
    ///
    /// # Errors
    /// When the store does not answer, or a check value does not open.
    pub async fn retired_keys(&self) -> Result<Vec<KeyName>, CheckError> {
        let mut retired = Vec::new();
        let mut pages = self.pages("c/");
        while let Some(page) = pages.next().await? {
            for record in &page {
                let name = ids::checked_key(&record.id).unwrap_or_default();
                let Some(key) = KeyName::of_check_name(&name) else {
                    continue;
                };
                if self.opened_check(&name, record)?.1 {
                    retired.push(key);
                }
            }
        }
        Ok(retired)
    }
}
