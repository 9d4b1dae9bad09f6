//! Reading certificates and keys from PEM files.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;
use crate::sys::{self, PrivateFileError};

/// The certificates to trust, of the file that `setting` names.
pub(super) fn authorities(setting: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    let error = |why| TlsError::Authorities {
        setting,
        path: path.to_owned(),
        why,
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path).map_err(error)? {
        let added = roots.add(certificate);
        added.map_err(|refused| error(refused.to_string()))?;
    }
    Ok(roots)
}

/// At least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|error| words(&error))?;
    if found.is_empty() {
        return Err("it holds no PEM certificate".to_owned());
    }
    Ok(found)
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let error = |why| TlsError::Key {
        path: path.to_owned(),
        why,
    };
    let file = sys::open_private(path).map_err(|refused| match refused {
        PrivateFileError::Io(why) => error(why.to_string()),
        PrivateFileError::Open(mode) => TlsError::KeyMode(path.display().to_string(), mode),
        PrivateFileError::RootsOpen(mode) => {
            TlsError::RootsKeyMode(path.display().to_string(), mode)
        }
    })?;
    PrivateKeyDer::from_pem_reader(file).map_err(|why| error(words(&why)))
}

/// The library's own words for what is malformed repeat it, and it may be a key.
fn words(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "it holds nothing of the kind".to_owned(),
        _ => "it is damaged".to_owned(),
    }
}
