//! Groups: add, find, list, change, delete.

use super::record::{GroupIndexRecord, GroupRecord, SecretSets};
use super::{
    ATTEMPTS, Access, AccessChange, GroupId, OpenError, Vault, VaultError, ids, now_seconds,
    opened, wrote,
};
use crate::names::GroupName;
use crate::store::{Record, RecordId};

/// The longest description, in bytes.
pub(super) const TEXT_MAX: usize = 4096;

/// A group as the vault knows it.
pub struct Group {
    /// The group for good.
    pub id: GroupId,
    /// What its record says.
    pub record: GroupRecord,
    version: u64,
}

/// What is to be different about a group; what is `None` stays.
#[derive(Default, Clone)]
pub struct GroupChange {
    /// What it is for; `Some(None)` takes it away.
    pub description: Option<Option<String>>,
    /// Servers and tools.
    pub access: Option<AccessChange>,
}

impl Vault {
    /// Adds a group without members. Its access is there from the start: a group that is half there must not allow
    /// what it is to block.
    ///
    /// # Errors
    /// When the name is taken, or something could not be written.
    pub async fn add_group(
        &self,
        name: &GroupName,
        description: Option<String>,
        access: Access,
    ) -> Result<Group, VaultError> {
        let id = GroupId::generate();
        let record = GroupRecord {
            name: name.to_string(),
            description,
            created: now_seconds(),
            updated: 0,
            access,
            sets: SecretSets::default(),
        };
        check(&record)?;
        // The group first, its name after: a name never leads to nothing for longer than a crash.
        if !self.put(&ids::group_record(&id), None, &record).await? {
            return Err(VaultError::Contended);
        }
        match self.claim_group(name, id).await {
            Ok(true) => {
                let added = self.group_by_id(&id).await?;
                added.ok_or_else(|| VaultError::NoGroup(name.clone()))
            }
            claimed => {
                self.delete(&ids::group_record(&id)).await?;
                claimed.and(Err(VaultError::GroupExists(name.clone())))
            }
        }
    }

    /// Takes the name for `group`; `false` when it leads to another that exists.
    async fn claim_group(&self, name: &GroupName, group: GroupId) -> Result<bool, VaultError> {
        let index = self.group_index(name);
        for _ in 0..ATTEMPTS {
            let found = self.get(&index).await?;
            if let Some(entry) = &found {
                let owner: GroupIndexRecord = opened("an index record", self.reader.open(entry))?;
                if self.get(&ids::group_record(&owner.group)).await?.is_some() {
                    return Ok(false);
                }
            }
            let expected = found.map(|entry| entry.version);
            if self
                .put(&index, expected, &GroupIndexRecord { group })
                .await?
            {
                return Ok(true);
            }
        }
        Err(VaultError::Contended)
    }

    /// The group of this name.
    ///
    /// # Errors
    /// [`VaultError::NoGroup`], or what keeps the record from being read.
    pub async fn group(&self, name: &GroupName) -> Result<Group, VaultError> {
        let nobody = || VaultError::NoGroup(name.clone());
        let entry = self
            .get(&self.group_index(name))
            .await?
            .ok_or_else(nobody)?;
        let index: GroupIndexRecord = opened("an index record", self.reader.open(&entry))?;
        self.group_by_id(&index.group).await?.ok_or_else(nobody)
    }

    /// The group with this id, if there is one.
    ///
    /// # Errors
    /// What keeps the record from being read.
    pub async fn group_by_id(&self, id: &GroupId) -> Result<Option<Group>, VaultError> {
        let record = self.get(&ids::group_record(id)).await?;
        record
            .map(|record| self.open_group(*id, &record))
            .transpose()
    }

    /// At most `limit` groups after `after`, in no order a person would notice. Fewer: there are no more.
    ///
    /// # Errors
    /// When the store or a record cannot be read.
    pub async fn groups(
        &self,
        after: Option<&GroupId>,
        limit: usize,
    ) -> Result<Vec<Group>, VaultError> {
        let after = after.map(ids::group_record);
        let page = self.store.page("g/", after.as_ref(), limit).await?;
        page.iter()
            .map(|record| self.open_group(self.id_of(record)?, record))
            .collect()
    }

    fn id_of(&self, record: &Record) -> Result<GroupId, VaultError> {
        ids::group_id(&record.id).ok_or(VaultError::Open {
            what: "a group's record",
            why: OpenError::Form,
        })
    }

    /// Changes a group.
    ///
    /// # Errors
    /// When there is no such group or nothing could be written.
    pub async fn update_group(
        &self,
        name: &GroupName,
        change: &GroupChange,
    ) -> Result<Group, VaultError> {
        self.change_group(name, |record| {
            if let Some(description) = &change.description {
                record.description.clone_from(description);
            }
            if let Some(access) = &change.access {
                access.apply(&mut record.access);
            }
            record.updated = now_seconds();
            check(record)
        })
        .await
    }

    /// Deletes a group: its members leave it first, so that nobody lists what is not there.
    ///
    /// # Errors
    /// When there is no such group or something could not be deleted; calling it again goes on.
    pub async fn delete_group(&self, name: &GroupName) -> Result<(), VaultError> {
        let index = self.group_index(name);
        let found = self.get(&index).await?;
        let entry = found.ok_or_else(|| VaultError::NoGroup(name.clone()))?;
        // Whoever was stopped here may have left no more of it than this.
        let owner: GroupIndexRecord = opened("an index record", self.reader.open(&entry))?;
        self.delete_group_by_id(name, &owner.group).await
    }

    /// As [`Vault::delete_group`], where another may have its name by now.
    ///
    /// # Errors
    /// When something could not be deleted; calling it again goes on.
    pub async fn delete_group_by_id(
        &self,
        name: &GroupName,
        group: &GroupId,
    ) -> Result<(), VaultError> {
        self.remove_all_members(group).await?;
        let sets = ids::secrets_prefix((*group).into());
        self.delete_all(&sets, |record| Some(record.id.clone()))
            .await?;
        self.delete(&ids::group_record(group)).await?;
        // Who joined meanwhile: from now on whoever does finds it gone.
        self.remove_all_members(group).await?;
        let index = self.group_index(name);
        let Some(entry) = self.get(&index).await? else {
            return Ok(());
        };
        let found: GroupIndexRecord = opened("an index record", self.reader.open(&entry))?;
        if found.group == *group {
            // A conflict means that somebody made a group of this name meanwhile.
            wrote(self.store.delete_if(&index, entry.version).await)?;
        }
        Ok(())
    }

    /// Reads, changes and writes a group's record until nobody interferes.
    pub(super) async fn change_group(
        &self,
        name: &GroupName,
        change: impl Fn(&mut GroupRecord) -> Result<(), VaultError>,
    ) -> Result<Group, VaultError> {
        let group = self.group(name).await?;
        self.change_group_by_id(&group.id, name, change).await
    }

    /// As [`Vault::change_group`], where another may have its name by now.
    pub(super) async fn change_group_by_id(
        &self,
        id: &GroupId,
        name: &GroupName,
        change: impl Fn(&mut GroupRecord) -> Result<(), VaultError>,
    ) -> Result<Group, VaultError> {
        for _ in 0..ATTEMPTS {
            let found = self.group_by_id(id).await?;
            let mut group = found.ok_or_else(|| VaultError::NoGroup(name.clone()))?;
            change(&mut group.record)?;
            let id = ids::group_record(id);
            if self.put(&id, Some(group.version), &group.record).await? {
                return Ok(group);
            }
        }
        Err(VaultError::Contended)
    }

    fn open_group(&self, id: GroupId, record: &Record) -> Result<Group, VaultError> {
        let opened = opened("a group's record", self.reader.open_group(record))?;
        Ok(Group {
            id,
            record: opened,
            version: record.version,
        })
    }

    fn group_index(&self, name: &GroupName) -> RecordId {
        ids::group_index(&self.reader.mac, name.as_str())
    }
}

fn check(record: &GroupRecord) -> Result<(), VaultError> {
    if record
        .description
        .as_ref()
        .is_some_and(|text| text.len() > TEXT_MAX)
    {
        return Err(VaultError::TooLong("a description may have 4096 bytes"));
    }
    if !record.access.fits() {
        return Err(VaultError::TooLong(
            "a list of patterns may have 256 of them",
        ));
    }
    Ok(())
}
