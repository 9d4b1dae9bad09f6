//! Who is in which group. The user's record decides; the entry `m/<group>/<user>` is for listing, and is
//! there whenever the user's record may be, so that a group can be taken from all who list it.

use std::collections::BTreeMap;

use super::{Group, User, UserId, Vault, VaultError, ids};
use crate::names::{GroupName, UserName};

/// Groups a user may be in.
pub(super) const GROUPS_MAX: usize = 32;

impl Vault {
    /// Puts a user into a group. One who is in it already stays.
    ///
    /// # Errors
    /// When there is no such user or group, or nothing could be written.
    pub async fn add_member(&self, group: &GroupName, user: &UserName) -> Result<(), VaultError> {
        self.add_to_groups(std::slice::from_ref(group), user).await
    }

    /// Puts a user into several groups at once: he never has what one allows without what another blocks.
    ///
    /// # Errors
    /// Those of [`Vault::add_member`]; he is in none of them then, but where one was deleted meanwhile.
    pub async fn add_to_groups(
        &self,
        names: &[GroupName],
        user: &UserName,
    ) -> Result<(), VaultError> {
        let user = self.user(user).await?;
        let mut groups = Vec::with_capacity(names.len());
        for name in names {
            groups.push(self.group(name).await?);
        }
        for group in &groups {
            let entry = ids::membership(&group.id, &user.id);
            if self.get(&entry).await?.is_none() {
                // A conflict means that somebody else did just this.
                self.put(&entry, None, &()).await?;
            }
        }
        // By the id: were the name given to somebody else meanwhile, he would be in the groups.
        let changed = self.change_user_by_id(&user.id, |record| {
            for group in &groups {
                if !record.groups.contains(&group.id) {
                    record.groups.push(group.id);
                }
            }
            if record.groups.len() > GROUPS_MAX {
                return Err(VaultError::TooManyGroups);
            }
            Ok(())
        });
        changed.await?;
        for group in &groups {
            // Deleted meanwhile: who was asked to leave then may have come back here.
            if self.group_by_id(&group.id).await?.is_none() {
                self.leave(group, &user.id).await?;
                let name = GroupName::parse(&group.record.name);
                return Err(name.map_or(VaultError::Contended, VaultError::NoGroup));
            }
        }
        Ok(())
    }

    /// Takes a user out of a group. One who is not in it stays out.
    ///
    /// # Errors
    /// When there is no such user or group, or nothing could be written.
    pub async fn remove_member(
        &self,
        group: &GroupName,
        user: &UserName,
    ) -> Result<(), VaultError> {
        let (group, user) = (self.group(group).await?, self.user(user).await?);
        self.leave(&group, &user.id).await
    }

    /// At most `limit` members after `after`. Fewer: there are no more.
    ///
    /// # Errors
    /// When the store or a record cannot be read.
    pub async fn members(
        &self,
        group: &Group,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<User>, VaultError> {
        let after = after.map(|user| ids::membership(&group.id, user));
        let prefix = ids::members_prefix(&group.id);
        let page = self.store.page(&prefix, after.as_ref(), limit).await?;
        let ids: Vec<_> = page.iter().filter_map(|r| ids::member(&r.id)).collect();
        let records: Vec<_> = ids.iter().map(ids::user_record).collect();
        let found = self.store.get_many(&records).await?;
        let users = ids.iter().zip(found);
        users
            .filter_map(|(id, record)| Some(self.open_user(*id, &record?)))
            .collect()
    }

    /// The groups of a user by their ids, for showing their names; those that are gone are not there.
    ///
    /// # Errors
    /// When the store or a record cannot be read.
    pub async fn groups_of(&self, user: &User) -> Result<BTreeMap<String, Group>, VaultError> {
        let mut groups = BTreeMap::new();
        for id in &user.record.groups {
            if let Some(group) = self.group_by_id(id).await? {
                groups.insert(group.record.name.clone(), group);
            }
        }
        Ok(groups)
    }

    pub(super) async fn remove_all_members(&self, group: &Group) -> Result<(), VaultError> {
        let mut pages = self.pages(ids::members_prefix(&group.id));
        while let Some(page) = pages.next().await? {
            for user in page.iter().filter_map(|record| ids::member(&record.id)) {
                self.leave(group, &user).await?;
            }
        }
        Ok(())
    }

    /// The user's record first: an entry without it does no harm.
    async fn leave(&self, group: &Group, user: &UserId) -> Result<(), VaultError> {
        let left = self.change_user_by_id(user, |record| {
            record.groups.retain(|id| *id != group.id);
            Ok(())
        });
        match left.await {
            Ok(_) | Err(VaultError::NoUser(_)) => {}
            Err(error) => return Err(error),
        }
        self.delete(&ids::membership(&group.id, user)).await
    }
}
