//! What a `rediss://` server must prove.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::store::OpenError;

/// Trusts the authorities in `ca_file` alone, or without one those of the system.
pub(super) fn config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, OpenError> {
    let roots = match ca_file {
        Some(path) => from_file(path).map_err(|reason| {
            let path = path.to_owned();
            OpenError::CaFile { path, reason }
        })?,
        None => of_the_system(),
    };
    // The provider is named, so that no other crate's choice of a default matters.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the cipher suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn from_file(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("it holds no PEM certificate".to_owned());
    }
    Ok(roots)
}

/// What the system's store has that can be read: one odd certificate there is no reason to stop.
fn of_the_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
