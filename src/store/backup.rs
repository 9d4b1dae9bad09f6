//! A store in one file, and back.
//!
//! The file is a store in SQLite itself: every record, sealed as it was. It is never half there: it is
//! made in a folder beside its place, checked, and moved into place last, over nothing.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::{Builder, TempDir, TempPath};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::copy::{Copied, CopyError, Rule, Stage, Tally, Told, copy};
use super::settings::{OpenError, Settings};
use super::sqlite::online;
use super::url::{Place, StoreUrl};
use super::{StoreError, open, open_to_read};

/// Why there is no backup, or nothing was restored, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackupError {
    /// There is something at the file's place.
    #[error("{} exists already and is not overwritten: name a new file", .0.display())]
    Exists(PathBuf),
    /// The folder the file should be in does not exist.
    #[error(
        "the folder {} does not exist; create it (mode 0700), or name a file in another one",
        .0.display()
    )]
    FolderMissing(PathBuf),
    /// There is no such file.
    #[error("there is no file {}: name one that `cloakroom store backup` wrote", .0.display())]
    Missing(PathBuf),
    /// The system does not let us read the file.
    #[error("{} cannot be read: {why}; make it and its folder readable for this user", path.display())]
    NotReadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// The system does not let us write the file.
    #[error(
        "{} cannot be written: {why}; make its folder writable for this user, or name a file in \
         another one", path.display()
    )]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// The file holds something else.
    #[error("{} is not a backup of Cloakroom: {why}", path.display())]
    NotABackup {
        /// The file.
        path: PathBuf,
        /// What it is.
        why: String,
    },
    /// One of the two cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Reading or writing failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
}

/// A backup that was made.
pub struct Backup {
    /// By kind: the first letter of the ids.
    pub kinds: BTreeMap<char, Tally>,
    /// How large the file is.
    pub bytes: u64,
}

/// Writes the store of `settings` to the new file `file`, which only its owner may read.
///
/// Of a store in SQLite it is one moment, by the online backup; of another it is a copy, which ends only
/// when it was found equal. `told` hears of pages for the former, of records for the latter.
///
/// # Errors
/// See [`BackupError`]; then there is no such file.
pub async fn backup(
    settings: &Settings,
    file: &Path,
    told: Told<'_>,
) -> Result<Backup, BackupError> {
    let draft = Draft::new(file)?;
    if let Place::Sqlite(from) = &settings.url.0 {
        // Opened for the refusal in words: it says whether it is a store, and which.
        drop(open_to_read(settings).await?);
        online_copy(from, &draft, told).await?;
    } else {
        let from = open_to_read(settings).await?;
        let to = open(&file_settings(&draft.path)).await?;
        copy(&*from, &*to, Rule::Fill, told).await?;
    }
    let path = draft.path.clone();
    let kinds = blocking(move || {
        online::make_whole(&path)?;
        online::tallies(&path)
    })
    .await?;
    if kinds.is_empty() {
        return Err(CopyError::Empty.into());
    }
    let bytes = draft.put_in_place(file)?;
    Ok(Backup { kinds, bytes })
}

async fn online_copy(from: &Path, draft: &Draft, told: Told<'_>) -> Result<(), StoreError> {
    let (from, to) = (from.to_owned(), draft.path.clone());
    let (figures, mut heard) = mpsc::unbounded_channel();
    let copied = spawn_blocking(move || {
        online::copy_to(&from, &to, |done, total| {
            // Nobody listens when the caller has gone away.
            let _ = figures.send((done, total));
        })
    });
    while let Some((done, total)) = heard.recv().await {
        told(Stage::Copying, done, total);
    }
    copied.await.map_err(|_| ending())?
}

/// Copies the backup `file` into the store of `settings`, which holds nothing, or a part of the same
/// backup.
///
/// # Errors
/// See [`BackupError`].
pub async fn restore(
    settings: &Settings,
    file: &Path,
    told: Told<'_>,
) -> Result<Copied, BackupError> {
    let not_a_backup = |why| BackupError::NotABackup {
        path: file.to_owned(),
        why,
    };
    let found = fs::metadata(file).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => BackupError::Missing(file.to_owned()),
        _ => BackupError::NotReadable {
            path: file.to_owned(),
            why: why.to_string(),
        },
    })?;
    if !found.is_file() {
        return Err(not_a_backup("it is not a file".to_owned()));
    }
    let from = open_to_read(&file_settings(file)).await;
    let from = from.map_err(|error| match error {
        OpenError::NotOurs { reason, .. } => not_a_backup(reason),
        error => error.into(),
    })?;
    let to = open(settings).await?;
    Ok(copy(&*from, &*to, Rule::Fill, told).await?)
}

fn file_settings(path: &Path) -> Settings {
    Settings::new(StoreUrl(Place::Sqlite(path.to_owned())))
}

/// A file that is being made, in a folder of its own that goes with it.
struct Draft {
    path: PathBuf,
    _folder: TempDir,
}

impl Draft {
    fn new(file: &Path) -> Result<Self, BackupError> {
        if fs::symlink_metadata(file).is_ok() {
            return Err(BackupError::Exists(file.to_owned()));
        }
        if !folder_of(file).is_dir() {
            return Err(BackupError::FolderMissing(folder_of(file).to_owned()));
        }
        let folder = Builder::new()
            .prefix(".cloakroom-backup-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(folder_of(file))
            .map_err(|why| not_writable(file, &why))?;
        let path = folder.path().join("store.db");
        // Private from its creation on, before SQLite puts anything in.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|why| not_writable(file, &why))?;
        Ok(Self {
            path,
            _folder: folder,
        })
    }

    /// Moves it to its place and says how large it is.
    fn put_in_place(self, file: &Path) -> Result<u64, BackupError> {
        let moved = || -> io::Result<u64> {
            TempPath::try_from_path(&self.path)?.persist_noclobber(file)?;
            File::open(folder_of(file))?.sync_all()?;
            Ok(fs::metadata(file)?.len())
        };
        moved().map_err(|why| match why.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists(file.to_owned()),
            _ => not_writable(file, &why),
        })
    }
}

fn folder_of(file: &Path) -> &Path {
    let folder = file.parent();
    let named = folder.filter(|folder| !folder.as_os_str().is_empty());
    named.unwrap_or(Path::new("."))
}

/// Without the words of `tempfile`, which name a folder nobody knows.
fn not_writable(path: &Path, why: &io::Error) -> BackupError {
    BackupError::NotWritable {
        path: path.to_owned(),
        why: why.kind().to_string(),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    spawn_blocking(work).await.map_err(|_| ending())?
}

fn ending() -> StoreError {
    StoreError::Unreachable("this process is ending".to_owned())
}
