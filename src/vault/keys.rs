//! Keys: issue, list, revoke.

use std::time::Duration;

use super::record::KeyRecord;
use super::{ATTEMPTS, Limits, User, Vault, VaultError, ids, now_seconds, opened};
use crate::identity::{ApiKey, KeyDigest, KeyId};
use crate::names::{ProfileName, UserName};
use crate::store::{Record, RecordId};

/// What a new key shall be.
#[derive(Default)]
pub struct KeyRequest {
    /// What its owner calls it.
    pub name: Option<String>,
    /// How long it lives; for ever when `None`.
    pub ttl: Option<Duration>,
    /// The profile it uses where the path names none.
    pub profile: Option<ProfileName>,
    /// Bounds of this key alone.
    pub limits: Limits,
}

/// A key that was made elsewhere, of which only the digest is known.
pub struct AdoptedKey {
    /// Its digest.
    pub digest: KeyDigest,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Unix seconds at which it was made; now unless said.
    pub created: Option<u64>,
    /// The profile it uses where the path names none.
    pub profile: Option<ProfileName>,
    /// Unix seconds from which it is refused.
    pub expires: Option<u64>,
    /// Unix seconds at which it was revoked there.
    pub revoked: Option<u64>,
    /// Bounds of this key alone.
    pub limits: Limits,
}

/// A key that was just made: the only moment at which it can be read.
pub struct IssuedKey {
    /// The key itself.
    pub key: ApiKey,
    /// How it is named from now on.
    pub id: KeyId,
    /// Unix seconds from which it is refused.
    pub expires: Option<u64>,
}

/// A key as the vault knows it.
pub struct KeyInfo {
    /// How it is named.
    pub id: KeyId,
    /// What is known of the key itself.
    pub digest: KeyDigest,
    /// What its record says.
    pub record: KeyRecord,
}

impl KeyInfo {
    /// `usable`, `revoked` or `expired`.
    #[must_use]
    pub fn status(&self) -> &'static str {
        status(self.record.revoked, self.record.expires)
    }
}

/// What is to be said of a key of whatever kind.
pub(super) fn status(revoked: Option<u64>, expires: Option<u64>) -> &'static str {
    match (revoked, expires) {
        (Some(_), _) => "revoked",
        (None, Some(at)) if now_seconds() >= at => "expired",
        (None, _) => "usable",
    }
}

impl Vault {
    /// Makes a key for a user.
    ///
    /// # Errors
    /// When there is no such user or nothing could be written.
    pub async fn issue_key(
        &self,
        user: &UserName,
        request: KeyRequest,
    ) -> Result<IssuedKey, VaultError> {
        let user = self.user(user).await?;
        let key = ApiKey::generate();
        let digest = key.digest();
        let created = now_seconds();
        let record = KeyRecord {
            user: user.id,
            name: request.name,
            profile: request.profile.map(|profile| profile.to_string()),
            created,
            expires: request.ttl.map(|ttl| created.saturating_add(ttl.as_secs())),
            revoked: None,
            limits: request.limits,
        };
        if !self.put_key(&digest, &record).await? {
            return Err(VaultError::Contended);
        }
        Ok(IssuedKey {
            key,
            id: digest.key_id(),
            expires: record.expires,
        })
    }

    /// Makes a key of `user` out of one that was made elsewhere.
    ///
    /// # Errors
    /// [`VaultError::KeyExists`], or what kept it from being written.
    pub async fn adopt_key(&self, user: &User, key: &AdoptedKey) -> Result<KeyId, VaultError> {
        let record = KeyRecord {
            user: user.id,
            name: key.name.clone(),
            profile: key.profile.as_ref().map(ToString::to_string),
            created: key.created.unwrap_or_else(now_seconds),
            expires: key.expires,
            revoked: key.revoked,
            limits: key.limits,
        };
        let id = key.digest.key_id();
        if self.put_key(&key.digest, &record).await? {
            return Ok(id);
        }
        // The entry for listing may have been made just now, for a key that is somebody else's.
        let found = self.get(&ids::key_record(&key.digest)).await?;
        let owner = found.map(|record| self.open_key(&record)).transpose()?;
        if owner.is_none_or(|key| key.record.user != user.id) {
            self.delete(&ids::owned_key(&user.id, &key.digest)).await?;
        }
        Err(VaultError::KeyExists(id))
    }

    /// `false` when there is such a key already. The entry for listing first: a key that works is always
    /// listed, and dies with its user.
    async fn put_key(&self, digest: &KeyDigest, record: &KeyRecord) -> Result<bool, VaultError> {
        let listed = ids::owned_key(&record.user, digest);
        self.put(&listed, None, &()).await?;
        self.put(&ids::key_record(digest), None, record).await
    }

    /// Whose key has this id or digest, as the store knows it now.
    ///
    /// # Errors
    /// [`VaultError::NoKey`], or what keeps the record from being read.
    pub async fn key(&self, id: &KeyId) -> Result<KeyInfo, VaultError> {
        let page = self.store.page(&ids::key_prefix(id), None, 2).await?;
        match &page[..] {
            [record] => self.open_key(record),
            _ => Err(VaultError::NoKey(id.clone())),
        }
    }

    /// The keys of a user, also revoked and expired ones.
    ///
    /// # Errors
    /// When there is no such user, or a record cannot be read.
    pub async fn keys(&self, user: &UserName) -> Result<Vec<KeyInfo>, VaultError> {
        let user = self.user(user).await?;
        let prefix = ids::owned_keys_prefix(&user.id);
        let mut keys = Vec::new();
        let mut pages = self.pages(prefix);
        while let Some(page) = pages.next().await? {
            let digests: Vec<_> = page.iter().filter_map(|r| ids::key_digest(&r.id)).collect();
            let records: Vec<_> = digests.iter().map(ids::key_record).collect();
            for record in self.store.get_many(&records).await?.into_iter().flatten() {
                keys.push(self.open_key(&record)?);
            }
        }
        keys.sort_by_key(|key| key.record.created);
        Ok(keys)
    }

    /// Revokes the key with this id. Revoking it again changes nothing.
    ///
    /// # Errors
    /// [`VaultError::NoKey`], or what kept it from being written.
    pub async fn revoke_key(&self, id: &KeyId) -> Result<KeyInfo, VaultError> {
        let page = self.store.page(&ids::key_prefix(id), None, 2).await?;
        match &page[..] {
            [record] => self
                .revoke(&record.id)
                .await?
                .ok_or_else(|| VaultError::NoKey(id.clone())),
            _ => Err(VaultError::NoKey(id.clone())),
        }
    }

    /// Revokes a key that is at hand itself: one found in a leak.
    ///
    /// # Errors
    /// [`VaultError::UnknownKey`], or what kept it from being written.
    pub async fn revoke_digest(&self, digest: &KeyDigest) -> Result<KeyInfo, VaultError> {
        self.revoke(&ids::key_record(digest))
            .await?
            .ok_or(VaultError::UnknownKey)
    }

    async fn revoke(&self, id: &RecordId) -> Result<Option<KeyInfo>, VaultError> {
        for _ in 0..ATTEMPTS {
            let Some(found) = self.get(id).await? else {
                return Ok(None);
            };
            let mut key = self.open_key(&found)?;
            if key.record.revoked.is_some() {
                return Ok(Some(key));
            }
            key.record.revoked = Some(now_seconds());
            if self.put(id, Some(found.version), &key.record).await? {
                return Ok(Some(key));
            }
        }
        Err(VaultError::Contended)
    }

    fn open_key(&self, record: &Record) -> Result<KeyInfo, VaultError> {
        let digest = ids::key_digest(&record.id).ok_or(VaultError::Open {
            what: "a key's record",
            why: super::OpenError::Form,
        })?;
        let opened = opened("a key's record", self.reader.open_key(record))?;
        Ok(KeyInfo {
            id: digest.key_id(),
            digest,
            record: opened,
        })
    }
}
