//! Keeps the certificate of the listener that of its files.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;

use crate::tls::ServerTls;

/// How often the files are looked at. One that has changed is loaded at the next look.
const EVERY: Duration = Duration::from_secs(1);

/// Looks at the files for as long as somebody has `tls`.
pub(super) fn keep_fresh(tls: &Arc<ServerTls>) {
    tokio::spawn(look(Arc::downgrade(tls)));
}

async fn look(tls: Weak<ServerTls>) {
    loop {
        sleep(EVERY).await;
        let Some(tls) = tls.upgrade() else { return };
        // Files may be on something slow.
        let looked = tokio::task::spawn_blocking(move || tls.refresh()).await;
        match looked {
            Ok(Some(Ok(()))) => tracing::info!("the listener's certificate was replaced"),
            Ok(Some(Err(error))) => {
                tracing::error!(%error, "tls: the files changed, and the earlier ones stay in use");
            }
            Ok(None) | Err(_) => {}
        }
    }
}
