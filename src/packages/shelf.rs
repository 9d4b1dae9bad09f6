//! The folder where installed packages lie, each once, read-only, in the version it was recorded with.
//!
//! ```text
//! <cache>/npm/@scope+name@1.2.3/cloakroom-package.json   what it is
//!                              /node_modules/…
//! <cache>/npm/wanted/@scope%2Fname@%5E1                  which of them this request got
//! <cache>/python/name@1.2.3/venv/…
//! ```
//!
//! 1. A folder appears under its name whole, by one rename, after everything in it is on the disk.
//!    Of two processes that install the same, one is first and both use that one's.
//! 2. What a request got is written once; nothing but `refresh`, or a folder that is gone, changes it.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::PackageError;
use super::python::python;
use super::request::{Package, Request};

/// The record in each folder.
const MANIFEST: &str = "cloakroom-package.json";
/// Where it is written which folder a request got.
const WANTED: &str = "wanted";
/// How the folder of an installation under way is called.
const DRAFT: &str = ".draft-";
/// How old a draft must be to be somebody's who was killed.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);
/// What stays as it is in the name of a file; `+` separates.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'@')
    .remove(b'.')
    .remove(b'_')
    .remove(b'-')
    .remove(b'=');
/// The longest name that file systems take.
const NAME_MAX: usize = 255;

/// What an installed package is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) package: String,
    pub(super) version: String,
    /// Name and version as they were asked for.
    pub(super) requested: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) variant: Vec<String>,
    /// Of the package's archive, as the registry says (Subresource Integrity).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) integrity: Option<String>,
    /// RFC 3339.
    pub(super) installed: String,
    /// What installed it, with its arguments.
    pub(super) command: Vec<String>,
    /// The Python it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) interpreter: Option<Interpreter>,
}

/// A Python outside of the package's folder, which the one in it is a link to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Interpreter {
    /// The program, all links followed.
    pub(super) file: PathBuf,
    /// The folder that holds it and its library.
    pub(super) prefix: PathBuf,
}

/// A package on the shelf.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) folder: PathBuf,
    pub(super) manifest: Manifest,
}

/// The packages of one kind.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    folder: PathBuf,
    /// The name of the file that says which folder the request got.
    wanted: String,
    /// What follows the version in the folder's name.
    variant: String,
}

impl Shelf {
    /// Makes the folders for packages such as `request` asks for, if they are not there.
    pub(super) fn open(cache: &Path, request: &Request) -> Result<Self, PackageError> {
        let kind = match request.package {
            Package::Npm(_) => "npm",
            Package::Python { .. } => "python",
        };
        let folder = cache.join(kind);
        let wanted = folder.join(WANTED);
        // A child that runs as another user has to get to its program, and need not see what else is there.
        for (path, mode) in [(cache.parent().unwrap_or(cache), 0o711), (&wanted, 0o755)] {
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(path);
            made.map_err(PackageError::system(path))?;
        }
        for path in [cache, &folder, &wanted] {
            ours(path)?;
        }
        let variant: String = request
            .variant()
            .iter()
            .map(|part| format!("+{}", utf8_percent_encode(part, PLAIN)))
            .collect();
        let wanted = format!("{}{variant}", utf8_percent_encode(&request.spec(), PLAIN));
        Ok(Self {
            folder,
            wanted,
            variant,
        })
    }

    /// What the request got before, unless it is gone.
    pub(super) fn find(&self) -> Option<Kept> {
        let name = fs::read_to_string(self.wanted_file()).ok()?;
        let name = name.trim_end();
        let is_one = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
        is_one.then(|| self.kept(self.folder.join(name))).flatten()
    }

    fn kept(&self, folder: PathBuf) -> Option<Kept> {
        let text = fs::read(folder.join(MANIFEST)).ok()?;
        let manifest: Manifest = serde_json::from_slice(&text).ok()?;
        // A Python that was removed, or became another, takes along what was made for it.
        let runs = manifest.interpreter.as_ref().is_none_or(|it| {
            python(&folder)
                .canonicalize()
                .is_ok_and(|now| now == it.file)
        });
        runs.then_some(Kept { folder, manifest })
    }

    /// A new folder to install into; it goes with the value.
    pub(super) fn draft(&self) -> Result<TempDir, PackageError> {
        self.sweep();
        tempfile::Builder::new()
            .prefix(DRAFT)
            .tempdir_in(&self.folder)
            .map_err(PackageError::system(&self.folder))
    }

    /// Removes what installations left that were killed long ago.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let is_draft = entry.file_name().to_string_lossy().starts_with(DRAFT);
            let changed = entry.metadata().and_then(|found| found.modified());
            let age = changed.map(|changed| SystemTime::now().duration_since(changed));
            if is_draft && matches!(age, Ok(Ok(age)) if age > ABANDONED) {
                let _ = remove(&entry.path());
            }
        }
    }

    /// Puts a complete draft on the shelf under its name and version, and notes that the request got it.
    /// What another process put there first is used in its place. `replace`: forget what the request
    /// got before.
    pub(super) fn keep(
        &self,
        draft: TempDir,
        manifest: Manifest,
        replace: bool,
    ) -> Result<Kept, PackageError> {
        let name = format!(
            "{}@{}{}",
            manifest.package.replace('/', "+"),
            utf8_percent_encode(&manifest.version, PLAIN),
            self.variant
        );
        let folder = self.folder.join(&name);
        if name.len() > NAME_MAX || self.wanted.len() > NAME_MAX {
            let why = io::Error::other("too long a name: ask for less with --with");
            return Err(PackageError::system(folder)(why));
        }
        if let Err(why) = finish(draft.path(), &manifest) {
            let _ = remove(draft.path());
            return Err(PackageError::system(folder)(why));
        }
        let kept = self.place(draft, folder, manifest)?;
        self.note(&name, replace)
            .map_err(PackageError::system(self.wanted_file()))?;
        // Another process may have noted another version a moment ago: theirs counts.
        Ok(self.find().unwrap_or(kept))
    }

    fn place(
        &self,
        draft: TempDir,
        folder: PathBuf,
        manifest: Manifest,
    ) -> Result<Kept, PackageError> {
        for _ in 0..8 {
            match fs::rename(draft.path(), &folder) {
                Ok(()) => {
                    // Nothing is left to remove.
                    let _ = draft.keep();
                    return Ok(Kept { folder, manifest });
                }
                Err(why)
                    if matches!(
                        why.kind(),
                        ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty
                    ) =>
                {
                    if let Some(kept) = self.kept(folder.clone()) {
                        let _ = remove(draft.path());
                        return Ok(kept);
                    }
                    self.put_away(&folder)?;
                }
                Err(why) => {
                    let _ = remove(draft.path());
                    return Err(PackageError::system(folder)(why));
                }
            }
        }
        let _ = remove(draft.path());
        let what = "other processes keep putting something else there".to_owned();
        Err(PackageError::Spoiled { path: folder, what })
    }

    /// Takes away what lies where a package belongs and is none.
    fn put_away(&self, folder: &Path) -> Result<(), PackageError> {
        let aside = self.draft()?;
        let path = aside.path().join("gone");
        // Moving it to another parent needs the right to write to it.
        let moved = fs::set_permissions(folder, Permissions::from_mode(0o755))
            .and_then(|()| fs::rename(folder, &path));
        match moved {
            Err(why) if why.kind() != ErrorKind::NotFound => Err(PackageError::system(folder)(why)),
            _ => remove(aside.path()).map_err(PackageError::system(folder)),
        }
    }

    fn wanted_file(&self) -> PathBuf {
        self.folder.join(WANTED).join(&self.wanted)
    }

    /// Notes which folder the request got. The first note stays, unless `replace`, or what it names is
    /// gone.
    fn note(&self, name: &str, replace: bool) -> io::Result<()> {
        let file = self.wanted_file();
        let draft = tempfile::NamedTempFile::with_prefix_in(DRAFT, &self.folder)?;
        fs::write(draft.path(), format!("{name}\n"))?;
        draft.as_file().sync_all()?;
        let draft = if replace {
            draft
        } else {
            match draft.persist_noclobber(&file) {
                Ok(_) => return Ok(()),
                Err(there) if there.error.kind() != ErrorKind::AlreadyExists => {
                    return Err(there.error);
                }
                Err(_) if self.find().is_some() => return Ok(()),
                Err(there) => there.file,
            }
        };
        draft.persist(&file)?;
        Ok(())
    }
}

/// Whoever can write to a folder of programs decides what runs as our user.
fn ours(path: &Path) -> Result<(), PackageError> {
    let found = fs::metadata(path).map_err(PackageError::system(path))?;
    let owner = found.uid();
    let is_ours = owner == 0 || owner == rustix::process::geteuid().as_raw();
    if is_ours && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(PackageError::NotOurs(path.to_owned()))
}

/// The last steps of a draft, which is complete after them.
fn finish(draft: &Path, manifest: &Manifest) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(manifest)?;
    fs::write(draft.join(MANIFEST), text)?;
    seal(draft)?;
    to_disk(draft)
}

/// Takes the right to write from everything in a tree, and lets everybody read it: programs may run as
/// another user than ours.
fn seal(path: &Path) -> io::Result<()> {
    let found = path.symlink_metadata()?;
    if found.is_symlink() {
        return Ok(());
    }
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            seal(&entry?.path())?;
        }
    }
    let runs = found.is_dir() || found.mode() & 0o111 != 0;
    let mode = if runs { 0o555 } else { 0o444 };
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// A rename may reach the disk before what is in the folder.
fn to_disk(folder: &Path) -> io::Result<()> {
    let folder = fs::File::open(folder)?;
    Ok(rustix::fs::syncfs(folder)?)
}

/// Removes a tree, read-only or not.
fn remove(path: &Path) -> io::Result<()> {
    open_up(path)?;
    fs::remove_dir_all(path)
}

fn open_up(path: &Path) -> io::Result<()> {
    let found = path.symlink_metadata()?;
    if found.is_dir() {
        fs::set_permissions(path, Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(path)? {
            open_up(&entry?.path())?;
        }
    }
    Ok(())
}
