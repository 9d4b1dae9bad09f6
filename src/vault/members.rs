//! Who is in which group. The user's record decides; the entry `m/<group>/<user>` is for listing, and is
//! there whenever the user's record may be, so that a group can be taken from all who list it.

use std::collections::BTreeMap;

use super::{Group, GroupId, User, UserId, Vault, VaultError, ids};
use crate::names::{GroupName, UserName};

/// Groups a user may be in.
pub const GROUPS_MAX: usize = 32;

impl Vault {
    /// Puts a user into a group. One who is in it already stays.
    ///
    /// # Errors
    /// When there is no such user or group, or nothing could be written.
    pub async fn add_member(&self, group: &GroupName, user: &UserName) -> Result<(), VaultError> {
        let user = self.user(user).await?;
        self.add_to_groups(std::slice::from_ref(group), &user.id)
            .await
    }

    /// Puts a user into several groups at once: he never has what one allows without what another blocks.
    ///
    /// # Errors
    /// Those of [`Vault::add_member`]; he is in none of them then, but where one was deleted meanwhile.
    pub async fn add_to_groups(
        &self,
        names: &[GroupName],
        user: &UserId,
    ) -> Result<(), VaultError> {
        let mut groups = Vec::with_capacity(names.len());
        for name in names {
            groups.push(self.group(name).await?);
        }
        for group in &groups {
            self.note_member(&group.id, user).await?;
        }
        // By the id: were the name given to somebody else meanwhile, he would be in the groups.
        let changed = self.change_user_by_id(user, |record| {
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
        let mut gone = None;
        for group in &groups {
            // Who left at the same moment may have taken the entry away after that.
            self.note_member(&group.id, user).await?;
            // Deleted meanwhile: who was asked to leave then may have come back here.
            if self.group_by_id(&group.id).await?.is_none() {
                self.leave(&group.id, user).await?;
                let name = GroupName::parse(&group.record.name);
                gone = Some(name.map_or(VaultError::Contended, VaultError::NoGroup));
            }
        }
        gone.map_or(Ok(()), Err)
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
        self.leave(&group.id, &user.id).await
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
        let prefix = ids::members_prefix(&group.id);
        let mut last = after.map(|user| ids::membership(&group.id, user));
        let mut members = Vec::new();
        loop {
            // Whole pages: entries that mean nothing would cost two round trips each.
            let page = self.store.page(&prefix, last.as_ref(), limit).await?;
            let users: Vec<_> = page.iter().filter_map(|r| ids::member(&r.id)).collect();
            let records: Vec<_> = users.iter().map(ids::user_record).collect();
            for (id, record) in users.iter().zip(self.store.get_many(&records).await?) {
                let Some(record) = record else { continue };
                let user = self.open_user(*id, &record)?;
                // An entry alone makes nobody a member.
                if user.record.groups.contains(&group.id) {
                    members.push(user);
                }
            }
            last = page.last().map(|record| record.id.clone());
            if page.len() < limit || members.len() >= limit {
                members.truncate(limit);
                return Ok(members);
            }
        }
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

    pub(super) async fn remove_all_members(&self, group: &GroupId) -> Result<(), VaultError> {
        let mut pages = self.pages(ids::members_prefix(group));
        while let Some(page) = pages.next().await? {
            for user in page.iter().filter_map(|record| ids::member(&record.id)) {
                self.leave(group, &user).await?;
            }
        }
        Ok(())
    }

    /// The user's record first: an entry without it does no harm.
    async fn leave(&self, group: &GroupId, user: &UserId) -> Result<(), VaultError> {
        let left = self.change_user_by_id(user, |record| {
            record.groups.retain(|id| id != group);
            Ok(())
        });
        match left.await {
            Ok(_) | Err(VaultError::NoUser(_)) => {}
            Err(error) => return Err(error),
        }
        self.delete(&ids::membership(group, user)).await?;
        // Who came back at the same moment may have counted on the entry.
        match self.user_by_id(user).await? {
            Some(found) if found.record.groups.contains(group) => {
                self.note_member(group, user).await
            }
            _ => Ok(()),
        }
    }

    /// Has the entry there.
    async fn note_member(&self, group: &GroupId, user: &UserId) -> Result<(), VaultError> {
        let entry = ids::membership(group, user);
        if self.get(&entry).await?.is_none() {
            // A conflict means that somebody else did just this.
            self.put(&entry, None, &()).await?;
        }
        Ok(())
    }

    /// Takes a user out of groups whose records are gone, as after somebody deleted them in the store: every
    /// request of his is refused until then, for nobody can tell what they blocked. Gives how many these were.
    ///
    /// # Errors
    /// When there is no such user, or nothing could be written.
    pub async fn leave_lost_groups(&self, name: &UserName) -> Result<usize, VaultError> {
        let user = self.user(name).await?;
        let mut lost = Vec::new();
        for id in &user.record.groups {
            if self.group_by_id(id).await?.is_none() {
                lost.push(*id);
            }
        }
        let changed = self.change_user_by_id(&user.id, |record| {
            record.groups.retain(|id| !lost.contains(id));
            Ok(())
        });
        if !lost.is_empty() {
            changed.await?;
        }
        for group in &lost {
            self.delete(&ids::membership(group, &user.id)).await?;
        }
        Ok(lost.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::vault::tests::{memory, user};
    use crate::vault::{Access, Keyring, NewUser};

    async fn vault() -> Arc<Vault> {
        let vault = Vault::new(memory().await, Arc::new(Keyring::generate()));
        let alice = vault.add_user(&user("alice"), NewUser::default()).await;
        alice.ok().unwrap();
        Arc::new(vault)
    }

    fn team() -> GroupName {
        GroupName::parse("team").unwrap()
    }

    // Fails when who joins or leaves does not look again, or a deleted group is swept once: every request
    // of the user would be refused for ever.
    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn nobody_is_left_in_a_group_that_was_deleted_meanwhile() {
        let vault = vault().await;
        for round in 0..300 {
            vault
                .add_group(&team(), None, Access::default())
                .await
                .ok()
                .unwrap();
            let doing = |act: u8| {
                let vault = vault.clone();
                tokio::spawn(async move {
                    let (group, alice) = (team(), user("alice"));
                    let done = match act {
                        0 => vault.add_member(&group, &alice).await,
                        1 => vault.remove_member(&group, &alice).await,
                        _ => vault.delete_group(&group).await,
                    };
                    done.or_else(|error| match error {
                        VaultError::NoGroup(_) => Ok(()),
                        error => Err(error),
                    })
                })
            };
            let acts = match round % 2 {
                0 => [0, 1, 2],
                _ => [0, 1, 0],
            };
            for act in acts.map(doing) {
                act.await.unwrap().ok().unwrap();
            }
            // Also by way of the entries alone.
            match vault.delete_group(&team()).await {
                Ok(()) | Err(VaultError::NoGroup(_)) => {}
                Err(error) => panic!("{error}"),
            }
            let alice = vault.user(&user("alice")).await.ok().unwrap();
            assert!(alice.record.groups.is_empty(), "round {round}");
        }
    }

    // Fails when an entry that is no membership counts as one, or makes a page shorter than it is long.
    #[tokio::test]
    async fn members_are_listed_past_entries_that_mean_nothing() {
        let vault = vault().await;
        vault
            .add_group(&team(), None, Access::default())
            .await
            .ok()
            .unwrap();
        let group = vault.group(&team()).await.ok().unwrap();
        let joined = vault.add_member(&team(), &user("alice")).await;
        joined.ok().unwrap();
        let bob = vault.add_user(&user("bob"), NewUser::default()).await;
        let bob = bob.ok().unwrap();
        for stray in [bob.id, UserId::generate(), UserId::generate()] {
            vault.note_member(&group.id, &stray).await.ok().unwrap();
        }
        for limit in 1..5 {
            let listed = vault.members(&group, None, limit).await.ok().unwrap();
            let names: Vec<_> = listed.iter().map(|user| &*user.record.name).collect();
            assert_eq!(names, ["alice"], "{limit} at most");
        }
    }

    // Fails when a deletion that stopped after the record was deleted cannot go on.
    #[tokio::test]
    async fn a_group_whose_deletion_stopped_can_be_deleted_again() {
        let vault = vault().await;
        let access = Access {
            blocked_servers: vec![crate::names::Pattern::parse("*").unwrap()],
            ..Access::default()
        };
        let group = vault.add_group(&team(), None, access.clone()).await;
        let group = group.ok().unwrap();
        assert!(group.record.access == access && group.record.updated == 0);
        let joined = vault.add_member(&team(), &user("alice")).await;
        joined.ok().unwrap();
        let record = ids::group_record(&group.id);
        vault.delete(&record).await.ok().unwrap();
        vault.delete_group(&team()).await.ok().unwrap();
        let alice = vault.user(&user("alice")).await.ok().unwrap();
        assert!(alice.record.groups.is_empty());
        let again = vault.delete_group(&team()).await;
        assert!(matches!(again, Err(VaultError::NoGroup(_))));
    }

    #[tokio::test]
    async fn who_is_in_a_group_that_is_gone_can_leave_it() {
        let vault = vault().await;
        let kept = GroupName::parse("kept").unwrap();
        for name in [&team(), &kept] {
            vault
                .add_group(name, None, Access::default())
                .await
                .ok()
                .unwrap();
            let joined = vault.add_member(name, &user("alice")).await;
            joined.ok().unwrap();
        }
        let lost = vault.group(&team()).await.ok().unwrap();
        vault
            .delete(&ids::group_record(&lost.id))
            .await
            .ok()
            .unwrap();
        for left in [1, 0] {
            let done = vault.leave_lost_groups(&user("alice")).await;
            assert_eq!(done.ok().unwrap(), left);
        }
        let alice = vault.user(&user("alice")).await.ok().unwrap();
        let kept = vault.group(&kept).await.ok().unwrap();
        assert_eq!(alice.record.groups, [kept.id]);
    }
}
