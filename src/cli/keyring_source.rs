//! Reads the keyring from where the configuration says: a file, a variable or a credential.
//!
//! A file is judged as it is opened, through links: a mounted Kubernetes secret is a link to a file of
//! root's, which the pod's group may read, and whose mode nobody in the pod can change.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Failure;
use crate::config::KeyringSource;
use crate::sys::{self, PrivateFileError};
use crate::vault::{Keyring, KeyringError, KeyringText};

/// Larger than any keyring; what is larger is another file.
const KEYRING_MAX: usize = 64 * 1024;

/// Where systemd puts the credentials of a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Why the keyring cannot be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum KeyringFileError {
    /// It is there already.
    #[error(
        "{} exists already: it is what opens the store, so it is not overwritten; to begin anew, \
         move it and the store away", .0.display()
    )]
    Exists(PathBuf),
    /// It is not there.
    #[error(
        "there is no keyring at {}: make one with `cloakroom keyring init`, or name the right file \
         in [keyring] file", .0.display()
    )]
    Missing(PathBuf),
    /// Others on the machine may read or write it.
    #[error("the keyring {0} is open to other users of this machine (mode {1:04o}): chmod 600 {0}")]
    Mode(String, u32),
    /// The same, of a file only root can change.
    #[error(
        "the keyring {0} belongs to root and is open to others than this process (mode {1:04o}): make \
         it 0400, or 0440 with a group this process is in (of a Kubernetes secret: `defaultMode: 0440` \
         for its volume, `fsGroup` for the pod)"
    )]
    RootsMode(String, u32),
    /// The variable is not set.
    #[error(
        "the variable {0} is not set, and [keyring] env says that it holds the keyring: set it to the \
         text of the file that `cloakroom keyring init` makes"
    )]
    NoVariable(String),
    /// Not started by systemd, or without the credential.
    #[error(
        "there is no credential {0}: [keyring] credential is for a service of systemd whose unit says \
         `LoadCredential={0}:/path/of/the/keyring`"
    )]
    NoCredential(String),
    /// What was asked for changes a file, and there is none.
    #[error(
        "the keyring comes from {0}, and this command changes a file: run it with a configuration whose \
         [keyring] says `file`, then bring the new text to where {0} comes from"
    )]
    NotAFile(KeyringSource),
    /// It holds something else.
    #[error("the keyring {from}: {why}")]
    NotAKeyring {
        /// Where it was read.
        from: KeyringSource,
        /// What is wrong with it.
        why: KeyringError,
    },
    /// The system does not let us.
    #[error("the keyring {}: {why}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: io::Error,
    },
}

impl From<KeyringFileError> for Failure {
    fn from(error: KeyringFileError) -> Self {
        Self::new(error)
    }
}

/// Reads the keyring. Of a file nobody else may be able to read it.
///
/// # Errors
/// Says what to do.
pub fn keyring(from: &KeyringSource) -> Result<Keyring, KeyringFileError> {
    let text = match from {
        KeyringSource::File(path) => keyring_text(path)?,
        KeyringSource::Env(name) => of_variable(name, std::env::var_os(name))?,
        KeyringSource::Credential(name) => of_credential(name)?,
    };
    text.keyring().map_err(|why| KeyringFileError::NotAKeyring {
        from: from.clone(),
        why,
    })
}

/// The file the keyring is in, for commands that change it.
pub(super) fn file(from: &KeyringSource) -> Result<&Path, KeyringFileError> {
    match from {
        KeyringSource::File(path) => Ok(path),
        other => Err(KeyringFileError::NotAFile(other.clone())),
    }
}

/// The text of a keyring's file, which nobody else may be able to read.
pub(super) fn keyring_text(path: &Path) -> Result<KeyringText, KeyringFileError> {
    let place = || path.display().to_string();
    let file = sys::open_private(path).map_err(|refused| match refused {
        PrivateFileError::Open(mode) => KeyringFileError::Mode(place(), mode),
        PrivateFileError::RootsOpen(mode) => KeyringFileError::RootsMode(place(), mode),
        PrivateFileError::Io(why) => system(path, why),
    })?;
    read(file, path, &KeyringSource::File(path.to_owned()))
}

fn of_variable(name: &str, value: Option<OsString>) -> Result<KeyringText, KeyringFileError> {
    let value = value.ok_or_else(|| KeyringFileError::NoVariable(name.to_owned()))?;
    let unreadable = |what| KeyringFileError::NotAKeyring {
        from: KeyringSource::Env(name.to_owned()),
        why: KeyringError::Line { line: 1, what },
    };
    // Our copy is wiped; the one the system gave the process at its start is not ours to change.
    let bytes = Zeroizing::new(value.into_encoded_bytes());
    let text = std::str::from_utf8(&bytes).map_err(|_| unreadable("not text"))?;
    Ok(KeyringText::new(text))
}

fn of_credential(name: &str) -> Result<KeyringText, KeyringFileError> {
    let missing = || KeyringFileError::NoCredential(name.to_owned());
    let folder = std::env::var_os(CREDENTIALS).ok_or_else(missing)?;
    let path = PathBuf::from(folder).join(name);
    let from = KeyringSource::Credential(name.to_owned());
    let file = File::open(&path).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => missing(),
        _ => system(&path, why),
    })?;
    let mode = file.metadata().map_err(|why| system(&path, why))?.mode() & 0o7777;
    // systemd lets the service alone into the folder, and gives it the file by an access list, whose
    // mask the mode shows as the group's.
    if mode & 0o027 != 0 {
        return Err(KeyringFileError::RootsMode(
            path.display().to_string(),
            mode,
        ));
    }
    read(file, &path, &from)
}

/// The whole of a file.
fn read(
    mut file: File,
    path: &Path,
    from: &KeyringSource,
) -> Result<KeyringText, KeyringFileError> {
    let mut bytes = Zeroizing::new(vec![0; KEYRING_MAX]);
    let len = fill(&mut file, &mut bytes).map_err(|why| system(path, why))?;
    let unreadable = |what| KeyringFileError::NotAKeyring {
        from: from.clone(),
        why: KeyringError::Line { line: 1, what },
    };
    if len == KEYRING_MAX {
        return Err(unreadable("the file is too large for a keyring"));
    }
    let text = std::str::from_utf8(&bytes[..len]).map_err(|_| unreadable("not text"))?;
    Ok(KeyringText::new(text))
}

/// Reads until `buffer` is full or the end; never grows it, so that no copy is left behind.
pub(super) fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match from.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

fn system(path: &Path, why: io::Error) -> KeyringFileError {
    match why.kind() {
        io::ErrorKind::NotFound => KeyringFileError::Missing(path.to_owned()),
        _ => KeyringFileError::System {
            path: path.to_owned(),
            why,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::cli::open::new_keyring;

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn keyring_of(path: &Path) -> Result<Keyring, KeyringFileError> {
        keyring(&path.to_owned().into())
    }

    #[test]
    fn a_keyring_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.keys");
        new_keyring(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            set_mode(&path, mode);
            let error = keyring_of(&path).err().unwrap().to_string();
            assert!(
                error.contains(&format!("chmod 600 {}", path.display())),
                "{error}"
            );
        }
        set_mode(&path, 0o400);
        assert!(keyring_of(&path).is_ok());
    }

    #[test]
    fn a_link_is_judged_by_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("..2026_11_21");
        new_keyring(&deep.join("master.keys")).unwrap();
        symlink("..2026_11_21", folder.path().join("..data")).unwrap();
        let path = folder.path().join("master.keys");
        symlink("..data/master.keys", &path).unwrap();
        assert!(keyring_of(&path).is_ok());
        set_mode(&deep.join("master.keys"), 0o444);
        assert!(matches!(
            keyring_of(&path),
            Err(KeyringFileError::Mode(_, 0o444))
        ));
    }

    #[test]
    fn what_is_something_else_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        for content in [&b"hunter2"[..], b"\xff\xfe", &[b'a'; KEYRING_MAX + 1]] {
            std::fs::write(&path, content).unwrap();
            set_mode(&path, 0o600);
            let error = keyring_of(&path).err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(matches!(
            keyring_of(&folder.path().join("x")),
            Err(KeyringFileError::Missing(_))
        ));
        let text = of_variable("KEYS", Some("hunter2".into())).unwrap();
        let error = text.keyring().err().unwrap().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        let error = of_variable("KEYS", None).err().unwrap().to_string();
        assert!(error.contains("the variable KEYS is not set"), "{error}");
    }
}
