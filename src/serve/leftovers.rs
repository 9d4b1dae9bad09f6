//! The private folders of users who are no more: taken away when the process starts, and whenever a key
//! has fallen, which may have been its user's last.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::config::DataDir;
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
pub(super) async fn keep_clean(folder: DataDir, children: Children, store: Arc<dyn Store>) {
    let folder = folder.children();
    loop {
        if let Err(error) = clean(&folder, &store).await {
            tracing::debug!(%error, "folders of users who may be gone stay for now");
        }
        let _ = timeout(EVERY, children.until_key_falls()).await;
        sleep(LEAVING).await;
    }
}

async fn clean(folder: &Path, store: &Arc<dyn Store>) -> Result<(), StoreError> {
    let folders = folders(folder);
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

async fn take_away(user: UserId, folder: PathBuf) {
    let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(&folder)).await;
    match removed {
        Ok(Ok(())) => tracing::info!(%user, "the folder of a user who is gone was removed"),
        Ok(Err(error)) => {
            tracing::warn!(%user, %error, "the folder of a user who is gone cannot be removed");
        }
        Err(_) => {}
    }
}
