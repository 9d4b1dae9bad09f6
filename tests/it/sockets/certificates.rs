//! An authority, and certificates for a listener and its clients.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate and its key, PEM.
    pub(crate) fn sign(&self, names: &[&str], last_year: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A client that trusts this authority, speaks these protocols and shows this pair.
    pub(crate) fn client(
        &self,
        alpn: &[&str],
        shown: Option<&(String, String)>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// `tls.crt` and `tls.key` of a listener, replaced as Kubernetes does.
pub(crate) struct Pair {
    folder: tempfile::TempDir,
    versions: usize,
}

impl Pair {
    pub(crate) fn new(pair: &(String, String)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["tls.crt", "tls.key"] {
            let to = Path::new("..data").join(name);
            std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
        }
        let mut new = Self {
            folder,
            versions: 0,
        };
        new.replace(pair);
        new
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn replace(&mut self, (certificate, key): &(String, String)) {
        self.versions += 1;
        let version = format!("..version-{}", self.versions);
        let folder = self.path(&version);
        std::fs::create_dir(&folder).unwrap();
        for (name, pem) in [("tls.crt", certificate), ("tls.key", key)] {
            std::fs::write(folder.join(name), pem).unwrap();
            std::fs::set_permissions(folder.join(name), Permissions::from_mode(0o600)).unwrap();
        }
        let link = self.path("..data_tmp");
        std::os::unix::fs::symlink(version, &link).unwrap();
        std::fs::rename(link, self.path("..data")).unwrap();
    }

    /// The table of a configuration that names it.
    pub(crate) fn table(&self) -> String {
        let (certificate, key) = (self.path("tls.crt"), self.path("tls.key"));
        format!(
            "[tls]\ncert_file = \"{}\"\nkey_file = \"{}\"\n",
            certificate.display(),
            key.display()
        )
    }
}
