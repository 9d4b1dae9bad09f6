//! Keys of administrators: issue, find, list, revoke. They open the admin API and nothing else, as keys of
//! users open servers and nothing else.

use std::time::Duration;

use super::keys::status;
use super::record::{AdminKeyRecord, Role};
use super::{ATTEMPTS, OpenError, Vault, VaultError, ids, now_seconds, opened};
use crate::identity::{AdminKey, KeyDigest, KeyId};
use crate::names::UserName;
use crate::store::{Record, RecordId};

/// An administrator's key that was just made: the only moment at which it can be read.
pub struct IssuedAdminKey {
    /// The key itself.
    pub key: AdminKey,
    /// How it is named from now on.
    pub id: KeyId,
    /// Unix seconds from which it is refused.
    pub expires: Option<u64>,
}

/// An administrator's key as the vault knows it.
pub struct AdminKeyInfo {
    /// How it is named.
    pub id: KeyId,
    /// What its record says.
    pub record: AdminKeyRecord,
}

impl AdminKeyInfo {
    /// Whether it is accepted now.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.status() == "usable"
    }

    /// `usable`, `revoked` or `expired`.
    #[must_use]
    pub fn status(&self) -> &'static str {
        status(self.record.revoked, self.record.expires)
    }
}

impl Vault {
    /// Makes a key for an administrator.
    ///
    /// # Errors
    /// When nothing could be written.
    pub async fn issue_admin_key(
        &self,
        name: &UserName,
        role: Role,
        ttl: Option<Duration>,
    ) -> Result<IssuedAdminKey, VaultError> {
        let key = AdminKey::generate();
        let digest = key.digest();
        let created = now_seconds();
        let record = AdminKeyRecord {
            name: name.to_string(),
            role,
            created,
            expires: ttl.map(|ttl| created.saturating_add(ttl.as_secs())),
            revoked: None,
        };
        if !self
            .put(&ids::admin_key_record(&digest), None, &record)
            .await?
        {
            return Err(VaultError::Contended);
        }
        Ok(IssuedAdminKey {
            key,
            id: digest.key_id(),
            expires: record.expires,
        })
    }

    /// Whose key has this digest, as the store knows it now; also one that does not stand.
    ///
    /// # Errors
    /// What keeps the record from being read.
    pub async fn admin_key(&self, digest: &KeyDigest) -> Result<Option<AdminKeyInfo>, VaultError> {
        let record = self.get(&ids::admin_key_record(digest)).await?;
        record
            .map(|record| self.open_admin_key(&record))
            .transpose()
    }

    /// At most `limit` keys after `after`, also revoked and expired ones. Fewer: there are no more.
    ///
    /// # Errors
    /// When the store or a record cannot be read.
    pub async fn admin_keys(
        &self,
        after: Option<&KeyId>,
        limit: usize,
    ) -> Result<Vec<AdminKeyInfo>, VaultError> {
        // After every digest that begins so.
        let after = after.and_then(|id| RecordId::parse(&format!("o/{id}{}", "f".repeat(48))));
        let page = self.store.page("o/", after.as_ref(), limit).await?;
        page.iter()
            .map(|record| self.open_admin_key(record))
            .collect()
    }

    /// Revokes the key with this id. Revoking it again changes nothing.
    ///
    /// # Errors
    /// [`VaultError::NoKey`], or what kept it from being written.
    pub async fn revoke_admin_key(&self, id: &KeyId) -> Result<AdminKeyInfo, VaultError> {
        let page = self.store.page(&ids::admin_key_prefix(id), None, 2).await?;
        let [found] = &page[..] else {
            return Err(VaultError::NoKey(id.clone()));
        };
        for _ in 0..ATTEMPTS {
            let Some(found) = self.get(&found.id).await? else {
                break;
            };
            let mut key = self.open_admin_key(&found)?;
            if key.record.revoked.is_some() {
                return Ok(key);
            }
            key.record.revoked = Some(now_seconds());
            if self
                .put(&found.id, Some(found.version), &key.record)
                .await?
            {
                return Ok(key);
            }
        }
        Err(VaultError::NoKey(id.clone()))
    }

    fn open_admin_key(&self, record: &Record) -> Result<AdminKeyInfo, VaultError> {
        let what = "an administrator's key";
        let digest = ids::key_digest(&record.id).ok_or(VaultError::Open {
            what,
            why: OpenError::Form,
        })?;
        Ok(AdminKeyInfo {
            id: digest.key_id(),
            record: opened(what, self.reader.open(record))?,
        })
    }
}
