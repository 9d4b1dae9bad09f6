//! The folder that is a child's own.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fchmod};
use rustix::io::Errno;

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("the folder {0:?} of a child process must be an absolute path")]
    Relative(PathBuf),
    #[error("the folder {0:?} of a child process cannot be made: {1}")]
    Make(PathBuf, #[source] io::Error),
    #[error("the folder {0:?} of a child process cannot be used: {1}")]
    Open(PathBuf, #[source] io::Error),
    #[error("the folder {0:?} of a child process is a symbolic link, or no folder")]
    Link(PathBuf),
    #[error(
        "the folder {folder:?} of a child process belongs to user {owner}, not {user}: remove it, \
         or give it to that user with all that is in it (chown -R)"
    )]
    Owner {
        folder: PathBuf,
        owner: u32,
        user: u32,
    },
    #[error(
        "the folder {0:?} of a child process cannot be given to user {1}, which only root may: {2}"
    )]
    Give(PathBuf, u32, #[source] io::Error),
}

/// Makes the folder if it is missing, with those above it, and sees to it that it is its owner's alone:
/// `ours`, or that of another user and group.
pub(super) fn prepare(
    folder: &Path,
    ours: u32,
    other: Option<(u32, u32)>,
) -> Result<(), FolderError> {
    if !folder.is_absolute() {
        return Err(FolderError::Relative(folder.to_owned()));
    }
    let made = |error| FolderError::Make(folder.to_owned(), error);
    // Another user passes through those above, and sees nothing there.
    let above = if other.is_some() { 0o711 } else { 0o700 };
    if let Some(parent) = folder.parent() {
        let mut parents = DirBuilder::new();
        parents.recursive(true).mode(above);
        parents.create(parent).map_err(made)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(made(error)),
        _ => {}
    }
    let opened = open(folder)?;
    let failed = |error| FolderError::Open(folder.to_owned(), error);
    let found = opened.metadata().map_err(failed)?;
    let user = other.map_or(ours, |(user, _)| user);
    if let Some((user, group)) = other
        && found.uid() == ours
        && user != ours
        && is_empty(folder).map_err(failed)?
    {
        let given = fchown(&opened, Some(user), Some(group));
        given.map_err(|error| FolderError::Give(folder.to_owned(), user, error))?;
    } else if found.uid() != user {
        return Err(FolderError::Owner {
            folder: folder.to_owned(),
            owner: found.uid(),
            user,
        });
    }
    if found.mode() & 0o7777 != 0o700 {
        fchmod(&opened, Mode::RWXU).map_err(|error| failed(error.into()))?;
    }
    Ok(())
}

/// The folder itself, not what a link leads to.
fn open(folder: &Path) -> Result<File, FolderError> {
    let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits();
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(folder)
        .map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::NOTDIR | Errno::LOOP) => FolderError::Link(folder.to_owned()),
            _ => FolderError::Open(folder.to_owned(), error),
        })
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    Ok(folder.read_dir()?.next().is_none())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::sys;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn it_is_made_with_those_above_it_and_is_private() {
        let room = tempfile::tempdir().unwrap();
        let folder = room.path().join("notion/alice/default");
        for _ in 0..2 {
            prepare(&folder, sys::user(), None).unwrap();
            assert_eq!(mode(&folder), 0o700);
            assert_eq!(mode(folder.parent().unwrap()), 0o700);
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        prepare(&folder, sys::user(), None).unwrap();
        assert_eq!(mode(&folder), 0o700);
    }

    // Fails when links are followed: a child could put one where another's folder will be.
    #[test]
    fn neither_links_nor_what_is_somebody_elses_is_used() {
        let room = tempfile::tempdir().unwrap();
        let [real, link, file] = ["real", "link", "file"].map(|name| room.path().join(name));
        fs::create_dir(&real).unwrap();
        symlink(&real, &link).unwrap();
        fs::write(&file, "").unwrap();
        let refused = |folder: &Path, ours| prepare(folder, ours, None).unwrap_err().to_string();
        assert!(refused(&link, sys::user()).contains("is a symbolic link"));
        assert!(refused(&file, sys::user()).contains("no folder"));
        assert!(refused(Path::new("a/b"), sys::user()).contains("absolute"));
        let mine = refused(&real, sys::user() + 1);
        assert!(mine.contains("belongs to user"), "{mine}");
    }
}
