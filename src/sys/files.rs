//! Files that hold secrets: whose eyes they are for.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::{getegid, geteuid, getgroups};

/// Why a file with a secret is not read.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The system does not let it be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Others on the machine may read or write it. Its permission bits.
    #[error("is open to other users of this machine (mode {0:04o})")]
    Open(u32),
    /// The same of a file of root's, which this process cannot change. Its permission bits.
    #[error("belongs to root and is open to others than this process (mode {0:04o})")]
    RootsOpen(u32),
}

/// Opens a file that only its owner may read or write. Its group may read what is root's, when this
/// process is not root and in that group: that is how Kubernetes mounts a secret for a pod with
/// `fsGroup`. A link is judged by what it leads to.
///
/// # Errors
/// It cannot be read, or is open to others.
pub fn open_private(path: &Path) -> Result<File, PrivateFileError> {
    let file = File::open(path)?;
    // Of the open file, not of the path: what is checked is what is read.
    let found = file.metadata()?;
    let looks = Looks {
        mode: found.mode() & 0o7777,
        owner: found.uid(),
        group: found.gid(),
    };
    judge(&looks, &Process::this()?)?;
    Ok(file)
}

/// What a file is judged by.
struct Looks {
    mode: u32,
    owner: u32,
    group: u32,
}

/// Who reads it.
struct Process {
    user: u32,
    groups: Vec<u32>,
}

impl Process {
    fn this() -> io::Result<Self> {
        let groups = getgroups()?.into_iter().chain([getegid()]);
        Ok(Self {
            user: geteuid().as_raw(),
            groups: groups.map(|group| group.as_raw()).collect(),
        })
    }
}

fn judge(file: &Looks, by: &Process) -> Result<(), PrivateFileError> {
    const GROUP_READS: u32 = 0o040;
    let roots = file.owner == 0 && by.user != 0;
    let mounted = roots && by.groups.contains(&file.group);
    let allowed = if mounted { GROUP_READS } else { 0 };
    match file.mode & 0o077 & !allowed {
        0 => Ok(()),
        _ if roots => Err(PrivateFileError::RootsOpen(file.mode)),
        _ => Err(PrivateFileError::Open(file.mode)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when `mounted` leaves out the owner, the user or the group, or the mask is narrower.
    #[test]
    fn a_group_may_read_only_what_is_roots_and_its_own() {
        let judged = |mode, owner, group, user| {
            let file = Looks { mode, owner, group };
            let by = Process {
                user,
                groups: vec![65532, 2000],
            };
            judge(&file, &by).is_ok()
        };
        assert!(judged(0o440, 0, 2000, 65532) && judged(0o640, 0, 65532, 65532));
        assert!(!judged(0o440, 0, 3000, 65532), "another group");
        assert!(!judged(0o440, 65532, 2000, 65532), "its own file");
        assert!(!judged(0o440, 1000, 2000, 65532), "somebody else's file");
        assert!(!judged(0o440, 0, 2000, 0), "root's own file");
        for mode in [0o444, 0o460, 0o450, 0o442, 0o644, 0o441] {
            assert!(!judged(mode, 0, 2000, 65532), "{mode:o}");
        }
        for mode in [0o600, 0o400, 0o700] {
            assert!(
                judged(mode, 65532, 2000, 65532) && judged(mode, 0, 0, 0),
                "{mode:o}"
            );
        }
    }
}
