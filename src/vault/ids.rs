//! Where records lie: ids that show no name to who reads the store.
//!
//! | id | record |
//! |---|---|
//! | `k/<digest>` | a key |
//! | `u/<user id>` | a user |
//! | `s/<user id>/<mac(server, profile)>` | all secrets of a user for a server and profile |
//! | `n/<mac(name)>`, `n/<mac(e-mail)>` | whose name or e-mail it is; of a group's name, which group |
//! | `a/<user id>/<digest>` | that a key belongs to a user, for listing and deleting |
//! | `c/<key id>` | check value of a keyring's key |
//! | `h/<random>` | a process that serves |
//! | `g/<group id>`, `s/<group id>/<mac(server, profile)>` | a group, and secrets it shares |
//! | `m/<group id>/<user id>` | that a user is in a group, for listing and deleting |
//! | `o/<digest>` | a key of an administrator |
//! | `r/<user id>` | what a user used: nobody watches it |
//! | `t/<writer>` | how far the audit trail of a process goes |

use std::fmt;

use serde::{Deserialize, Serialize};

use super::crypto::{Mac, fill_random};
use crate::identity::{KeyDigest, KeyId};
use crate::store::RecordId;

/// A user for good: 16 random bytes, so that a name used again is somebody else.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserId([u8; 16]);

impl UserId {
    pub(super) fn generate() -> Self {
        let mut id = [0; 16];
        fill_random(&mut id);
        Self(id)
    }

    /// The id's bytes: part of what sessions and pools are keyed by.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16)
            .ok()
            .filter(|_| text.len() == 32)
            .map(|id| Self(id.to_be_bytes()))
    }
}

/// A group for good, as [`UserId`] is a user.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupId(UserId);

impl GroupId {
    pub(super) fn generate() -> Self {
        Self(UserId::generate())
    }

    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        UserId::from_hex(text).map(Self)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupId({self})")
    }
}

/// Whose secrets a set holds. The two never share a place: ids are random, and never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnerId {
    /// A user's.
    User(UserId),
    /// Those a group shares.
    Group(GroupId),
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            Self::Group(id) => id.fmt(f),
        }
    }
}

impl From<UserId> for OwnerId {
    fn from(id: UserId) -> Self {
        Self::User(id)
    }
}

impl From<GroupId> for OwnerId {
    fn from(id: GroupId) -> Self {
        Self::Group(id)
    }
}

/// A name nobody can guess: 128 random bits in hexadecimal.
#[must_use]
pub fn random_id() -> String {
    UserId::generate().to_string()
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({self})")
    }
}

impl Serialize for UserId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("not a user id"))
    }
}

/// Where the record of a key is.
#[must_use]
pub fn key_record(digest: &KeyDigest) -> RecordId {
    record_id(format!("k/{}", digest.to_hex()))
}

/// Where the record of a user is.
#[must_use]
pub fn user_record(user: &UserId) -> RecordId {
    record_id(format!("u/{user}"))
}

/// Where the record of a group is.
#[must_use]
pub fn group_record(group: &GroupId) -> RecordId {
    record_id(format!("g/{group}"))
}

pub(super) fn group_id(id: &RecordId) -> Option<GroupId> {
    GroupId::from_hex(id.as_str().strip_prefix("g/")?)
}

pub(super) fn membership(group: &GroupId, user: &UserId) -> RecordId {
    record_id(format!("m/{group}/{user}"))
}

pub(super) fn members_prefix(group: &GroupId) -> String {
    format!("m/{group}/")
}

/// Who is in the group.
pub(super) fn member(id: &RecordId) -> Option<UserId> {
    UserId::from_hex(id.as_str().rsplit('/').next()?)
}

/// Where it is written what a user used.
pub(super) fn usage(user: &UserId) -> RecordId {
    record_id(format!("r/{user}"))
}

/// Where the record of an administrator's key is.
pub(super) fn admin_key_record(digest: &KeyDigest) -> RecordId {
    record_id(format!("o/{}", digest.to_hex()))
}

pub(super) fn admin_key_prefix(id: &KeyId) -> String {
    format!("o/{id}")
}

pub(super) fn user_id(id: &RecordId) -> Option<UserId> {
    UserId::from_hex(id.as_str().strip_prefix("u/")?)
}

pub(super) fn key_prefix(id: &KeyId) -> String {
    format!("k/{id}")
}

pub(super) fn key_digest(id: &RecordId) -> Option<KeyDigest> {
    KeyDigest::from_hex(id.as_str().rsplit('/').next()?)
}

pub(super) fn secrets(mac: &Mac, owner: OwnerId, server: &str, profile: &str) -> RecordId {
    let tag = mac.tag(&[b"secrets", server.as_bytes(), profile.as_bytes()]);
    record_id(format!("s/{owner}/{}", hex(&tag[..16])))
}

pub(super) fn secrets_prefix(owner: OwnerId) -> String {
    format!("s/{owner}/")
}

/// Whose secret set this is, as a user and as a group: its id does not say which of the two.
pub(super) fn set_owner(id: &RecordId) -> Option<(UserId, GroupId)> {
    let (owner, _) = id.as_str().strip_prefix("s/")?.split_once('/')?;
    UserId::from_hex(owner).map(|id| (id, GroupId(id)))
}

pub(super) fn owned_key(user: &UserId, digest: &KeyDigest) -> RecordId {
    record_id(format!("a/{user}/{}", digest.to_hex()))
}

pub(super) fn owned_keys_prefix(user: &UserId) -> String {
    format!("a/{user}/")
}

pub(super) fn name_index(mac: &Mac, name: &str) -> RecordId {
    record_id(format!("n/{}", hex(&mac.tag(&[b"name", name.as_bytes()]))))
}

pub(super) fn group_index(mac: &Mac, name: &str) -> RecordId {
    record_id(format!("n/{}", hex(&mac.tag(&[b"group", name.as_bytes()]))))
}

pub(super) fn email_index(mac: &Mac, email: &str) -> RecordId {
    let email = email.to_lowercase();
    record_id(format!(
        "n/{}",
        hex(&mac.tag(&[b"email", email.as_bytes()]))
    ))
}

pub(super) fn key_check(name: &str) -> RecordId {
    record_id(format!("c/{}", hex(name.as_bytes())))
}

/// Which key a check value is of.
pub(super) fn checked_key(id: &RecordId) -> Option<String> {
    let hex = id.as_str().strip_prefix("c/")?.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<_>> = hex.chunks(2).map(byte).collect();
    String::from_utf8(bytes?).ok()
}

/// Where the records of processes that serve are.
pub(super) const PRESENCE: &str = "h/";

/// A new place for the record of a process.
pub(super) fn presence() -> RecordId {
    let mut id = [0; 16];
    fill_random(&mut id);
    record_id(format!("{PRESENCE}{}", hex(&id)))
}

/// Where the anchors of the audit trail are.
pub(super) const ANCHORS: &str = "t/";

/// Where the anchor of a writer of the audit trail is.
pub(super) fn anchor(writer: &super::WriterId) -> RecordId {
    record_id(format!("{ANCHORS}{writer}"))
}

fn record_id(text: String) -> RecordId {
    RecordId::parse(&text).expect("a kind, a slash and hexadecimal digits")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_check_value_is_read_from_its_id() {
        let id = key_check("realm:r1");
        assert_eq!(checked_key(&id).as_deref(), Some("realm:r1"));
        assert_eq!(checked_key(&record_id("k/00".into())), None);
    }

    #[test]
    fn user_ids_survive_their_text() {
        let id = UserId::generate();
        assert_eq!(UserId::from_hex(&id.to_string()), Some(id));
        assert_eq!(UserId::from_hex("1"), None);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<UserId>(&json).unwrap(), id);
    }
}
