//! The default store: one SQLite file, shared safely by the proxy and the commands of one machine.
//!
//! Every commit is on disk when it is acknowledged (`synchronous=FULL`), what is deleted is
//! overwritten (`secure_delete`), and nobody but the owner may read the file (mode 0600 from its
//! creation on; SQLite gives `-wal` and `-shm` the same).
//!
//! **Deployment caveat.** A local disk only: SQLite's locks do not work on NFS. Use no other SQLite
//! library older than 3.51.3 on the live file: its WAL-reset bug corrupts a file that several
//! connections have open.

mod file;
mod meters;
mod notices;
pub(super) mod online;
mod watch;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use self::file::Link;
use super::{
    Ask, Event, OpenError, Record, RecordId, Settled, Store, StoreError, Taken, WriteError,
    check_size,
};

/// Readers block on disk reads alone; four keep a small machine busy.
const READERS: usize = 4;
/// How long to wait for another process that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How many changes a watcher may lag behind before it is told to read everything again.
const CHANGES_KEPT: i64 = 10_000;

pub(super) struct Sqlite {
    home: Handle,
    path: Arc<Path>,
    writer: Arc<Mutex<Link>>,
    /// A connection of its own, for it does not wait for the disk.
    meters: Arc<Mutex<Link>>,
    readers: [Arc<Mutex<Link>>; READERS],
    turn: AtomicUsize,
}

impl Sqlite {
    pub(super) async fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_as(path, file::open_or_create).await
    }

    pub(super) async fn open_to_read(path: &Path) -> Result<Self, OpenError> {
        Self::open_as(path, file::open_to_read).await
    }

    async fn open_as(
        path: &Path,
        open: fn(&Arc<Path>) -> Result<Link, OpenError>,
    ) -> Result<Self, OpenError> {
        let home = Handle::current();
        let path: Arc<Path> = path.into();
        let first = Arc::clone(&path);
        let joined = home.spawn_blocking(move || open(&first)).await;
        let writer = joined.map_err(|_| OpenError::Unreachable {
            place: path.display().to_string(),
            reason: "this process is ending".to_owned(),
        })??;
        let reader = || Arc::new(Mutex::new(Link::closed(&path)));
        Ok(Self {
            home,
            writer: Arc::new(Mutex::new(writer)),
            meters: reader(),
            readers: std::array::from_fn(|_| reader()),
            path,
            turn: AtomicUsize::new(0),
        })
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % READERS;
        self.run(&self.readers[turn], work).await
    }

    async fn run<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        link: &Arc<Mutex<Link>>,
        work: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let link = Arc::clone(link);
        let blocking = self.home.spawn_blocking(move || {
            // A panic half way drops the transaction, which rolls back: the connection is sound.
            let mut link = link.lock().unwrap_or_else(PoisonError::into_inner);
            work(link.connection()?)
        });
        let ended = |_| StoreError::Unreachable("this process is ending".to_owned());
        blocking.await.map_err(ended)?
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn get_many(&self, ids: &[RecordId]) -> Result<Vec<Option<Record>>, StoreError> {
        let ids = ids.to_vec();
        self.read(move |connection| get_many(connection, ids)).await
    }

    async fn put_if(&self, record: Record, expected: Option<u64>) -> Result<(), WriteError> {
        check_size(&record)?;
        self.run(&self.writer, move |connection| {
            put_if(connection, &record, expected)
        })
        .await
    }

    async fn delete_if(&self, id: &RecordId, expected: u64) -> Result<(), WriteError> {
        let id = id.clone();
        self.run(&self.writer, move |connection| {
            delete_if(connection, &id, expected)
        })
        .await
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.read(move |connection| page(connection, &prefix, after.as_ref(), limit))
            .await
    }

    /// One file has no copies.
    async fn settle(&self) -> Result<Settled, StoreError> {
        Ok(Settled::Everywhere)
    }

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Taken>, StoreError> {
        let asks = asks.to_vec();
        self.run(&self.meters, move |connection| {
            meters::take(connection, &asks)
        })
        .await
    }

    fn watch(&self) -> UnboundedReceiver<Event> {
        let (events, receiver) = mpsc::unbounded_channel();
        watch::start(Arc::clone(&self.path), events);
        receiver
    }
}

fn get_many(
    connection: &mut Connection,
    ids: Vec<RecordId>,
) -> Result<Vec<Option<Record>>, StoreError> {
    // One transaction: all records are of the same moment.
    let transaction = connection.transaction().map_err(failed)?;
    let mut select = transaction
        .prepare_cached("SELECT version, blob FROM records WHERE id = ?1")
        .map_err(failed)?;
    ids.into_iter()
        .map(|id| {
            let row = select.query_row([id.as_str()], version_and_blob).optional();
            row.map_err(failed)?
                .map(|(version, blob)| record(id, version, blob))
                .transpose()
        })
        .collect()
}

fn page(
    connection: &mut Connection,
    prefix: &str,
    after: Option<&RecordId>,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let mut select = connection
        .prepare_cached(
            "SELECT version, blob, id FROM records \
             WHERE id >= ?1 AND id < ?2 AND id > ?3 ORDER BY id LIMIT ?4",
        )
        .map_err(failed)?;
    // `~` comes after every character an id may hold.
    let end = format!("{prefix}~");
    let after = after.map_or("", RecordId::as_str);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = select
        .query_map(params![prefix, end, after, limit], |row| {
            Ok((version_and_blob(row)?, row.get::<_, String>(2)?))
        })
        .map_err(failed)?;
    rows.map(|row| {
        let ((version, blob), id) = row.map_err(failed)?;
        let id = RecordId::parse(&id);
        let id = id.ok_or_else(|| StoreError::Damaged("a record's id".to_owned()))?;
        record(id, version, blob)
    })
    .collect()
}

fn put_if(
    connection: &mut Connection,
    record: &Record,
    expected: Option<u64>,
) -> Result<(), WriteError> {
    let version = i64::try_from(record.version);
    let version = version.map_err(|_| StoreError::TooLarge(record.id.clone()))?;
    write(connection, &record.id, expected, |connection| {
        let mut upsert = connection.prepare_cached(
            "INSERT INTO records (id, version, blob) VALUES (?1, ?2, ?3) \
             ON CONFLICT (id) DO UPDATE SET version = ?2, blob = ?3",
        )?;
        upsert.execute(params![record.id.as_str(), version, &record.blob[..]])
    })
}

fn delete_if(connection: &mut Connection, id: &RecordId, expected: u64) -> Result<(), WriteError> {
    write(connection, id, Some(expected), |connection| {
        connection
            .prepare_cached("DELETE FROM records WHERE id = ?1")?
            .execute([id.as_str()])
    })
}

/// Compares and swaps, and tells the watchers, all or nothing.
fn write(
    connection: &mut Connection,
    id: &RecordId,
    expected: Option<u64>,
    swap: impl FnOnce(&Connection) -> rusqlite::Result<usize>,
) -> Result<(), WriteError> {
    // Immediate: takes the write lock before the read, so that nobody writes in between.
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let found: Option<i64> = transaction
        .prepare_cached("SELECT version FROM records WHERE id = ?1")
        .and_then(|mut select| select.query_row([id.as_str()], |row| row.get(0)).optional())
        .map_err(failed)?;
    let found = found.map(|version| version_of(id, version)).transpose()?;
    if found != expected {
        return Err(WriteError::Conflict);
    }
    let result = swap(&transaction).and_then(|_| {
        if !id.is_quiet() {
            tell(&transaction, id)?;
        }
        transaction.commit()
    });
    Ok(result.map_err(failed)?)
}

/// Tells the watchers of all processes.
fn tell(transaction: &Connection, id: &RecordId) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO changes (id) VALUES (?1)")?
        .execute([id.as_str()])?;
    transaction
        .prepare_cached("DELETE FROM changes WHERE seq <= ?1")?
        .execute([transaction.last_insert_rowid() - CHANGES_KEPT])?;
    Ok(())
}

fn version_and_blob(row: &Row<'_>) -> rusqlite::Result<(i64, Vec<u8>)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn record(id: RecordId, version: i64, blob: Vec<u8>) -> Result<Record, StoreError> {
    let version = version_of(&id, version)?;
    Ok(Record {
        id,
        version,
        blob: blob.into(),
    })
}

fn version_of(id: &RecordId, version: i64) -> Result<u64, StoreError> {
    u64::try_from(version).map_err(|_| StoreError::Damaged(format!("the version of {id}")))
}

/// What a failure of SQLite means to the caller.
#[allow(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn failed(error: rusqlite::Error) -> StoreError {
    use rusqlite::Error::{FromSqlConversionFailure, InvalidColumnType};
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseCorrupt, NotADatabase, TypeMismatch};
    match (&error, error.sqlite_error_code()) {
        (_, Some(DatabaseBusy)) => {
            StoreError::Unreachable("another process holds its lock".to_owned())
        }
        (_, Some(DatabaseCorrupt | NotADatabase | TypeMismatch))
        | (FromSqlConversionFailure(..) | InvalidColumnType(..), _) => {
            StoreError::Damaged(error.to_string())
        }
        _ => StoreError::Unreachable(error.to_string()),
    }
}
