//! The file itself: creating it, checking that it is ours, and noticing when it is replaced.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::super::settings::SCHEMA;
use super::{BUSY_TIMEOUT, OpenError, StoreError};

/// "clkr": tells our files from other people's, also to `file(1)`.
const APPLICATION_ID: i64 = 0x636c_6b72;
/// [`super::super::open()`] promises an answer within 3 seconds.
const OPEN_TIMEOUT: Duration = Duration::from_millis(2500);

const TABLES: &str = "
CREATE TABLE records (id TEXT PRIMARY KEY, version INTEGER NOT NULL, blob BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL);
";

/// Which file a path led to. A restored copy has the same path, but is another file: a connection
/// that stayed with the old one would never see a revocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let found = fs::metadata(path);
        let found = found.map_err(|error| StoreError::Unreachable(error.to_string()))?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

/// A connection that is opened when first used, and again when the file was replaced.
pub(super) struct Link {
    path: Arc<Path>,
    open: Option<(Identity, Connection)>,
}

impl Link {
    pub(super) fn closed(path: &Arc<Path>) -> Self {
        Self {
            path: Arc::clone(path),
            open: None,
        }
    }

    /// The connection to the file that is at the path now.
    pub(super) fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        let now = Identity::of(&self.path)?;
        let open = match self.open.take() {
            Some((identity, connection)) if identity == now => (identity, connection),
            _ => reopen(&self.path)?,
        };
        Ok(&mut self.open.insert(open).1)
    }
}

/// Opens a file that [`open_or_create`] made earlier; never creates one.
pub(super) fn reopen(path: &Path) -> Result<(Identity, Connection), StoreError> {
    let identity = Identity::of(path)?;
    let connection = connect(path, BUSY_TIMEOUT)
        .and_then(|connection| {
            check(&connection, path)?;
            Ok(connection)
        })
        .map_err(|refusal| match refusal {
            Refusal::Said(error @ OpenError::Unreachable { .. }) => {
                StoreError::Unreachable(error.to_string())
            }
            Refusal::Said(error) => StoreError::Damaged(error.to_string()),
            Refusal::Sqlite(error) => super::failed(error),
        })?;
    Ok((identity, connection))
}

/// Opens the file for the first time in this process, creating it and its tables if need be.
pub(super) fn open_or_create(path: &Arc<Path>) -> Result<Link, OpenError> {
    create_file(path)?;
    let identity = Identity::of(path).map_err(|error| OpenError::Unreachable {
        place: path.display().to_string(),
        reason: error.to_string(),
    })?;
    let connection = prepared(path).map_err(|refusal| refusal.explained(path))?;
    Ok(Link {
        path: Arc::clone(path),
        open: Some((identity, connection)),
    })
}

/// Opens a file that is only to be read: makes none, changes none.
pub(super) fn open_to_read(path: &Arc<Path>) -> Result<Link, OpenError> {
    let identity = Identity::of(path).map_err(|_| OpenError::Unreachable {
        place: path.display().to_string(),
        reason: "there is no such file".to_owned(),
    })?;
    let opened = connect(path, BUSY_TIMEOUT).and_then(|connection| {
        if is_empty(&connection)? {
            return Err(Refusal::Said(not_ours(path, "it is empty".to_owned())));
        }
        check(&connection, path)?;
        Ok(connection)
    });
    Ok(Link {
        path: Arc::clone(path),
        open: Some((identity, opened.map_err(|refusal| refusal.explained(path))?)),
    })
}

/// Makes an empty file only its owner may read, if there is none: before SQLite puts anything in.
fn create_file(path: &Path) -> Result<(), OpenError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder
        && !folder.is_dir()
    {
        return Err(OpenError::FolderMissing {
            folder: folder.to_owned(),
        });
    }
    let not_writable = |error: io::Error| OpenError::NotWritable {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match created {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(not_writable(error)),
    }
    if path.is_dir() {
        return Err(not_ours(path, "it is a folder".to_owned()));
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(not_writable)?;
    let mode = file.metadata().map_err(not_writable)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = %format_args!("{mode:o}"),
            "Other users of this machine may read the store; make it theirs no more with chmod 600.");
    }
    Ok(())
}

/// Why a file is refused: already in words for the operator, or still in SQLite's.
enum Refusal {
    Said(OpenError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Refusal {
    fn is_busy(&self) -> bool {
        matches!(self, Self::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy))
    }

    fn explained(self, path: &Path) -> OpenError {
        let error = match self {
            Self::Said(said) => return said,
            Self::Sqlite(error) => error,
        };
        let reason = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => not_ours(path, reason),
            Some(
                ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::DiskFull,
            ) => OpenError::NotWritable {
                path: path.to_owned(),
                reason,
            },
            _ => OpenError::Unreachable {
                place: path.display().to_string(),
                reason,
            },
        }
    }
}

fn not_ours(path: &Path, reason: String) -> OpenError {
    OpenError::NotOurs {
        place: path.display().to_string(),
        reason,
    }
}

/// A connection to a file that has our tables, made now if it was empty.
fn prepared(path: &Path) -> Result<Connection, Refusal> {
    let give_up = Instant::now() + OPEN_TIMEOUT;
    loop {
        // SQLite does not wait by itself while another process turns the same new file to WAL.
        match prepare_once(path) {
            Err(refusal) if refusal.is_busy() && Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(10));
            }
            done => return done,
        }
    }
}

fn prepare_once(path: &Path) -> Result<Connection, Refusal> {
    let mut connection = connect(path, Duration::from_millis(250))?;
    if is_empty(&connection)? {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Somebody else may have made the tables while we waited for the lock.
        if is_empty(&transaction)? {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", SCHEMA)?;
        }
        transaction.commit()?;
    }
    check(&connection, path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn connect(path: &Path, busy_timeout: Duration) -> Result<Connection, Refusal> {
    // No CREATE: a file that vanished must not come back empty. No URI: a path is a path.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy_timeout)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", true)?;
    // Whoever can write to the file must not make us run what they put in its schema.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    Ok(connection)
}

/// Whether nothing was ever put in: an empty file, as `create_file` or `touch` leaves it.
fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT (SELECT count(*) FROM sqlite_schema) = 0 \
         AND (SELECT user_version FROM pragma_user_version) = 0 \
         AND (SELECT application_id FROM pragma_application_id) = 0",
        [],
        |row| row.get(0),
    )
}

fn check(connection: &Connection, path: &Path) -> Result<(), Refusal> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (application, found) = (number("application_id")?, number("user_version")?);
    if application != APPLICATION_ID && application != 0 {
        let reason = "it is a database of another program".to_owned();
        return Err(Refusal::Said(not_ours(path, reason)));
    }
    let place = path.display().to_string();
    let Ok(found) = u64::try_from(found) else {
        return Err(Refusal::Said(not_ours(
            path,
            format!("its schema is {found}"),
        )));
    };
    match found.cmp(&u64::from(SCHEMA)) {
        std::cmp::Ordering::Less => Err(Refusal::Said(OpenError::SchemaOlder { place, found })),
        std::cmp::Ordering::Greater => Err(Refusal::Said(OpenError::SchemaNewer { place, found })),
        std::cmp::Ordering::Equal if application == 0 => {
            let reason = "it is a database of another program".to_owned();
            Err(Refusal::Said(not_ours(path, reason)))
        }
        std::cmp::Ordering::Equal => Ok(()),
    }
}
