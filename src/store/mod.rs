//! Sealed records by id. A store knows nothing of users, keys or ciphers.
//!
//! Rules every store keeps, tested by one suite that runs unchanged against each of them:
//!
//! 1. Every write is compare-and-swap on the record's version: a writer who read an older version
//!    is told [`WriteError::Conflict`] and changes nothing.
//! 2. [`Store::page`] walks ids in byte order; a record that exists during the whole walk is seen
//!    exactly once.
//! 3. [`Store::watch`] reports every change made by anybody (another process, another machine)
//!    after its first [`Event::Up`]. When it cannot promise that, it says [`Event::Down`], and after
//!    the next `Up` everything read before it must be read again. Quiet records
//!    ([`RecordId::is_quiet`]) are never reported.
//! 4. [`Store::take`] lets nobody take more permits than a meter holds, whoever else takes at the same
//!    moment, by the store's clock alone.
//!
//! A store in SQLite is for one machine: several processes may share the file, but never over a
//! network file system. One in Redis may have any number of proxies; its ACL user needs
//! [`REDIS_ACL_RULE`].

mod backup;
mod copy;
mod memory;
mod meter;
mod open;
mod pages;
mod redis;
mod settings;
mod sqlite;
mod url;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

pub use self::backup::{Backup, BackupError, backup, restore};
pub use self::copy::{Copied, CopyError, Rule, Stage, Tally, Told, copy};
pub use self::meter::{Ask, Meter, MeterId, Taken};
pub use self::open::{open, open_to_read};
pub use self::pages::Pages;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use self::redis::heard;
pub use self::settings::{OpenError, REDIS_ACL_RULE, Settings};
pub use self::url::{Login, StoreUrl, UrlError};
pub use crate::tls::ClientCertificate;

/// The schema of every store that can be opened.
pub const SCHEMA: u32 = settings::SCHEMA;

/// The longest blob a store takes, in bytes.
pub const BLOB_LIMIT: usize = 16 << 20;

/// The kind of records that change all the time and that nobody keeps a copy of: usage.
const QUIET: char = 'r';

/// The id of a record: one lower-case letter (its kind), `/`, at least two lower-case hex digits
/// (stores may shard by the first two), then `[0-9a-f/]*`. 200 bytes at most.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(Arc<str>);

impl RecordId {
    /// Checks the form above.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(2)?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let well_formed = text.len() <= 200
            && kind.as_bytes()[0].is_ascii_lowercase()
            && kind.as_bytes()[1] == b'/'
            && rest.len() >= 2
            && rest.bytes().take(2).all(hex)
            && rest.bytes().all(|b| hex(b) || b == b'/');
        well_formed.then(|| Self(text.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether changes of this record are not for [`Store::watch`] to report.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.0.starts_with(QUIET)
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a store keeps: an id, a version and a sealed blob.
///
/// The writer chooses the version, because the blob is sealed to it; a store only compares.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it is kept.
    pub id: RecordId,
    /// Greater than that of every earlier record under this id; at most `i64::MAX`.
    pub version: u64,
    /// Ciphertext; at most [`BLOB_LIMIT`] bytes.
    pub blob: Bytes,
}

/// What [`Store::watch`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Watching began (again): every change from now on is reported, whatever happened before is not.
    Up,
    /// A record was written or deleted.
    Changed(RecordId),
    /// Every change made until a moment ago has been reported. Sent at least once a second while up.
    Alive,
    /// Changes may be missed from now on, until the next [`Event::Up`].
    Down,
    /// As [`Event::Down`], but the store can be reached: it refuses to report changes, so they are to
    /// be found by reading again. [`Event::Alive`] goes on.
    Blind,
}

/// Why a read failed, or a write for a reason other than a conflict.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store does not answer; trying again may help.
    #[error("the store cannot be reached: {0}")]
    Unreachable(String),
    /// The store answered with something that is not ours, or is damaged.
    #[error("the store holds something unexpected: {0}")]
    Damaged(String),
    /// The record's blob is longer than [`BLOB_LIMIT`], or its version greater than `i64::MAX`.
    #[error("{0} is too large for the store")]
    TooLarge(RecordId),
    /// This kind of store cannot do that.
    #[error("the store cannot do that: {0}")]
    Unsupported(&'static str),
}

/// Why a write did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// Somebody else wrote first: read again and decide anew.
    #[error("the record was changed by somebody else meanwhile")]
    Conflict,
    /// The store failed; the write may or may not have happened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether the store's copies have what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Every copy has it, or there are no copies.
    Everywhere,
    /// Only some copies confirmed in time.
    Partly {
        /// Copies that confirmed.
        confirmed: u32,
        /// Copies there are.
        of: u32,
    },
}

fn check_size(record: &Record) -> Result<(), StoreError> {
    if record.blob.len() > BLOB_LIMIT || i64::try_from(record.version).is_err() {
        return Err(StoreError::TooLarge(record.id.clone()));
    }
    Ok(())
}

/// A place that keeps sealed records. See the module's rules.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads records in one round trip; the answer has one entry per id, in the order asked.
    async fn get_many(&self, ids: &[RecordId]) -> Result<Vec<Option<Record>>, StoreError>;

    /// Writes `record` if the version now stored under its id is `expected` (`None`: if there is none).
    async fn put_if(&self, record: Record, expected: Option<u64>) -> Result<(), WriteError>;

    /// Deletes the record if its version is `expected`.
    async fn delete_if(&self, id: &RecordId, expected: u64) -> Result<(), WriteError>;

    /// At most `limit` records whose id starts with `prefix` (which holds at least `x/`) and comes after
    /// `after`, in byte order of the ids. Fewer than `limit`: there are no more.
    async fn page(
        &self,
        prefix: &str,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError>;

    /// Waits, at most a second, until copies of the store have what was written before the call.
    async fn settle(&self) -> Result<Settled, StoreError>;

    /// What works, but not as well as it should, and how to mend it: a sentence each.
    async fn remarks(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// Which of the store's servers keeps a record: those of another one say nothing about whether it
    /// can be reached. Takes no time.
    fn shard_of(&self, _id: &RecordId) -> u16 {
        0
    }

    /// Takes permits from each meter, as many as there are up to what is wanted; the answer has one entry
    /// per ask, in their order. Each meter by itself: one may grant and another refuse. After an error
    /// permits may have been taken.
    async fn take(&self, _asks: &[Ask]) -> Result<Vec<Taken>, StoreError> {
        Err(StoreError::Unsupported("it has no meters"))
    }

    /// Whether [`Store::append`] works.
    fn has_streams(&self) -> bool {
        false
    }

    /// Appends lines to a Redis stream, each as the field `line` of an entry of its own, in their order,
    /// and lets it forget its oldest entries when there are about `keep`. `stream` is of `[a-z0-9-]`, 1 to
    /// 63 characters. After an error some of the lines, the first ones, may have been appended.
    async fn append(&self, _stream: &str, _keep: u64, _lines: &[Bytes]) -> Result<(), StoreError> {
        Err(StoreError::Unsupported("only Redis has streams"))
    }

    /// Starts watching. Works until the receiver is dropped, through any number of failures.
    fn watch(&self) -> mpsc::UnboundedReceiver<Event>;
}
