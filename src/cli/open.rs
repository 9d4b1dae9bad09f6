//! From the configuration to an open vault: config, keyring file, store, and whether the two belong
//! together.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::Failure;
use crate::config::{self, Config};
use crate::store::{self, Store};
use crate::vault::{Keyring, KeyringError, KeyringText, Vault};

/// Larger than any keyring; what is larger is another file.
const KEYRING_MAX: usize = 64 * 1024;

/// Where the configuration comes from.
pub struct Source {
    path: Option<PathBuf>,
}

impl Source {
    /// The file that was named, else `CLOAKROOM_CONFIG_TOML`, else `cloakroom.toml`.
    #[must_use]
    pub fn of(named: Option<&Path>) -> Self {
        let in_variable = std::env::var_os("CLOAKROOM_CONFIG_TOML").is_some();
        let path = match named {
            Some(path) => Some(path.to_owned()),
            None if in_variable => None,
            None => Some(PathBuf::from("cloakroom.toml")),
        };
        Self { path }
    }

    /// The file, unless a variable holds the configuration.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub fn load(&self) -> Result<Config, Failure> {
        Ok(config::load(self.path(), std::env::vars_os())?)
    }

    /// Reads only where the store is, whatever else is missing or wrong.
    ///
    /// # Errors
    /// Everything wrong with that.
    pub fn load_store(&self) -> Result<store::Settings, Failure> {
        let store = config::load_store(self.path(), std::env::vars_os())?;
        Ok(store.settings)
    }

    /// Reads it as if there were no variables.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub fn load_without_environment(&self) -> Result<Config, Failure> {
        Ok(config::load(
            self.path(),
            std::iter::empty::<(OsString, OsString)>(),
        )?)
    }
}

/// Why the keyring's file cannot be used, and what to do about it.
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
    /// It holds something else.
    #[error("the keyring {}: {why}", path.display())]
    NotAKeyring {
        /// The file.
        path: PathBuf,
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

/// Reads the keyring from its file, which nobody else may be able to read.
///
/// # Errors
/// Says what to do.
pub fn keyring(path: &Path) -> Result<Keyring, KeyringFileError> {
    let keyring = keyring_text(path)?.keyring();
    keyring.map_err(|why| KeyringFileError::NotAKeyring {
        path: path.to_owned(),
        why,
    })
}

/// The text of a keyring's file, which nobody else may be able to read.
pub(super) fn keyring_text(path: &Path) -> Result<KeyringText, KeyringFileError> {
    let system = |why: io::Error| match why.kind() {
        io::ErrorKind::NotFound => KeyringFileError::Missing(path.to_owned()),
        _ => KeyringFileError::System {
            path: path.to_owned(),
            why,
        },
    };
    let mut file = File::open(path).map_err(system)?;
    // Of the open file, not of the path: what is checked is what is read.
    let mode = file.metadata().map_err(system)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyringFileError::Mode(path.display().to_string(), mode));
    }
    let mut bytes = Zeroizing::new(vec![0; KEYRING_MAX]);
    let len = fill(&mut file, &mut bytes).map_err(system)?;
    let unreadable = |what| KeyringFileError::NotAKeyring {
        path: path.to_owned(),
        why: KeyringError::Line { line: 1, what },
    };
    if len == KEYRING_MAX {
        return Err(unreadable("the file is too large for a keyring"));
    }
    let text = std::str::from_utf8(&bytes[..len]).map_err(|_| unreadable("not text"))?;
    Ok(KeyringText::new(text))
}

/// Writes a new keyring to a new file that only its owner can read, making its folder if needed.
///
/// # Errors
/// When there is such a file, or the system does not let us.
pub fn new_keyring(path: &Path) -> Result<Keyring, KeyringFileError> {
    let ring = Keyring::generate();
    let written = (|| {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let kept = file
            .write_all(ring.to_text().as_bytes())
            .and_then(|()| file.sync_all());
        if kept.is_err() {
            // Half a keyring would look like one that only needs mending.
            let _ = std::fs::remove_file(path);
        }
        kept
    })();
    match written {
        Ok(()) => Ok(ring),
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
            Err(KeyringFileError::Exists(path.to_owned()))
        }
        Err(why) => Err(KeyringFileError::System {
            path: path.to_owned(),
            why,
        }),
    }
}

/// Opens the store the configuration names.
///
/// # Errors
/// Says what to do.
pub async fn store(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    Ok(store::open(&config.store.settings).await?)
}

/// The vault the configuration names, its keyring checked against its store.
///
/// # Errors
/// Says what to do.
pub async fn vault(config: &Config) -> Result<Vault, Failure> {
    let ring = keyring(&config.keyring_file)?;
    let vault = Vault::new(store(config).await?, Arc::new(ring));
    vault.check_keyring().await?;
    Ok(vault)
}

/// A runtime for one command.
///
/// # Errors
/// When the system gives none.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("the system gives no event loop: {error}")))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_keyring_is_its_owners_alone_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/deep/master.keys");
        let ring = new_keyring(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(*keyring(&path).unwrap().to_text(), *ring.to_text());
        assert!(matches!(
            new_keyring(&path),
            Err(KeyringFileError::Exists(_))
        ));
        assert_eq!(*keyring(&path).unwrap().to_text(), *ring.to_text());
    }

    #[test]
    fn a_keyring_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.keys");
        new_keyring(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = keyring(&path).err().unwrap().to_string();
            assert!(
                error.contains(&format!("chmod 600 {}", path.display())),
                "{error}"
            );
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert!(keyring(&path).is_ok());
    }

    #[test]
    fn a_file_that_is_something_else_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        for content in [&b"hunter2"[..], b"\xff\xfe", &[b'a'; KEYRING_MAX + 1]] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let error = keyring(&path).err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(matches!(
            keyring(&folder.path().join("x")),
            Err(KeyringFileError::Missing(_))
        ));
    }
}
