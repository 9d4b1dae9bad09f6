//! Why a copy was not made.

use crate::store::{RecordId, StoreError};

/// Why a copy was not made, or not to its end, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CopyError {
    /// The source failed.
    #[error("the source: {0}; run the same command again, and it goes on")]
    Source(StoreError),
    /// The destination failed.
    #[error("the destination: {0}; run the same command again, and it goes on")]
    Destination(StoreError),
    /// There is nothing to copy.
    #[error("the source holds no records: check that it is the right one")]
    Empty,
    /// The source is itself half a copy, or no installation was ever begun in it.
    #[error(
        "the source holds no check values, so it is not a whole store: finish the copy that made \
         it, or run `cloakroom check` with its configuration"
    )]
    NotWhole,
    /// The destination's records are not copies of the source's.
    #[error(
        "the destination holds another installation's records; nothing was written: name an empty \
         store, or another store.key_prefix in the same Redis"
    )]
    Foreign,
    /// The destination was begun, and holds nothing else.
    #[error(
        "the destination holds check values and nothing else: `serve`, or a command, was run on it before \
         it was copied to; nothing was written: name an empty store, or empty this one"
    )]
    Begun,
    /// The destination holds more than a part of the backup.
    #[error(
        "the store is in use, or holds what is not in the backup; nothing was written: an earlier \
         state would bring back keys revoked since, so name an empty store (another store.url or \
         store.key_prefix), or move this one away first"
    )]
    InUse,
    /// Somebody works at the destination.
    #[error(
        "the destination holds {count} newer than the source's (such as {first}): somebody writes \
         there, and it is not overwritten; if the destination is the one in use, there is nothing \
         left to copy; if not, stop its writers and begin with an empty one"
    )]
    Newer {
        /// How many records.
        count: u64,
        /// One of them.
        first: RecordId,
    },
    /// A record was tampered with on one side.
    #[error(
        "{count} of the destination have the version of the source's but other bytes (such as \
         {first}): one of the two stores was tampered with or damaged; find out which opens \
         (`cloakroom check`, `cloakroom explain`), and begin with an empty destination"
    )]
    Differs {
        /// How many records.
        count: u64,
        /// One of them.
        first: RecordId,
    },
    /// The destination has what the source has not, from before this run.
    #[error(
        "the destination holds {count} the source does not have (such as {first}); nothing was \
         written: when they were deleted at the source after an earlier copy, run again with \
         --delete to delete them there too; when they were made at the destination, it is in use"
    )]
    Extra {
        /// How many records.
        count: u64,
        /// One of them.
        first: RecordId,
    },
    /// Somebody serves from the destination.
    #[error(
        "{count} proxies serve from the destination, or did a minute ago; nothing was written: \
         if it is the store in use, there is nothing to copy; if not, stop them, wait a minute, or \
         run again with --again"
    )]
    Serving {
        /// How many proxies.
        count: u64,
    },
    /// The destination was whole, and now lacks records.
    #[error(
        "the destination was whole, and lacks {count} records the source has (such as {first}); \
         nothing was written: deleted at the destination they would come back, so if it was used since \
         an earlier copy, it is the newer one; when nobody used it and they are new at the source, \
         run again with --again"
    )]
    Lost {
        /// How many records.
        count: u64,
        /// One of them.
        first: RecordId,
    },
    /// Somebody writes at the source faster than it is copied.
    #[error(
        "the source keeps changing: {left} records were not equal in the last pass; stop the \
         writers (proxies may go on) and run the same command again with --again, which goes on"
    )]
    KeepsChanging {
        /// How many in the last pass.
        left: u64,
    },
}
