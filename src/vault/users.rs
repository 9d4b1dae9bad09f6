//! Users: add, find, list, disable, delete.

use super::record::{IndexRecord, UserRecord};
use super::{ATTEMPTS, UserId, Vault, VaultError, ids, now_seconds, opened, wrote};
use crate::names::UserName;
use crate::store::{Record, RecordId};

/// A user as the vault knows him.
pub struct User {
    /// Him for good.
    pub id: UserId,
    /// What his record says.
    pub record: UserRecord,
    /// The version of the record.
    pub(super) version: u64,
}

impl Vault {
    /// Adds a user.
    ///
    /// # Errors
    /// When the name or the e-mail is taken, or something could not be written.
    pub async fn add_user(&self, name: &UserName, email: Option<&str>) -> Result<User, VaultError> {
        let id = UserId::generate();
        let record = UserRecord {
            name: name.as_str().to_owned(),
            email: email.map(str::to_owned),
            created: now_seconds(),
            disabled: false,
            secrets: Vec::new(),
            deleted: 0,
        };
        // The user first, his names after: a name never leads to nobody for longer than a crash.
        if !self.put(&ids::user_record(&id), None, &record).await? {
            return Err(VaultError::Contended);
        }
        let claimed = self.claim_names(id, &record).await;
        if claimed.is_err() {
            self.delete(&ids::user_record(&id)).await?;
        }
        claimed?;
        self.user(name).await
    }

    async fn claim_names(&self, id: UserId, record: &UserRecord) -> Result<(), VaultError> {
        let name =
            UserName::parse(&record.name).map_err(|_| VaultError::NoUser(record.name.clone()))?;
        if !self.claim(&self.name_id(record), id).await? {
            return Err(VaultError::UserExists(name));
        }
        if let (Some(index), Some(email)) = (self.email_id(record), &record.email)
            && !self.claim(&index, id).await?
        {
            self.release(&self.name_id(record), id).await?;
            return Err(VaultError::EmailTaken(email.clone()));
        }
        Ok(())
    }

    /// Takes an index entry for `user`; `false` when it leads to another user who exists.
    async fn claim(&self, index: &RecordId, user: UserId) -> Result<bool, VaultError> {
        for _ in 0..ATTEMPTS {
            let found = self.get(index).await?;
            if let Some(entry) = &found {
                let owner: IndexRecord = opened("an index record", self.reader.open(entry))?;
                if self.get(&ids::user_record(&owner.user)).await?.is_some() {
                    return Ok(false);
                }
            }
            let expected = found.map(|entry| entry.version);
            if self.put(index, expected, &IndexRecord { user }).await? {
                return Ok(true);
            }
        }
        Err(VaultError::Contended)
    }

    /// Gives up an index entry of `user`. One that is another's by now stays: without it nobody
    /// could find him, not even to disable him.
    pub(super) async fn release(&self, index: &RecordId, user: UserId) -> Result<(), VaultError> {
        for _ in 0..ATTEMPTS {
            let Some(entry) = self.get(index).await? else {
                return Ok(());
            };
            let owner: IndexRecord = opened("an index record", self.reader.open(&entry))?;
            if owner.user != user || wrote(self.store.delete_if(index, entry.version).await)? {
                return Ok(());
            }
        }
        Err(VaultError::Contended)
    }

    /// The user of this name.
    ///
    /// # Errors
    /// [`VaultError::NoUser`], or what keeps the record from being read.
    pub async fn user(&self, name: &UserName) -> Result<User, VaultError> {
        let nobody = || VaultError::NoUser(name.to_string());
        let index = ids::name_index(&self.reader.mac, name.as_str());
        let entry = self.get(&index).await?.ok_or_else(nobody)?;
        let owner: IndexRecord = opened("an index record", self.reader.open(&entry))?;
        self.user_by_id(&owner.user).await?.ok_or_else(nobody)
    }

    /// The user with this id, if there is one.
    ///
    /// # Errors
    /// What keeps the record from being read.
    pub async fn user_by_id(&self, id: &UserId) -> Result<Option<User>, VaultError> {
        let record = self.get(&ids::user_record(id)).await?;
        record
            .map(|record| self.open_user(*id, &record))
            .transpose()
    }

    /// Every user, in no order a person would notice.
    ///
    /// # Errors
    /// When the store or a record cannot be read.
    pub async fn users(&self) -> Result<Vec<User>, VaultError> {
        let mut users = Vec::new();
        let mut pages = self.pages("u/");
        while let Some(page) = pages.next().await? {
            for record in &page {
                let id = ids::user_id(&record.id).ok_or(VaultError::Open {
                    what: "a user's record",
                    why: super::OpenError::Form,
                })?;
                users.push(self.open_user(id, record)?);
            }
        }
        Ok(users)
    }

    /// Disables or enables a user. All his keys are refused while he is disabled.
    ///
    /// # Errors
    /// When there is no such user or nothing could be written.
    pub async fn set_disabled(&self, name: &UserName, disabled: bool) -> Result<(), VaultError> {
        self.change_user(name, |record| record.disabled = disabled)
            .await
    }

    /// Deletes a user: first his secrets with their data keys, then his keys, then himself.
    ///
    /// # Errors
    /// When there is no such user or something could not be deleted; calling it again goes on.
    pub async fn delete_user(&self, name: &UserName) -> Result<(), VaultError> {
        let user = self.user(name).await?;
        self.delete_all(&ids::secrets_prefix(&user.id), |record| {
            Some(record.id.clone())
        })
        .await?;
        let owned = ids::owned_keys_prefix(&user.id);
        self.delete_all(&owned, |r| {
            ids::key_digest(&r.id).map(|d| ids::key_record(&d))
        })
        .await?;
        self.delete_all(&owned, |record| Some(record.id.clone()))
            .await?;
        self.delete(&ids::user_record(&user.id)).await?;
        if let Some(index) = self.email_id(&user.record) {
            self.release(&index, user.id).await?;
        }
        self.release(&self.name_id(&user.record), user.id).await
    }

    /// Deletes what `target` names for each record that starts with `prefix`.
    async fn delete_all(
        &self,
        prefix: &str,
        target: impl Fn(&Record) -> Option<RecordId>,
    ) -> Result<(), VaultError> {
        let mut pages = self.pages(prefix);
        while let Some(page) = pages.next().await? {
            for id in page.iter().filter_map(&target) {
                self.delete(&id).await?;
            }
        }
        Ok(())
    }

    /// Reads, changes and writes a user's record until nobody interferes.
    pub(super) async fn change_user(
        &self,
        name: &UserName,
        change: impl Fn(&mut UserRecord),
    ) -> Result<(), VaultError> {
        for _ in 0..ATTEMPTS {
            let mut user = self.user(name).await?;
            change(&mut user.record);
            let id = ids::user_record(&user.id);
            if self.put(&id, Some(user.version), &user.record).await? {
                return Ok(());
            }
        }
        Err(VaultError::Contended)
    }

    fn open_user(&self, id: UserId, record: &Record) -> Result<User, VaultError> {
        let opened = opened("a user's record", self.reader.open_user(record))?;
        Ok(User {
            id,
            record: opened,
            version: record.version,
        })
    }

    fn name_id(&self, record: &UserRecord) -> RecordId {
        ids::name_index(&self.reader.mac, &record.name)
    }

    fn email_id(&self, record: &UserRecord) -> Option<RecordId> {
        Some(ids::email_index(&self.reader.mac, record.email.as_deref()?))
    }
}
