//! What a writer records of its chain itself.

use serde::{Deserialize, Serialize};

use crate::vault::WriterId;

/// A record about the chain.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Own {
    /// The first record.
    Open {
        host: String,
        pid: u32,
        version: &'static str,
        /// The key of the keyring that the chain's key comes from.
        key: String,
        sink: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// The chain that ended because it was not clear what of it had been taken.
        #[serde(skip_serializing_if = "Option::is_none")]
        follows: Option<WriterId>,
    },
    /// The chain goes on in another file: the tag before stands in it, so that it can be checked without
    /// the file before.
    Reopen { after: String },
    /// The store has been told of the chain up to the record `anchored`.
    Anchor { anchored: u64 },
    /// The sink failed for a time: so many events were not recorded (but for those that did not happen
    /// because of it), and so many lines were left behind torn.
    Lost { records: u64, torn: u64 },
    /// The last record.
    Close,
}

/// What checking needs of these records.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Said {
    pub(super) at: String,
    pub(super) host: String,
    pub(super) pid: u32,
    pub(super) sink: String,
    pub(super) after: String,
    pub(super) anchored: u64,
    pub(super) records: u64,
    pub(super) torn: u64,
}
