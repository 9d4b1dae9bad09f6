//! What the sealed records say. Serialized as JSON inside the seal.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::access::{Access, Limits};
use super::ids::{GroupId, UserId};
use crate::names::Pattern;

/// `k/<digest>`: what a key is.
#[derive(Serialize, Deserialize)]
pub struct KeyRecord {
    /// Whose it is.
    pub user: UserId,
    /// What its owner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The profile it uses where the path names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Unix seconds.
    pub created: u64,
    /// Unix seconds from which it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Unix seconds at which it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
    /// Bounds of this key alone, besides its user's.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

/// `u/<id>`: who a user is, what he may do, and which secret sets he has.
#[derive(Serialize, Deserialize, Clone)]
pub struct UserRecord {
    /// The name the administrator gave.
    pub name: String,
    /// For looking the user up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Who it is, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What administrators keep in mind about him.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Whatever other systems want to find here.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Unix seconds.
    pub created: u64,
    /// Unix seconds of the last change by an administrator; 0 if there was none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub updated: u64,
    /// A disabled user's keys are refused.
    pub disabled: bool,
    /// Servers and tools he may use.
    #[serde(default, skip_serializing_if = "Access::is_empty")]
    pub access: Access,
    /// The groups he is in, in the order he joined. One that cannot be read stops his requests: what it
    /// blocks would be allowed otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupId>,
    /// Bounds, where they differ from everybody's.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// The users in whose name he may call tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acts_for: Vec<Pattern>,
    /// The secret sets there are.
    #[serde(flatten)]
    pub sets: SecretSets,
}

/// `g/<id>`: what the members of a group share.
#[derive(Serialize, Deserialize, Clone)]
pub struct GroupRecord {
    /// The name the administrator gave.
    pub name: String,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Unix seconds.
    pub created: u64,
    /// Unix seconds of the last change by an administrator; 0 if there was none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub updated: u64,
    /// Servers and tools its members may use.
    #[serde(default, skip_serializing_if = "Access::is_empty")]
    pub access: Access,
    /// The secret sets its members use where they have no secret of the same name themselves.
    #[serde(flatten)]
    pub sets: SecretSets,
}

/// `o/<digest>`: what the key of an administrator is.
#[derive(Serialize, Deserialize, Clone)]
pub struct AdminKeyRecord {
    /// Who holds it. One who is called as a user may issue keys for that user.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// Unix seconds.
    pub created: u64,
    /// Unix seconds from which it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Unix seconds at which it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
}

/// What an administrator may do; each may do what those before may.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Reader,
    /// Change users, groups, access, limits and secrets; revoke.
    Admin,
    /// Act as others: issue keys for users, say who may act for whom, and manage administrators.
    Owner,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Reader, Self::Admin, Self::Owner];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or("write owner, admin or reader")
    }
}

/// The secret sets of a user or a group.
#[derive(Serialize, Deserialize, Clone, Default)]
pub struct SecretSets {
    /// The secret sets there are. A set that is listed but cannot be read stops the request, so
    /// deleting a record from the store never makes another set count instead.
    #[serde(default)]
    pub secrets: Vec<SecretRef>,
    /// When a set was last deleted, as a version. A set that is not listed and not newer is one
    /// that somebody put back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deleted: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape serde wants")]
fn is_zero(version: &u64) -> bool {
    *version == 0
}

/// One secret set.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct SecretRef {
    /// Server name.
    pub server: String,
    /// Profile name.
    pub profile: String,
    /// The least version its record may have: an older one was put back by somebody.
    pub version: u64,
}

impl SecretSets {
    /// The set for `server` and `profile`, if there is one.
    #[must_use]
    pub fn get(&self, server: &str, profile: &str) -> Option<&SecretRef> {
        let is_it = |set: &&SecretRef| set.server == server && set.profile == profile;
        self.secrets.iter().find(is_it)
    }

    /// Lists a set at its version, or a later one if that is listed already.
    pub(super) fn list(&mut self, entry: SecretRef) {
        let known = self
            .secrets
            .iter_mut()
            .find(|known| known.server == entry.server && known.profile == entry.profile);
        match known {
            Some(known) => known.version = known.version.max(entry.version),
            None => self.secrets.push(entry),
        }
    }

    /// Lists a set no more, which was deleted at this version.
    pub(super) fn unlist(&mut self, server: &str, profile: &str, deleted: u64) {
        self.secrets
            .retain(|set| set.server != server || set.profile != profile);
        self.deleted = self.deleted.max(deleted);
    }
}

/// `n/<mac>`: whose name or e-mail this is.
#[derive(Serialize, Deserialize)]
pub(super) struct IndexRecord {
    pub(super) user: UserId,
}

/// `n/<mac>` of a group's name.
#[derive(Serialize, Deserialize)]
pub(super) struct GroupIndexRecord {
    pub(super) group: GroupId,
}
