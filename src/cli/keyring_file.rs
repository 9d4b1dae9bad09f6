//! Changes the keyring's file: whole or not at all, by one command at a time.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::Failure;
use super::open::{self, KeyringFileError};
use crate::vault::{Keyring, KeyringText};

/// Puts what `change` makes of the text in its place; the keyring it is then. `None` changes nothing.
///
/// The new text is on disk, readable by the same as before, before it takes the place of the old one:
/// a keyring that is lost is a store that is lost.
pub(super) fn edit(
    path: &Path,
    change: impl FnOnce(&KeyringText, &Keyring) -> Option<KeyringText>,
) -> Result<Keyring, Failure> {
    let system = |why: io::Error| KeyringFileError::System {
        path: path.to_owned(),
        why,
    };
    // A link stays one: it is the file it leads to that is replaced.
    let path = fs::canonicalize(path).map_err(system)?;
    let folder = File::open(path.parent().unwrap_or(Path::new("/"))).map_err(system)?;
    // The folder is locked, not the file, which another command may be replacing.
    flock(&folder, FlockOperation::LockExclusive).map_err(|why| system(why.into()))?;
    let text = open::keyring_text(&path)?;
    let ring = text.keyring()?;
    let Some(changed) = change(&text, &ring) else {
        return Ok(ring);
    };
    let ring = changed.keyring()?;
    replace(&path, &folder, &changed).map_err(system)?;
    Ok(ring)
}

fn replace(path: &Path, folder: &File, text: &KeyringText) -> io::Result<()> {
    let was = fs::metadata(path)?;
    // Of a name nobody else has: what lies beside the file is not ours. It is its owner's alone, and is
    // deleted if anything fails.
    let beside = path.parent().unwrap_or(Path::new("/"));
    let mut new = tempfile::Builder::new()
        .prefix(".cloakroom-keyring-")
        .tempfile_in(beside)?;
    new.write_all(text.expose_text().as_bytes())?;
    let file = new.as_file();
    let is = file.metadata()?;
    if (is.uid(), is.gid()) != (was.uid(), was.gid()) {
        fchown(file, Some(was.uid()), Some(was.gid()))?;
    }
    file.set_permissions(was.permissions())?;
    file.sync_all()?;
    new.persist(path)?;
    folder.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::vault::KeyKind;

    #[test]
    fn a_change_keeps_the_mode_the_link_and_every_other_line() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real.keys");
        let link = folder.path().join("master.keys");
        open::new_keyring(&real).unwrap();
        let before = format!("# mine\n{}", fs::read_to_string(&real).unwrap());
        fs::write(&real, &before).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o400)).unwrap();
        symlink("real.keys", &link).unwrap();
        // Somebody's next keyring, made beside ours. Fails when that name is used for our own.
        let other = folder.path().join("real.keys.new");
        fs::write(&other, "theirs").unwrap();
        let grown = |text: &KeyringText, ring: &Keyring| {
            Some(text.with(&ring.successors(KeyKind::Realm).1))
        };
        let ring = edit(&link, grown).unwrap();
        assert_eq!(ring.succession(KeyKind::Realm).next.len(), 1);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let mode = fs::metadata(&real).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
        let after = fs::read_to_string(&real).unwrap();
        assert_eq!(after.strip_prefix(&before).unwrap().lines().count(), 2);
        assert_eq!(fs::read_to_string(&other).unwrap(), "theirs");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        edit(&link, |_, _| None).unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), after);
    }
}
