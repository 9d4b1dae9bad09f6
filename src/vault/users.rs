//! Users: add, find, list, change, delete.

use serde_json::{Map, Value};

use super::record::{IndexRecord, SecretSets, UserRecord};
use super::{ATTEMPTS, Access, Limits, UserId, Vault, VaultError, ids, now_seconds, opened, wrote};
use crate::names::{Pattern, UserName};
use crate::store::{Record, RecordId};

/// The longest description, and notes, in bytes.
const TEXT_MAX: usize = 4096;
/// The longest metadata, in bytes of JSON.
const METADATA_MAX: usize = 16 << 10;
/// Patterns of users one may act for.
const ACTS_FOR_MAX: usize = 256;

/// A user as the vault knows him.
pub struct User {
    /// Him for good.
    pub id: UserId,
    /// What his record says.
    pub record: UserRecord,
}

/// A user to be.
#[derive(Default, Clone)]
pub struct NewUser {
    /// For finding him.
    pub email: Option<String>,
    /// Who it is, in words: at most 4 KiB, as `notes`.
    pub description: Option<String>,
    /// What administrators keep in mind about him.
    pub notes: Option<String>,
    /// Whatever other systems want to find: at most 16 KiB of JSON.
    pub metadata: Map<String, Value>,
    /// Servers and tools.
    pub access: Access,
    /// Bounds.
    pub limits: Limits,
    /// Whether his keys are refused for now.
    pub disabled: bool,
    /// Unix seconds at which he was made elsewhere; now unless said.
    pub created: Option<u64>,
}

impl NewUser {
    /// With an e-mail, and nothing else.
    #[must_use]
    pub fn with_email(email: &str) -> Self {
        Self {
            email: Some(email.to_owned()),
            ..Self::default()
        }
    }

    /// Whether everything fits into a record.
    ///
    /// # Errors
    /// [`VaultError::TooLong`].
    pub fn check(&self, name: &UserName) -> Result<(), VaultError> {
        check(&self.clone().into_record(name))
    }

    fn into_record(self, name: &UserName) -> UserRecord {
        UserRecord {
            name: name.as_str().to_owned(),
            email: self.email,
            description: self.description,
            notes: self.notes,
            metadata: self.metadata,
            created: self.created.unwrap_or_else(now_seconds),
            updated: 0,
            disabled: self.disabled,
            access: self.access,
            groups: Vec::new(),
            limits: self.limits,
            acts_for: Vec::new(),
            sets: SecretSets::default(),
        }
    }
}

/// What is to be different about a user; what is `None` stays. `Some(None)` takes something away.
#[derive(Default, Clone)]
pub struct UserChange {
    /// For finding him.
    pub email: Option<Option<String>>,
    /// Who it is, in words.
    pub description: Option<Option<String>>,
    /// What administrators keep in mind about him.
    pub notes: Option<Option<String>>,
    /// In place of all that is there.
    pub metadata: Option<Map<String, Value>>,
    /// Servers and tools.
    pub access: Option<AccessChange>,
    /// Bounds.
    pub limits: Option<Limits>,
    /// Users in whose name he may call tools.
    pub acts_for: Option<Vec<Pattern>>,
    /// Whether his keys are refused.
    pub disabled: Option<bool>,
}

/// Lists of patterns in place of those there are; what is `None` stays.
#[derive(Default, Clone)]
pub struct AccessChange {
    /// See [`Access`], as for all of these.
    pub allowed_servers: Option<Vec<Pattern>>,
    /// Servers.
    pub blocked_servers: Option<Vec<Pattern>>,
    /// Tools.
    pub allowed_tools: Option<Vec<Pattern>>,
    /// Tools.
    pub blocked_tools: Option<Vec<Pattern>>,
}

impl AccessChange {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            allowed_servers,
            blocked_servers,
            allowed_tools,
            blocked_tools,
        } = self;
        let lists = [
            allowed_servers,
            blocked_servers,
            allowed_tools,
            blocked_tools,
        ];
        lists.iter().all(|list| list.is_none())
    }

    /// Makes the change.
    pub fn apply(&self, access: &mut Access) {
        let lists = [
            (&self.allowed_servers, &mut access.allowed_servers),
            (&self.blocked_servers, &mut access.blocked_servers),
            (&self.allowed_tools, &mut access.allowed_tools),
            (&self.blocked_tools, &mut access.blocked_tools),
        ];
        for (new, list) in lists {
            if let Some(new) = new {
                list.clone_from(new);
            }
        }
    }
}

impl UserChange {
    /// The record as it would be.
    ///
    /// # Errors
    /// [`VaultError::TooLong`].
    pub fn tried(&self, record: &UserRecord) -> Result<UserRecord, VaultError> {
        let mut tried = record.clone();
        self.apply(&mut tried);
        check(&tried)?;
        Ok(tried)
    }

    fn apply(&self, record: &mut UserRecord) {
        let texts = [
            (&self.email, &mut record.email),
            (&self.description, &mut record.description),
            (&self.notes, &mut record.notes),
        ];
        for (new, text) in texts {
            if let Some(new) = new {
                text.clone_from(new);
            }
        }
        if let Some(metadata) = &self.metadata {
            record.metadata.clone_from(metadata);
        }
        if let Some(access) = &self.access {
            access.apply(&mut record.access);
        }
        if let Some(acts_for) = &self.acts_for {
            record.acts_for.clone_from(acts_for);
        }
        record.limits = self.limits.unwrap_or(record.limits);
        record.disabled = self.disabled.unwrap_or(record.disabled);
        record.updated = now_seconds();
    }
}

impl Vault {
    /// Adds a user.
    ///
    /// # Errors
    /// When the name or the e-mail is taken, or something could not be written.
    pub async fn add_user(&self, name: &UserName, new: NewUser) -> Result<User, VaultError> {
        let id = UserId::generate();
        let record = new.into_record(name);
        check(&record)?;
        // The user first, his names after: a name never leads to nobody for longer than a crash.
        if !self.put(&ids::user_record(&id), None, &record).await? {
            return Err(VaultError::Contended);
        }
        let claimed = self.claim_names(id, &record).await;
        if claimed.is_err() {
            self.delete(&ids::user_record(&id)).await?;
        }
        claimed?;
        Ok(User { id, record })
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
                let owner = self.leads_to(entry)?;
                // His already, for one who was stopped or is about to give it up, is written anew: that one
                // gives up what he saw, and not this.
                if owner != user && self.get(&ids::user_record(&owner)).await?.is_some() {
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
            if self.leads_to(&entry)? != user
                || wrote(self.store.delete_if(index, entry.version).await)?
            {
                return Ok(());
            }
        }
        Err(VaultError::Contended)
    }

    fn leads_to(&self, entry: &Record) -> Result<UserId, VaultError> {
        let index: IndexRecord = opened("an index record", self.reader.open(entry))?;
        Ok(index.user)
    }

    /// The user of this name.
    ///
    /// # Errors
    /// [`VaultError::NoUser`], or what keeps the record from being read.
    pub async fn user(&self, name: &UserName) -> Result<User, VaultError> {
        let nobody = || VaultError::NoUser(name.to_string());
        let index = ids::name_index(&self.reader.mac, name.as_str());
        let entry = self.get(&index).await?.ok_or_else(nobody)?;
        let owner = self.leads_to(&entry)?;
        self.user_by_id(&owner).await?.ok_or_else(nobody)
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

    /// The user with this e-mail.
    ///
    /// # Errors
    /// [`VaultError::NoUser`], or what keeps the record from being read.
    pub async fn user_with_email(&self, email: &str) -> Result<User, VaultError> {
        let nobody = || VaultError::NoUser(email.to_owned());
        let index = ids::email_index(&self.reader.mac, email);
        let entry = self.get(&index).await?.ok_or_else(nobody)?;
        let owner = self.leads_to(&entry)?;
        self.user_by_id(&owner).await?.ok_or_else(nobody)
    }

    /// At most `limit` users after `after`, in no order a person would notice. Fewer: there are no more.
    ///
    /// # Errors
    /// When the store or a record cannot be read.
    pub async fn users(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<User>, VaultError> {
        let after = after.map(ids::user_record);
        let page = self.store.page("u/", after.as_ref(), limit).await?;
        let open = |record: &Record| {
            let id = ids::user_id(&record.id).ok_or(VaultError::Open {
                what: "a user's record",
                why: super::OpenError::Form,
            })?;
            self.open_user(id, record)
        };
        page.iter().map(open).collect()
    }

    /// Changes a user.
    ///
    /// # Errors
    /// When there is no such user, the e-mail is another's, or nothing could be written.
    pub async fn update_user(
        &self,
        name: &UserName,
        change: &UserChange,
    ) -> Result<User, VaultError> {
        let user = self.user(name).await?;
        self.amend_user(&user.id, |_| change.clone()).await
    }

    /// Changes a user by what `change` makes of his record; it is asked again where somebody interferes.
    ///
    /// # Errors
    /// Those of [`Vault::update_user`].
    pub async fn amend_user(
        &self,
        id: &UserId,
        change: impl Fn(&UserRecord) -> UserChange,
    ) -> Result<User, VaultError> {
        let place = ids::user_record(id);
        let mut claimed = Vec::new();
        for _ in 0..ATTEMPTS {
            let found = self.get(&place).await?;
            let found = found.ok_or_else(|| VaultError::NoUser(id.to_string()))?;
            let old = self.open_user(*id, &found)?.record;
            let tried = change(&old).tried(&old)?;
            let (before, after) = (self.email_id(&old), self.email_id(&tried));
            // Of this very look: what was claimed for an earlier one may be another's by now.
            if let Some(index) = after.as_ref().filter(|_| before != after) {
                if !self.claim(index, *id).await? {
                    return Err(VaultError::EmailTaken(tried.email.unwrap_or_default()));
                }
                claimed.push(index.clone());
            }
            // As they are before the record is written: who wants one for him afterwards claims it anew, and
            // it is not given up then.
            let mut left = Vec::new();
            for index in claimed.iter().chain(&before) {
                if Some(index) != after.as_ref()
                    && let Some(entry) = self.get(index).await?
                    && self.leads_to(&entry)? == *id
                {
                    left.push(entry);
                }
            }
            if self.put(&place, Some(found.version), &tried).await? {
                for entry in left {
                    wrote(self.store.delete_if(&entry.id, entry.version).await)?;
                }
                return Ok(User {
                    id: *id,
                    record: tried,
                });
            }
        }
        Err(VaultError::Contended)
    }

    /// Disables or enables a user. All his keys are refused while he is disabled.
    ///
    /// # Errors
    /// When there is no such user or nothing could be written.
    pub async fn set_disabled(&self, name: &UserName, disabled: bool) -> Result<User, VaultError> {
        let change = UserChange {
            disabled: Some(disabled),
            ..UserChange::default()
        };
        self.update_user(name, &change).await
    }

    /// Deletes a user: first his secrets with their data keys, then his keys, then himself.
    ///
    /// # Errors
    /// When there is no such user or something could not be deleted; calling it again goes on.
    pub async fn delete_user(&self, name: &UserName) -> Result<(), VaultError> {
        let user = self.user(name).await?;
        self.delete_user_by_id(&user.id).await
    }

    /// As [`Vault::delete_user`], for one whose name may be somebody else's by now; nothing if he is gone.
    ///
    /// # Errors
    /// When something could not be deleted; calling it again goes on.
    pub async fn delete_user_by_id(&self, id: &UserId) -> Result<(), VaultError> {
        let Some(user) = self.user_by_id(id).await? else {
            return Ok(());
        };
        self.delete_all(&ids::secrets_prefix(user.id.into()), |record| {
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
        for group in &user.record.groups {
            self.delete(&ids::membership(group, &user.id)).await?;
        }
        self.delete(&ids::usage(&user.id)).await?;
        self.delete(&ids::user_record(&user.id)).await?;
        if let Some(index) = self.email_id(&user.record) {
            self.release(&index, user.id).await?;
        }
        self.release(&self.name_id(&user.record), user.id).await
    }

    /// Deletes what `target` names for each record that starts with `prefix`.
    pub(super) async fn delete_all(
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
    pub(super) async fn change_user_by_id(
        &self,
        id: &UserId,
        change: impl Fn(&mut UserRecord) -> Result<(), VaultError>,
    ) -> Result<User, VaultError> {
        let place = ids::user_record(id);
        for _ in 0..ATTEMPTS {
            let found = self.get(&place).await?;
            let found = found.ok_or_else(|| VaultError::NoUser(id.to_string()))?;
            let mut user = self.open_user(*id, &found)?;
            change(&mut user.record)?;
            if self.put(&place, Some(found.version), &user.record).await? {
                return Ok(user);
            }
        }
        Err(VaultError::Contended)
    }

    pub(super) fn open_user(&self, id: UserId, record: &Record) -> Result<User, VaultError> {
        let opened = opened("a user's record", self.reader.open_user(record))?;
        Ok(User { id, record: opened })
    }

    fn name_id(&self, record: &UserRecord) -> RecordId {
        ids::name_index(&self.reader.mac, &record.name)
    }

    fn email_id(&self, record: &UserRecord) -> Option<RecordId> {
        Some(ids::email_index(&self.reader.mac, record.email.as_deref()?))
    }
}

fn check(record: &UserRecord) -> Result<(), VaultError> {
    let long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.len() > TEXT_MAX);
    if long(&record.email) || long(&record.description) || long(&record.notes) {
        return Err(VaultError::TooLong(
            "a description, notes and an e-mail may have 4096 bytes",
        ));
    }
    let metadata = Value::Object(record.metadata.clone()).to_string();
    if metadata.len() > METADATA_MAX {
        return Err(VaultError::TooLong("metadata may have 16 KiB of JSON"));
    }
    if !record.access.fits() || record.acts_for.len() > ACTS_FOR_MAX {
        return Err(VaultError::TooLong(
            "a list of patterns may have 256 of them",
        ));
    }
    Ok(())
}
