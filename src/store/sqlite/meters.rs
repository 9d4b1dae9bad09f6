//! Meters in the file. The clock is the machine's, which all processes that may use the file share.
//!
//! A commit does not wait for the disk: after a power failure the last permits are there again. Nothing
//! else can be lost by that: whoever commits a record next has this on disk with it.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{StoreError, failed};
use crate::store::meter::{self, Level};
use crate::store::{Ask, Taken};

/// Made by the first who takes: a file of an earlier release, or one that was restored, has none.
const TABLE: &str = "
CREATE TABLE IF NOT EXISTS meters
    (id TEXT PRIMARY KEY, level INTEGER NOT NULL, until INTEGER NOT NULL, expires INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS meters_expire ON meters (expires);
";

/// Rows nobody needs any more that go when a new one comes.
const SWEPT: u32 = 8;

pub(super) fn take(connection: &mut Connection, asks: &[Ask]) -> Result<Vec<Taken>, StoreError> {
    connection
        .pragma_update(None, "synchronous", "NORMAL")
        .map_err(failed)?;
    // Immediate: takes the write lock before the read, so that nobody takes in between.
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    transaction.execute_batch(TABLE).map_err(failed)?;
    let now = meter::micros(SystemTime::now());
    let taken = asks
        .iter()
        .map(|ask| take_one(&transaction, ask, now))
        .collect::<rusqlite::Result<_>>()
        .map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(taken)
}

fn take_one(transaction: &Connection, ask: &Ask, now: u64) -> rusqlite::Result<Taken> {
    let name = ask.name();
    let found = transaction
        .prepare_cached("SELECT level, until, expires FROM meters WHERE id = ?1")?
        .query_row([&name], |row| {
            let number = |index| row.get(index).map(|n: i64| u64::try_from(n).unwrap_or(0));
            Ok(Level {
                level: number(0)?,
                until: number(1)?,
                expires: number(2)?,
            })
        })
        .optional()?;
    let (kept, taken) = meter::take(ask.meter, found, ask.want, now);
    if let Some(kept) = kept {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        transaction
            .prepare_cached(
                "INSERT INTO meters (id, level, until, expires) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (id) DO UPDATE SET level = ?2, until = ?3, expires = ?4",
            )?
            .execute(params![
                name,
                number(kept.level),
                number(kept.until),
                number(kept.expires)
            ])?;
        if found.is_none() {
            sweep(transaction, now)?;
        }
    }
    Ok(taken)
}

fn sweep(transaction: &Connection, now: u64) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "DELETE FROM meters WHERE id IN \
             (SELECT id FROM meters WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
        )?
        .execute(params![i64::try_from(now).unwrap_or(i64::MAX), SWEPT])
}
