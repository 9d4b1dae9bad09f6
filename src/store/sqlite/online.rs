//! The online backup: one moment of a file in use, made a file of its own.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::file::reopen;
use super::{StoreError, failed};
use crate::store::Tally;

/// Pages copied between two words of how far it is: 4 MiB.
const PAGES: i32 = 1024;

/// Copies the store at `from` into the empty file `to`, pages at a time, and checks what was copied.
///
/// It is of one moment: a read transaction keeps what it sees, while others go on writing.
pub(in crate::store) fn copy_to(
    from: &Path,
    to: &Path,
    told: impl Fn(u64, u64),
) -> Result<(), StoreError> {
    let (_, source) = reopen(from)?;
    let moment = source.unchecked_transaction().map_err(failed)?;
    moment
        .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
        .map_err(failed)?;
    let mut target = Connection::open(to).map_err(failed)?;
    target
        .pragma_update(None, "synchronous", "FULL")
        .map_err(failed)?;
    let backup = Backup::new(&moment, &mut target).map_err(failed)?;
    loop {
        let step = backup.step(PAGES).map_err(failed)?;
        let at = backup.progress();
        let done = at.pagecount.saturating_sub(at.remaining);
        told(
            u64::try_from(done).unwrap_or(0),
            u64::try_from(at.pagecount).unwrap_or(0),
        );
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            other => {
                let reason = format!("the backup cannot go on: {other:?}");
                return Err(StoreError::Unreachable(reason));
            }
        }
    }
    drop(backup);
    drop(target);
    make_whole(to)
}

/// Makes a store nobody has open one file, checks every page of it, and has it on disk.
pub(in crate::store) fn make_whole(path: &Path) -> Result<(), StoreError> {
    let (_, connection) = reopen(path)?;
    // Without a log beside it, which would be lost when the file is moved.
    connection
        .pragma_update(None, "journal_mode", "DELETE")
        .map_err(failed)?;
    let sound: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(failed)?;
    if sound != "ok" {
        return Err(StoreError::Damaged(sound));
    }
    connection.close().map_err(|(_, error)| failed(error))?;
    let synced = std::fs::File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| StoreError::Unreachable(error.to_string()))
}

/// Records and bytes by kind, without the heartbeats, which are never copied on.
pub(in crate::store) fn tallies(path: &Path) -> Result<BTreeMap<char, Tally>, StoreError> {
    let (_, connection) = reopen(path)?;
    let mut select = connection
        .prepare(
            "SELECT substr(id, 1, 1) AS kind, count(*), sum(length(blob)) FROM records \
             WHERE kind <> 'h' GROUP BY kind",
        )
        .map_err(failed)?;
    let rows = select.query_map([], |row| {
        let kind: String = row.get(0)?;
        let number = |number: i64| u64::try_from(number).unwrap_or_default();
        let tally = Tally {
            records: number(row.get(1)?),
            bytes: number(row.get(2)?),
            ..Tally::default()
        };
        Ok((kind.chars().next().unwrap_or_default(), tally))
    });
    rows.and_then(Iterator::collect).map_err(failed)
}
