//! Tells `cloakroom ps` of the children of this process, on a socket of its own that only its own user
//! and root may open: a connection is answered with one JSON document, and closed.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::config::DataDir;
use crate::stdio::Children;
use crate::sys;

/// How long who asks may take to read.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket's file, which is taken away when this is dropped.
pub(super) struct Control(PathBuf);

impl Control {
    /// Tells of `children` in `folder` from now on, until the runtime ends.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(super) fn open(folder: &DataDir, children: &Children) -> io::Result<Self> {
        let path = folder.control(std::process::id());
        remove(&path)?;
        let listener = UnixListener::bind(&path)?;
        // Before that it had what the folder grants: whoever connects is asked who it is all the same.
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        tokio::spawn(tell(listener, children.clone()));
        Ok(Self(path))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = remove(&self.0);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn tell(listener: UnixListener, children: Children) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if is_ours(&stream) => {
                let _ = timeout(PATIENCE, answer(stream, &children)).await;
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn is_ours(stream: &UnixStream) -> bool {
    let allowed = [sys::user(), 0];
    stream
        .peer_cred()
        .is_ok_and(|peer| allowed.contains(&peer.uid()))
}

async fn answer(mut stream: UnixStream, children: &Children) -> io::Result<()> {
    let document = serde_json::json!({ "children": children.list() });
    stream.write_all(document.to_string().as_bytes()).await?;
    stream.shutdown().await
}
