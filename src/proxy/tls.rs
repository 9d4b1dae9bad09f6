//! What backends' certificates are checked with.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Why there is nothing to check certificates with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read as certificates.
    #[error("{file}: {why}; write PEM certificates into it")]
    File {
        /// Its path.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// The system has no certificates.
    #[error("this system has no certificates to trust: install ca-certificates, or set `ca_file`")]
    NoRoots,
    /// The TLS library refuses.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// A client's TLS that trusts the certificates in `ca_file`, or else the system's.
///
/// # Errors
/// When there are none to trust.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let error = |why: String| TlsError::File {
                file: path.display().to_string(),
                why,
            };
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|e| error(e.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|e| error(e.to_string()))?;
                roots.add(certificate).map_err(|e| error(e.to_string()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
