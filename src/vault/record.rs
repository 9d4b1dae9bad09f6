//! What the sealed records of keys and users say. Serialized as JSON inside the seal.

use serde::{Deserialize, Serialize};

use super::ids::UserId;

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
}

/// `u/<id>`: who a user is and which secret sets he has.
#[derive(Serialize, Deserialize)]
pub struct UserRecord {
    /// The name the administrator gave.
    pub name: String,
    /// For looking the user up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Unix seconds.
    pub created: u64,
    /// A disabled user's keys are refused.
    pub disabled: bool,
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

/// One secret set a user has.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct SecretRef {
    /// Server name.
    pub server: String,
    /// Profile name.
    pub profile: String,
    /// The least version its record may have: an older one was put back by somebody.
    pub version: u64,
}

impl UserRecord {
    /// The set for `server` and `profile`, if the user has one.
    #[must_use]
    pub fn secret_ref(&self, server: &str, profile: &str) -> Option<&SecretRef> {
        self.secrets
            .iter()
            .find(|set| set.server == server && set.profile == profile)
    }
}

/// `n/<mac>`: whose name or e-mail this is.
#[derive(Serialize, Deserialize)]
pub(super) struct IndexRecord {
    pub(super) user: UserId,
}
