//! The audit trail that a configuration asks for.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use super::Failure;
use crate::audit::{self, Standard, Trail};
use crate::config::{Audit, AuditStream};
use crate::store::Store;
use crate::vault::{Keyring, Vault};

/// Opens the trail, on the runtime this is called on. Where it goes to standard output, it goes to `standard`.
///
/// # Errors
/// When it cannot be written and has to be.
pub async fn start(
    audit: &Audit,
    store: &Arc<dyn Store>,
    ring: &Arc<Keyring>,
    standard: Standard,
) -> Result<Trail, Failure> {
    let settings = audit::Settings {
        file: audit.file.clone(),
        standard: audit.stdout.then_some(standard),
        required: audit.required,
        sync: audit.sync,
        anchors_for: audit.anchors_for,
    };
    let stream = audit.stream.clone().map(|stream| {
        let store = store.clone();
        Arc::new(Appends { store, stream }) as Arc<dyn audit::Stream>
    });
    let vault = Arc::new(Vault::new(store.clone(), ring.clone()));
    let started = Trail::start(&settings, vault, stream, &Handle::current()).await;
    started.map_err(Failure::new)
}

/// Appends to a stream of the store.
struct Appends {
    store: Arc<dyn Store>,
    stream: AuditStream,
}

impl audit::Stream for Appends {
    fn append(&self, lines: Vec<Bytes>) -> BoxFuture<'_, Result<(), String>> {
        async move {
            let AuditStream { name, keep } = &self.stream;
            let appended = self.store.append(name, *keep, &lines).await;
            appended.map_err(|error| error.to_string())
        }
        .boxed()
    }
}
