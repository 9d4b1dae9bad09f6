//! The vault: everything that is kept about users, sealed; and the one path on which it is written.
//!
//! `keyring` holds the keys, `envelope` is the blob format, `ids` says where records lie, `record`
//! what they say, `secret` is plain text for as long as one request is built. [`Reader`] opens what
//! the cached read path fetched; [`Vault`] writes, for the commands and the administration.
//!
//! Keys are replaced while everything runs: `survey` counts what needs which key, `replicas` knows who
//! serves and with which keys, `rotate` seals everything again, `retire` says when an old key may go.
//!
//! What is claimed: who can write to the store can read and make nothing, but can put an earlier
//! state back. Destroying a data key shreds its secrets for good once copies of the store, and the
//! server key, are gone too.

mod access;
mod admin_keys;
mod check;
mod crypto;
mod envelope;
mod ephemeral;
mod groups;
mod ids;
mod kept;
mod key_name;
mod keyring;
mod keys;
mod members;
mod owner;
mod passphrase;
mod portable;
mod record;
mod replicas;
mod retire;
mod rotate;
mod sealer;
mod secret;
mod secrets;
mod survey;
#[cfg(test)]
mod tests;
mod trail;
mod usage;
mod users;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use access::{Access, Limits};
pub use admin_keys::{AdminKeyInfo, IssuedAdminKey};
pub use check::CheckError;
pub(crate) use crypto::equal;
pub use envelope::{OpenError, SecretOpener};
pub use ephemeral::EphemeralMac;
pub use groups::{Group, GroupChange};
pub use ids::{GroupId, OwnerId, UserId, group_record, key_record, random_id, user_record};
pub use kept::KeptSet;
pub use key_name::{KeyKind, KeyName};
pub use keyring::{Keyring, KeyringError, KeyringText, ReadOnly, Succession};
pub use keys::{AdoptedKey, IssuedKey, KeyInfo, KeyRequest};
pub use members::GROUPS_MAX;
pub use owner::Owner;
pub use passphrase::{PASSPHRASE_MIN, PassphraseError, PassphraseReader, PassphraseWriter};
pub use portable::ExposedSet;
pub use record::{AdminKeyRecord, GroupRecord, KeyRecord, Role, SecretRef, SecretSets, UserRecord};
pub use replicas::{Beacon, Presence, Replica, live};
pub use retire::{Needed, hurt, needed};
pub use rotate::{Left, Reason, Rotation};
pub use sealer::Sealer;
pub use secret::{SECRET_MAX, SECRETS_MAX, SecretError, SecretSet, SecretValue};
pub use secrets::SecretInfo;
pub use survey::{Counted, Survey, survey};
pub use trail::{Anchor, TrailMac, WriterId};
pub use usage::{Use, Used};
pub use users::{AccessChange, NewUser, User, UserChange};

use crate::identity::KeyId;
use crate::names::{GroupName, ServerName, UserName};
use crate::store::{Pages, Record, RecordId, Settled, Store, StoreError, WriteError};
use crate::sys;

/// How often a write is tried again when somebody else wrote first.
const ATTEMPTS: usize = 20;
/// Records read from the store at once while walking it.
const PAGE: usize = 256;

/// Why the vault did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VaultError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Others kept writing the same record.
    #[error("others kept changing the same record: try again")]
    Contended,
    /// The keyring cannot write.
    #[error(transparent)]
    ReadOnly(#[from] ReadOnly),
    /// A record does not open.
    #[error("{what}: {why}")]
    Open {
        /// Which record, in words.
        what: &'static str,
        /// Why.
        why: OpenError,
    },
    /// Nobody has this name or e-mail.
    #[error("there is no user `{0}` (see `cloakroom user list`)")]
    NoUser(String),
    /// The name is taken.
    #[error("there is a user `{0}` already")]
    UserExists(UserName),
    /// The e-mail is another user's.
    #[error("another user has the e-mail `{0}`")]
    EmailTaken(String),
    /// No group has this name.
    #[error("there is no group `{0}` (see `cloakroom group list`)")]
    NoGroup(GroupName),
    /// A user lists a group that is not in the store.
    #[error("a group the user is in is gone from the store: somebody deleted it there")]
    GroupGone,
    /// The name is taken.
    #[error("there is a group `{0}` already")]
    GroupExists(GroupName),
    /// A user is in as many groups as he may be.
    #[error("a user may be in no more than {} groups", GROUPS_MAX)]
    TooManyGroups,
    /// What is to be written is too long.
    #[error("{0}")]
    TooLong(&'static str),
    /// A key that was made elsewhere is known here already.
    #[error("the key `{0}` is known here already")]
    KeyExists(KeyId),
    /// No key has this id.
    #[error("there is no key `{0}` (see `cloakroom key list USER`)")]
    NoKey(KeyId),
    /// A key that was given itself is not one of ours.
    #[error("that key is not known here")]
    UnknownKey,
    /// The keyring has no key for the server.
    #[error("this keyring holds no key for the server `{0}`")]
    NoServerKey(ServerName),
    /// There is no such secret.
    #[error("{user} has no such secret for the server `{server}`")]
    NoSecret {
        /// Whose it would be.
        user: Owner,
        /// For which server.
        server: ServerName,
    },
    /// An earlier state of a secret set was put back into the store.
    #[error(
        "the secrets of {user} for `{server}` are older than they should be: somebody put an \
         earlier state of the store back; delete them (`cloakroom {} {server} --all`) and set them \
         again", user.command("delete")
    )]
    PutBack {
        /// Whose they are.
        user: Owner,
        /// For which server.
        server: ServerName,
    },
    /// A secret set that is listed is not in the store.
    #[error(
        "the secrets of {user} for `{server}` are gone from the store: somebody deleted them there; \
         delete what is left (`cloakroom {} {server} --all`) and set them again", user.command("delete")
    )]
    Gone {
        /// Whose they are.
        user: Owner,
        /// For which server.
        server: ServerName,
    },
    /// More than [`SECRETS_MAX`].
    #[error("no more than {SECRETS_MAX} secrets per user, server and profile")]
    TooManySecrets,
}

/// Opens records and knows where they lie. Reads nothing itself.
pub struct Reader {
    ring: Arc<Keyring>,
    mac: crypto::Mac,
}

impl Reader {
    /// A reader with the keys of `ring`.
    #[must_use]
    pub fn new(ring: Arc<Keyring>) -> Self {
        let mac = ring.index_mac();
        Self { ring, mac }
    }

    /// Where the secrets of a user or a group for a server and profile lie.
    #[must_use]
    pub fn secrets_record(
        &self,
        owner: impl Into<OwnerId>,
        server: &str,
        profile: &str,
    ) -> RecordId {
        ids::secrets(&self.mac, owner.into(), server, profile)
    }

    /// Where it is written whose name this is.
    #[must_use]
    pub fn name_record(&self, name: &UserName) -> RecordId {
        ids::name_index(&self.mac, name.as_str())
    }

    /// Opens the record that says whose a name is.
    ///
    /// # Errors
    /// When it is not what this installation wrote there.
    pub fn open_name(&self, record: &Record) -> Result<UserId, OpenError> {
        self.open::<record::IndexRecord>(record)
            .map(|index| index.user)
    }

    /// Opens the record of a group.
    ///
    /// # Errors
    /// When it is not what this installation wrote there.
    pub fn open_group(&self, record: &Record) -> Result<GroupRecord, OpenError> {
        self.open(record)
    }

    /// Opens the record of a key.
    ///
    /// # Errors
    /// When it is not what this installation wrote there.
    pub fn open_key(&self, record: &Record) -> Result<KeyRecord, OpenError> {
        self.open(record)
    }

    /// Opens the record of a user.
    ///
    /// # Errors
    /// When it is not what this installation wrote there.
    pub fn open_user(&self, record: &Record) -> Result<UserRecord, OpenError> {
        self.open(record)
    }

    fn open<T: DeserializeOwned>(&self, record: &Record) -> Result<T, OpenError> {
        let payload = envelope::open_signed(&self.ring, record)?;
        serde_json::from_slice(&payload).map_err(|_| OpenError::Form)
    }
}

/// The one path on which users, keys and secrets are written.
pub struct Vault {
    store: Arc<dyn Store>,
    ring: Arc<Keyring>,
    reader: Reader,
}

impl Vault {
    /// A vault over `store`, with the keys of `ring`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, ring: Arc<Keyring>) -> Self {
        let reader = Reader::new(ring.clone());
        Self {
            store,
            ring,
            reader,
        }
    }

    /// Waits until copies of the store have what was written before.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn settle(&self) -> Result<Settled, VaultError> {
        Ok(self.store.settle().await?)
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Record>, VaultError> {
        let mut found = self.store.get_many(std::slice::from_ref(id)).await?;
        Ok(found.pop().flatten())
    }

    /// Writes `value` as the signed record `id`; `false` when somebody else wrote first.
    async fn put<T: Serialize>(
        &self,
        id: &RecordId,
        expected: Option<u64>,
        value: &T,
    ) -> Result<bool, VaultError> {
        let payload = serde_json::to_vec(value).expect("records have text keys and no floats");
        let record = envelope::seal_signed(&self.ring, id, next_version(expected), &payload)?;
        wrote(self.store.put_if(record, expected).await)
    }

    /// Writes `payload` as the record `id`, which is not signed, whatever is there.
    async fn put_plain(&self, id: &RecordId, payload: &[u8]) -> Result<(), VaultError> {
        for _ in 0..ATTEMPTS {
            let expected = self.get(id).await?.map(|record| record.version);
            let record = envelope::seal_plain(&self.ring, id, next_version(expected), payload);
            if wrote(self.store.put_if(record, expected).await)? {
                return Ok(());
            }
        }
        Err(VaultError::Contended)
    }

    /// A walk over all records whose id starts with `prefix`.
    fn pages(&self, prefix: impl Into<String>) -> Pages<'_> {
        Pages::new(&*self.store, prefix, PAGE)
    }

    /// Deletes the record whatever its version, if there is one.
    async fn delete(&self, id: &RecordId) -> Result<(), VaultError> {
        for _ in 0..ATTEMPTS {
            let Some(record) = self.get(id).await? else {
                return Ok(());
            };
            if wrote(self.store.delete_if(id, record.version).await)? {
                return Ok(());
            }
        }
        Err(VaultError::Contended)
    }
}

/// Unix seconds now, or at the moment of the turn this is in ([`sys::turn`]).
pub(crate) fn now_seconds() -> u64 {
    sys::wall()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// Unix seconds as UTC, RFC 3339.
#[must_use]
pub fn date(seconds: u64) -> String {
    // The last moment RFC 3339 can write: a key of 9000 years is no reason to panic.
    const LAST: u64 = 253_402_300_799;
    let time = UNIX_EPOCH + Duration::from_secs(seconds.min(LAST));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// A version after `last`. Microseconds of the clock, forced upward: so a record that is deleted
/// and made again does not take a version it had before, and an old blob or an old
/// compare-and-swap never fits the new record.
fn next_version(last: Option<u64>) -> u64 {
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_micros() as u64);
    clock.max(last.map_or(1, |version| version + 1))
}

fn wrote(result: Result<(), WriteError>) -> Result<bool, VaultError> {
    match result {
        Ok(()) => Ok(true),
        Err(WriteError::Conflict) => Ok(false),
        Err(WriteError::Store(error)) => Err(error.into()),
    }
}

fn opened<T>(what: &'static str, result: Result<T, OpenError>) -> Result<T, VaultError> {
    result.map_err(|why| VaultError::Open { what, why })
}
