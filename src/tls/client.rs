//! TLS as a client, for backends and for the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::pem::{authorities, certificates, private_key};
use super::{TlsError, provider};

/// What a server that asks who connects is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// `cert_file`: PEM, the certificate and those that lead to its authority.
    pub cert_file: PathBuf,
    /// `key_file`: PEM, the certificate's private key, for its owner's eyes alone.
    pub key_file: PathBuf,
}

/// A client's TLS that trusts the certificates in `ca_file`, or else the system's, and shows
/// `identity` to a server that asks.
///
/// # Errors
/// When there are none to trust, or a file cannot be used.
pub fn client_config(
    ca_file: Option<&Path>,
    identity: Option<&ClientCertificate>,
) -> Result<ClientConfig, TlsError> {
    let roots = match ca_file {
        Some(path) => authorities("ca_file", path)?,
        None => of_the_system()?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let Some(ClientCertificate {
        cert_file,
        key_file,
    }) = identity
    else {
        return Ok(config.with_no_client_auth());
    };
    let chain = certificates(cert_file).map_err(|why| TlsError::Certificate {
        path: cert_file.clone(),
        why,
    })?;
    let shown = config.with_client_auth_cert(chain, private_key(key_file)?);
    shown.map_err(|error| TlsError::Key {
        path: key_file.clone(),
        why: format!("it does not fit {} ({error})", cert_file.display()),
    })
}

/// What the system's store has that can be read: one odd certificate there is no reason to stop.
fn of_the_system() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A certificate and its key, in files of a folder.
    fn identity(folder: &Path, name: &str) -> ClientCertificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let identity = ClientCertificate {
            cert_file: folder.join(format!("{name}.pem")),
            key_file: folder.join(format!("{name}.key")),
        };
        std::fs::write(&identity.cert_file, certificate.pem()).unwrap();
        std::fs::write(&identity.key_file, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&identity.key_file, Permissions::from_mode(0o600)).unwrap();
        identity
    }

    fn refusal(ca_file: &Path, identity: &ClientCertificate) -> TlsError {
        client_config(Some(ca_file), Some(identity)).err().unwrap()
    }

    // Fails when `private_key` does not look at the file's mode.
    #[test]
    fn a_key_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let own = identity(folder.path(), "own");
        assert!(client_config(Some(&own.cert_file), Some(&own)).is_ok());
        for mode in [0o644, 0o604, 0o620] {
            std::fs::set_permissions(&own.key_file, Permissions::from_mode(mode)).unwrap();
            let error = refusal(&own.cert_file, &own).to_string();
            let remedy = format!("chmod 600 {}", own.key_file.display());
            assert!(
                error.starts_with("key_file ") && error.contains(&remedy),
                "{error}"
            );
        }
    }

    #[test]
    fn each_file_is_named_when_it_is_of_no_use_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let (own, other) = (
            identity(folder.path(), "own"),
            identity(folder.path(), "other"),
        );
        let mixed = ClientCertificate {
            key_file: other.key_file.clone(),
            ..own.clone()
        };
        let error = refusal(&own.cert_file, &mixed);
        assert!(
            matches!(&error, TlsError::Key { path, .. } if *path == other.key_file),
            "{error}"
        );

        let bad = folder.path().join("bad");
        let damaged = "-----BEGIN PRIVATE KEY-----\nhunter2!\n-----END PRIVATE KEY-----\n";
        for text in ["", "hunter2", damaged, "-----BEGIN hunter2"] {
            std::fs::write(&bad, text).unwrap();
            std::fs::set_permissions(&bad, Permissions::from_mode(0o600)).unwrap();
            let cert_file = ClientCertificate {
                cert_file: bad.clone(),
                ..own.clone()
            };
            let key_file = ClientCertificate {
                key_file: bad.clone(),
                ..own.clone()
            };
            for (error, named) in [
                (refusal(&bad, &own), "ca_file"),
                (refusal(&own.cert_file, &cert_file), "cert_file"),
                (refusal(&own.cert_file, &key_file), "key_file"),
            ] {
                let error = error.to_string();
                let named = format!("{named} {}: ", bad.display());
                assert!(
                    error.starts_with(&named) && !error.contains("hunter2"),
                    "{error}"
                );
            }
        }
        let missing = refusal(&folder.path().join("missing"), &own).to_string();
        assert!(missing.contains("No such file"), "{missing}");
    }
}
