//! TLS: whom to trust, and what to show. `client` for backends and the store, `server` for the
//! listener, whose files may change while it serves; `pem` reads the files of both.
//!
//! The provider of ciphers is named here, so that no other crate's choice of a default matters.

mod client;
mod pem;
mod server;

use std::path::PathBuf;
use std::sync::Once;
use std::thread;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use client::{ClientCertificate, client_config};
pub use server::{Figures, ServerFiles, ServerTls};

/// What ciphers and random numbers come from. Its first random number takes 20 to 60 ms, in which AWS-LC collects the
/// jitter of the processor's clock: a thread of its own has it meanwhile, so that no handshake waits for that, nor who
/// shares a core with it.
fn provider() -> CryptoProvider {
    static FIRST: Once = Once::new();
    let provider = aws_lc_rs::default_provider();
    FIRST.call_once(|| {
        let random = provider.secure_random;
        let thread = thread::Builder::new().name("tls-random".to_owned());
        // Without a thread to be had, the first handshake waits.
        let _ = thread.spawn(|| random.fill(&mut [0]));
    });
    provider
}

/// Why there can be no TLS, and what to do about it. Each begins with the setting's name.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsError {
    /// The file of certificates to trust cannot be used.
    #[error("{setting} {}: {why}; write PEM certificates into it", path.display())]
    Authorities {
        /// What names it: `ca_file`, `client_ca_file`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file of `cert_file` cannot be used.
    #[error("cert_file {}: {why}; write the certificate into it, as PEM", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file of `key_file` cannot be used.
    #[error("key_file {}: {why}; write the private key of cert_file into it, as PEM", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Others on the machine may read or write the private key.
    #[error("key_file {0} is open to other users of this machine (mode {1:04o}): chmod 600 {0}")]
    KeyMode(String, u32),
    /// The same of a key of root's, which this process cannot change.
    #[error(
        "key_file {0} belongs to root and is open to others than this process (mode {1:04o}): make it 0400, \
         or 0440 with a group this process is in (of a Kubernetes secret: `defaultMode: 0440` for its \
         volume, `fsGroup` for the pod)"
    )]
    RootsKeyMode(String, u32),
    /// The listener's certificate is of no use today.
    #[error("cert_file {}: {why}; put a certificate there that is valid now", path.display())]
    NotValidNow {
        /// The file.
        path: PathBuf,
        /// Expired, or not valid yet.
        why: String,
    },
    /// The system has no certificates.
    #[error("this system has no certificates to trust: install ca-certificates, or set ca_file")]
    NoRoots,
    /// The TLS library refuses.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}
