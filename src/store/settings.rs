//! What the configuration says of the store, and what may be wrong with it.

use std::path::PathBuf;

use super::url::{Login, StoreUrl};
use crate::tls::{ClientCertificate, TlsError};

/// The smallest ACL rule with which a Redis store works, for the default `store.key_prefix` (`~` says
/// which keys). To be used as `ACL SETUSER cloakroom on >PASSWORD` and this, on every server. `select` is
/// for a database other than 0, `cluster|slots` and `asking` are for a Cluster, and nothing elsewhere.
/// Without `client|tracking` changes are found by reading again, without `info` nobody is warned.
pub const REDIS_ACL_RULE: &str = "resetchannels -@all ~cloakroom:* \
    +get +set +getrange +del +zadd +zrem +zrangebylex +xadd +time +eval +evalsha \
    +ping +role +wait +info +client|tracking +cluster|slots +asking +select";

/// What every key begins with, unless `store.key_prefix` says otherwise; [`REDIS_ACL_RULE`] has it too.
const KEY_PREFIX: &str = "cloakroom:";

/// The schema this release writes, in every kind of store.
pub(super) const SCHEMA: u32 = 1;

/// What the configuration says about the store. It may hold a password, so it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `store.url`.
    pub url: StoreUrl,
    /// `store.ca_file`: PEM certificates a `rediss://` server's certificate must lead to. `None`: the
    /// system's.
    pub ca_file: Option<PathBuf>,
    /// `store.sentinel_user` and `store.sentinel_password`: Sentinels have users of their own.
    pub sentinel_login: Option<Login>,
    /// `store.cert_file` and `store.key_file`: what a `rediss://` server that asks is shown.
    pub identity: Option<ClientCertificate>,
    /// What every Redis key starts with, so that several installations can share a server.
    pub key_prefix: String,
}

impl Settings {
    /// The settings when the configuration names only the URL.
    #[must_use]
    pub fn new(url: StoreUrl) -> Self {
        Self {
            url,
            ca_file: None,
            sentinel_login: None,
            identity: None,
            key_prefix: KEY_PREFIX.to_owned(),
        }
    }
}

/// Why the store cannot be opened, and what to do about it. Never holds a password.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// A file of `store.ca_file`, `store.cert_file` or `store.key_file` cannot be used.
    #[error("store: {0}")]
    Certificates(#[from] TlsError),
    /// The folder the database should be in does not exist.
    #[error("the folder {} does not exist; create it (mode 0700), or change store.url", folder.display())]
    FolderMissing {
        /// The folder.
        folder: PathBuf,
    },
    /// The server refused the user or password.
    #[error(
        "{address} refused the login: {reason}; check user and password in store.url \
         (redis://user:password@host)"
    )]
    LoginRefused {
        /// `host:port`.
        address: String,
        /// The server's words.
        reason: String,
    },
    /// The login works but may not do what Cloakroom needs.
    #[error(
        "{address} forbids what Cloakroom needs: {reason}; give the user of store.url the ACL rule \
         {rule}"
    )]
    NotAllowed {
        /// `host:port`.
        address: String,
        /// The server's words.
        reason: String,
        /// [`REDIS_ACL_RULE`] with the prefix of this store.
        rule: String,
    },
    /// There is something else at this place.
    #[error("{place} is not a store of Cloakroom: {reason}; change store.url, or move it away")]
    NotOurs {
        /// The file or server.
        place: String,
        /// What was found.
        reason: String,
    },
    /// The file cannot be written.
    #[error(
        "{} cannot be written: {reason}; make it and its folder writable for this user, \
         or change store.url", path.display()
    )]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// Written by a newer release.
    #[error(
        "{place} has schema {found}, written by a newer release; this one knows up to {SCHEMA}: \
         run that newer release (or restore a copy made before the upgrade)"
    )]
    SchemaNewer {
        /// The file or server.
        place: String,
        /// Its schema.
        found: u64,
    },
    /// Written by an older release.
    #[error(
        "{place} has schema {found}, older than the {SCHEMA} this release writes: \
         upgrade it with the release before this one, or start with an empty store"
    )]
    SchemaOlder {
        /// The file or server.
        place: String,
        /// Its schema.
        found: u64,
    },
    /// The connection could not be secured.
    #[error(
        "no TLS with {address}: {reason}; check that store.url names the host of the server's \
         certificate, store.ca_file the authority that signed it, and, if the server asks for one, \
         store.cert_file and store.key_file a certificate it trusts"
    )]
    Tls {
        /// `host:port`.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// Nobody answers there, or not in time.
    #[error("{place} cannot be reached: {reason}; check that it runs and that store.url is right")]
    Unreachable {
        /// The file or server.
        place: String,
        /// What went wrong.
        reason: String,
    },
}

impl OpenError {
    /// Advises a rule for the keys that begin with `prefix`.
    pub(super) fn for_prefix(mut self, prefix: &str) -> Self {
        if let Self::NotAllowed { rule, .. } = &mut self {
            *rule = rule.replacen(&format!("~{KEY_PREFIX}*"), &format!("~{prefix}*"), 1);
        }
        self
    }
}
