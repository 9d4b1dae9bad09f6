//! Tells `cloakroom ps` of the children of this process, on a socket of its own: whoever sends what stands
//! in the file beside it is answered with one JSON document.
//!
//! The file's mode is not enough: children may run as the same user, and their Landlock domains keep them
//! from files, but not from connecting to a socket whose path they know.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::cli::private::write_file;
use crate::config::DataDir;
use crate::stdio::Children;
use crate::vault::{equal, random_id};

/// How long who asks may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket and the file beside it, which are taken away when this is dropped.
pub(super) struct Control(PathBuf);

impl Control {
    /// Tells of `children` in `folder` from now on, until the runtime ends.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(super) fn open(folder: &DataDir, children: &Children) -> io::Result<Self> {
        let path = folder.control(std::process::id());
        let key = random_id() + &random_id();
        remove(&path)?;
        write_file(&DataDir::control_key(&path), &key)?;
        let listener = UnixListener::bind(&path)?;
        // Before that it had what the folder grants: whoever connects is asked for the key all the same.
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        tokio::spawn(tell(listener, key.into(), children.clone()));
        Ok(Self(path))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = remove(&self.0);
        let _ = remove(&DataDir::control_key(&self.0));
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn tell(listener: UnixListener, key: Arc<str>, children: Children) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (key, children) = (key.clone(), children.clone());
                tokio::spawn(
                    async move { timeout(PATIENCE, answer(stream, &key, &children)).await },
                );
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(mut stream: UnixStream, key: &str, children: &Children) -> io::Result<()> {
    let mut shown = [0; 64];
    stream.read_exact(&mut shown).await?;
    if !equal(&shown, key.as_bytes()) {
        return Ok(());
    }
    let document = serde_json::json!({ "children": children.list() });
    stream.write_all(document.to_string().as_bytes()).await?;
    stream.shutdown().await
}
