//! From the configuration to an open vault: config, keyring, store, and whether the two belong
//! together.

use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Failure;
use crate::config::{self, Config};
use crate::store::{self, Store};
use crate::vault::{Keyring, Vault};

pub(super) use super::keyring_source::keyring_text;
pub use super::keyring_source::{KeyringFileError, keyring};

/// Where the configuration comes from.
pub struct Source {
    path: Option<PathBuf>,
    is_alone: bool,
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
        Self {
            path,
            is_alone: false,
        }
    }

    /// The file, as if there were no variables: those of a real installation may happen to be set.
    #[must_use]
    pub fn file_alone(path: &Path) -> Self {
        Self {
            path: Some(path.to_owned()),
            is_alone: true,
        }
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
        Ok(config::load(self.path(), self.variables())?)
    }

    /// Reads only where the store is, whatever else is missing or wrong.
    ///
    /// # Errors
    /// Everything wrong with that.
    pub fn load_store(&self) -> Result<store::Settings, Failure> {
        let store = config::load_store(self.path(), self.variables())?;
        Ok(store.settings)
    }

    /// Whether nothing may be done unrecorded, as far as the configuration can be read; where not even this
    /// can be, yes.
    #[must_use]
    pub fn requires_audit(&self) -> bool {
        config::load_audit_required(self.path(), self.variables()).unwrap_or(true)
    }

    fn variables(&self) -> impl Iterator<Item = (OsString, OsString)> {
        std::env::vars_os().filter(|_| !self.is_alone)
    }
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
    let ring = keyring(&config.keyring)?;
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_keyring_is_its_owners_alone_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/deep/master.keys");
        let ring = new_keyring(&path).unwrap();
        let read = || keyring(&path.clone().into()).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(*read().to_text(), *ring.to_text());
        assert!(matches!(
            new_keyring(&path),
            Err(KeyringFileError::Exists(_))
        ));
        assert_eq!(*read().to_text(), *ring.to_text());
    }
}
