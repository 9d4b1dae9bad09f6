//! Whose secrets are meant: a user's, or those a group shares. The vault's write path is the same for both.

use std::fmt;

use super::record::SecretSets;
use super::{OwnerId, Vault, VaultError};
use crate::names::{GroupName, UserName};

/// A user or a group, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A user.
    User(UserName),
    /// A group.
    Group(GroupName),
}

impl Owner {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::User(name) => name.as_str(),
            Self::Group(name) => name.as_str(),
        }
    }

    /// `user` or `group`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Group(_) => "group",
        }
    }

    /// That there is none.
    pub(super) fn is_gone(&self) -> VaultError {
        match self {
            Self::User(name) => VaultError::NoUser(name.to_string()),
            Self::Group(name) => VaultError::NoGroup(name.clone()),
        }
    }

    /// The words of a command on its secrets, without `cloakroom`.
    #[must_use]
    pub fn command(&self, verb: &str) -> String {
        match self {
            Self::User(name) => format!("secret {verb} {name}"),
            Self::Group(name) => format!("group secret {verb} {name}"),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "`{name}`"),
            Self::Group(name) => write!(f, "the group `{name}`"),
        }
    }
}

impl From<UserName> for Owner {
    fn from(name: UserName) -> Self {
        Self::User(name)
    }
}

impl From<&Self> for Owner {
    fn from(owner: &Self) -> Self {
        owner.clone()
    }
}

impl From<&UserName> for Owner {
    fn from(name: &UserName) -> Self {
        Self::User(name.clone())
    }
}

impl From<&GroupName> for Owner {
    fn from(name: &GroupName) -> Self {
        Self::Group(name.clone())
    }
}

impl Vault {
    /// Whether there is such a user or group.
    ///
    /// # Errors
    /// That there is none, or what keeps the record from being read.
    pub async fn check_owner(&self, owner: &Owner) -> Result<(), VaultError> {
        self.sets_of(owner).await.map(drop)
    }

    /// Who it is, and the sets that are listed.
    pub(super) async fn sets_of(&self, owner: &Owner) -> Result<(OwnerId, SecretSets), VaultError> {
        match owner {
            Owner::User(name) => {
                let user = self.user(name).await?;
                Ok((user.id.into(), user.record.sets))
            }
            Owner::Group(name) => {
                let group = self.group(name).await?;
                Ok((group.id.into(), group.record.sets))
            }
        }
    }

    /// Changes what is listed for the one that was found, whoever has its name by now.
    pub(super) async fn change_sets(
        &self,
        owner: &Owner,
        id: OwnerId,
        change: impl Fn(&mut SecretSets),
    ) -> Result<(), VaultError> {
        match (owner, id) {
            (Owner::User(_), OwnerId::User(id)) => {
                let user = self.change_user_by_id(&id, |record| {
                    change(&mut record.sets);
                    Ok(())
                });
                user.await.map(drop)
            }
            (Owner::Group(name), OwnerId::Group(id)) => {
                let group = self.change_group_by_id(&id, name, |record| {
                    change(&mut record.sets);
                    Ok(())
                });
                group.await.map(drop)
            }
            _ => Err(owner.is_gone()),
        }
    }
}
