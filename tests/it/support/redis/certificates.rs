//! Certificates for servers that speak TLS.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use cloakroom::store::ClientCertificate;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// A certificate with its key, and the authority that signed it, in a folder of their own.
pub(super) struct Certificates(TempDir);

impl Certificates {
    /// For these names and addresses.
    pub(super) fn of(names: &[&str]) -> Self {
        let (authority, ca) = authority();
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let server = CertificateParams::new(names).unwrap();
        let certificate = server.signed_by(&key, &authority).unwrap();
        let client_key = KeyPair::generate().unwrap();
        let client = CertificateParams::new(Vec::new()).unwrap();
        let client = client.signed_by(&client_key, &authority).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, pem) in [
            ("ca.pem", ca),
            ("server.pem", certificate.pem()),
            ("server.key", key.serialize_pem()),
            ("client.pem", client.pem()),
            ("client.key", client_key.serialize_pem()),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, pem).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
        Self(folder)
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn ca_file(&self) -> PathBuf {
        self.folder().join("ca.pem")
    }

    /// A certificate of the same authority for a client.
    pub(super) fn identity(&self) -> ClientCertificate {
        ClientCertificate {
            cert_file: self.folder().join("client.pem"),
            key_file: self.folder().join("client.key"),
        }
    }

    /// The lines of a server's configuration that speak of them.
    pub(super) fn lines(&self) -> String {
        let path = self.folder().display();
        format!(
            "tls-auth-clients no\ntls-ca-cert-file {path}/ca.pem\n\
             tls-cert-file {path}/server.pem\ntls-key-file {path}/server.key\n"
        )
    }
}

/// A new authority, and its certificate as PEM.
pub(crate) fn authority() -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Were it called as what it signs, which has the library's usual name, servers would take that for
    // signed by itself.
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, "authority");
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}
