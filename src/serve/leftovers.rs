//! The private folders of users who are no more: taken away when the process starts, and whenever a key
//! has fallen, which may have been its user's last.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::stdio::Children;
use crate::store::{Store, StoreError};
use crate::vault::{UserId, user_record};

/// How often it is looked all the same: another process may have served the user.
const EVERY: Duration = Duration::from_secs(3600);

/// How long a child may take to leave its folder.
const LEAVING: Duration = Duration::from_secs(1);

/// Users that are looked up at once.
const AT_ONCE: usize = 100;

/// Keeps the folders below `folder` to those of users there are, until the runtime ends.
pub(super) async fn keep_clean(folder: PathBuf, children: Children, store: Arc<dyn Store>) {
    loop {
        if let Err(error) = clean(&folder, &children, &store).await {
            tracing::debug!(%error, "folders of users who may be gone stay for now");
        }
        let _ = timeout(EVERY, children.until_key_falls()).await;
        sleep(LEAVING).await;
    }
}

async fn clean(
    folder: &Path,
    children: &Children,
    store: &Arc<dyn Store>,
) -> Result<(), StoreError> {
    let mut folders = folders(folder);
    // Whom children serve is there, whatever the store says.
    folders.retain(|(user, _)| !children.serves(user));
    for some in folders.chunks(AT_ONCE) {
        let ids: Vec<_> = some.iter().map(|(user, _)| user_record(user)).collect();
        let records = store.get_many(&ids).await?;
        for ((user, folder), record) in some.iter().zip(records) {
            if record.is_none() {
                take_away(*user, folder.clone()).await;
            }
        }
    }
    Ok(())
}

/// The folders that belong to a user: `SERVER/USER`.
fn folders(root: &Path) -> Vec<(UserId, PathBuf)> {
    let inside = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let of_servers = inside(root);
    let of_users = of_servers.iter().flat_map(|server| inside(server));
    let known = |path: PathBuf| {
        let user = UserId::from_hex(path.file_name()?.to_str()?)?;
        Some((user, path))
    };
    of_users.filter_map(known).collect()
}

/// Removes a folder, also where whoever made it took the right to change folders from everybody, as
/// Go's module cache does.
fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(folder)?;
            std::fs::remove_dir_all(folder)
        }
        done => done,
    }
}

/// Gives the owner of all folders below one his rights back. No process of the folder's user is left
/// that could put a link in the place of one.
fn open_up(folder: &Path) -> io::Result<()> {
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

async fn take_away(user: UserId, folder: PathBuf) {
    let removed = tokio::task::spawn_blocking(move || remove(&folder)).await;
    match removed {
        Ok(Ok(())) => tracing::info!(%user, "the folder of a user who is gone was removed"),
        Ok(Err(error)) => {
            tracing::warn!(%user, %error, "the folder of a user who is gone cannot be removed");
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Mutation: leave `open_up` out (seen only by who is not root).
    #[test]
    fn a_folder_goes_whatever_its_rights() {
        let room = tempfile::tempdir().unwrap();
        let folder = room.path().join("user");
        let inner = folder.join("go/mod");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(inner.join("token"), "x").unwrap();
        std::os::unix::fs::symlink(room.path().join("kept"), inner.join("link")).unwrap();
        std::fs::write(room.path().join("kept"), "y").unwrap();
        std::fs::set_permissions(&inner, Permissions::from_mode(0o555)).unwrap();
        std::fs::set_permissions(folder.join("go"), Permissions::from_mode(0o000)).unwrap();
        remove(&folder).unwrap();
        assert!(!folder.exists() && room.path().join("kept").exists());
    }
}
