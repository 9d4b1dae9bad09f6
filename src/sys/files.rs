//! Files that hold secrets: whose eyes they are for.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::{getegid, getgroups};

/// Why a file with a secret is not read.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The system does not let it be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Others on the machine may read or write it. Its permission bits.
    #[error("is open to other users of this machine (mode {0:04o})")]
    Open(u32),
}

/// Opens a file that only its owner may read or write. One that its group may read is taken too when
/// root owns it and the group is one of this process's: that is how Kubernetes mounts a secret for a
/// pod with `fsGroup`.
///
/// # Errors
/// It cannot be read, or is open to others.
pub fn open_private(path: &Path) -> Result<File, PrivateFileError> {
    let file = File::open(path)?;
    // Of the open file, not of the path: what is checked is what is read.
    let found = file.metadata()?;
    let mode = found.mode() & 0o7777;
    if is_private(mode, found.uid(), || is_own_group(found.gid())) {
        Ok(file)
    } else {
        Err(PrivateFileError::Open(mode))
    }
}

fn is_private(mode: u32, owner: u32, own_group: impl FnOnce() -> bool) -> bool {
    match mode & 0o077 {
        0 => true,
        0o040 => owner == 0 && own_group(),
        _ => false,
    }
}

fn is_own_group(group: u32) -> bool {
    let same = |own: rustix::process::Gid| own.as_raw() == group;
    same(getegid()) || getgroups().is_ok_and(|groups| groups.into_iter().any(same))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when the mask is narrower, or the owner or the group is not looked at.
    #[test]
    fn a_group_may_read_only_what_root_gave_to_a_group_of_ours() {
        for mode in [0o600, 0o400, 0o700] {
            assert!(is_private(mode, 1000, || false), "{mode:o}");
        }
        for mode in [0o640, 0o440] {
            assert!(is_private(mode, 0, || true), "{mode:o}");
            assert!(!is_private(mode, 0, || false), "{mode:o}");
            assert!(!is_private(mode, 1000, || true), "{mode:o}");
        }
        for mode in [0o644, 0o604, 0o620, 0o660, 0o650, 0o642] {
            assert!(!is_private(mode, 0, || true), "{mode:o}");
        }
        assert!(is_own_group(getegid().as_raw()) && !is_own_group(u32::MAX - 1));
    }
}
