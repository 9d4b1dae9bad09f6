//! TLS as a server: what the listener shows, taken from files that may be replaced while it serves.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{
    ParsedCertificate, ServerConfig, ServerSessionMemoryCache, WebPkiClientVerifier,
};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, RootCertStore};

use super::pem::{authorities, certificates, private_key};
use super::{TlsError, provider};
use crate::sys::Watched;

/// Sessions that can be taken up again without a second key exchange, over all cores.
const SESSIONS: usize = 1024;

/// Where the listener's certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// PEM: the certificate and those that lead to its authority.
    pub cert_file: PathBuf,
    /// PEM: its private key, for its owner's eyes alone (see [`crate::sys::open_private`]).
    pub key_file: PathBuf,
    /// PEM: the authorities one of which must have signed the certificate every client then shows.
    pub client_ca_file: Option<PathBuf>,
}

/// The listener's TLS: what new connections are made with.
pub struct ServerTls {
    files: ServerFiles,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    figures: Figures,
    watched: Watched,
}

/// How the reloading goes. Times are seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// When the files were last loaded.
    pub loaded: u64,
    /// When the certificate in use expires.
    pub expires: u64,
    /// How often changed files were of no use.
    pub failures: u64,
}

impl ServerTls {
    /// Loads the files.
    ///
    /// # Errors
    /// One cannot be used, they do not fit each other, or the certificate is not valid now.
    pub fn load(files: ServerFiles) -> Result<Self, TlsError> {
        // Before the files are read: what changes from here on is read again.
        let watched = files.watched();
        let (config, figures) = files.load()?;
        let state = State {
            config,
            figures,
            watched,
        };
        Ok(Self {
            files,
            state: Mutex::new(state),
        })
    }

    /// What a new connection is made with.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        self.lock().config.clone()
    }

    /// How the reloading goes.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.lock().figures
    }

    /// Loads the files again if they have changed, and have been still since the last call: a pair
    /// is not always replaced at once. What is of no use changes nothing, and is not tried again until it
    /// changes. `None` when there was nothing to do. Reads files; to be called every second or so.
    pub fn refresh(&self) -> Option<Result<(), TlsError>> {
        {
            let mut state = self.lock();
            if !state.watched.have_changed() {
                return None;
            }
            state.watched.take();
        }
        let loaded = self.files.load();
        let mut state = self.lock();
        Some(match loaded {
            Ok((config, figures)) => {
                state.config = config;
                state.figures = Figures {
                    failures: state.figures.failures,
                    ..figures
                };
                Ok(())
            }
            Err(error) => {
                state.figures.failures += 1;
                Err(error)
            }
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerFiles {
    /// A configuration of its own for each load: sessions of an earlier one cannot be taken up again,
    /// for their clients' certificates would not be looked at.
    fn load(&self) -> Result<(Arc<ServerConfig>, Figures), TlsError> {
        let provider = Arc::new(provider());
        let chain = certificates(&self.cert_file).map_err(|why| TlsError::Certificate {
            path: self.cert_file.clone(),
            why,
        })?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        let figures = Figures {
            loaded: now,
            expires: validity(&self.cert_file, &chain[0], now, &provider)?,
            failures: 0,
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13, &TLS12])?;
        let builder = match &self.client_ca_file {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(of_clients(path, provider)?),
        };
        let shown = builder.with_single_cert(chain, private_key(&self.key_file)?);
        let mut config = shown.map_err(|error| TlsError::Key {
            path: self.key_file.clone(),
            why: format!("it does not fit {} ({error})", self.cert_file.display()),
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        Ok((Arc::new(config), figures))
    }

    fn watched(&self) -> Watched {
        let files = [
            Some(&self.cert_file),
            Some(&self.key_file),
            self.client_ca_file.as_ref(),
        ];
        Watched::taken(files.into_iter().flatten().cloned().collect())
    }
}

fn of_clients(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let roots = Arc::new(authorities("client_ca_file", path)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
    verifier.map_err(|error| TlsError::Authorities {
        setting: "client_ca_file",
        path: path.to_owned(),
        why: error.to_string(),
    })
}

/// When the certificate expires, if it is valid now; both in seconds since 1970.
fn validity(
    path: &Path,
    certificate: &CertificateDer<'_>,
    now: u64,
    provider: &CryptoProvider,
) -> Result<u64, TlsError> {
    let damaged = |error: rustls::Error| TlsError::Certificate {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let parsed = ParsedCertificate::try_from(certificate).map_err(damaged)?;
    // Whether it can be verified at a moment. It is asked for its times before anybody is looked for
    // who signed it, and there is nobody.
    let at = |seconds| {
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let algorithms = provider.signature_verification_algorithms.all;
        let nobody = RootCertStore::empty();
        verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], time, algorithms).err()
    };
    use rustls::Error::InvalidCertificate as Invalid;
    let not_now = |why: &CertificateError| TlsError::NotValidNow {
        path: path.to_owned(),
        why: format!("it is of no use ({why})"),
    };
    match at(now) {
        Some(Invalid(
            why @ (CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }),
        )) => return Err(not_now(&why)),
        Some(Invalid(why @ CertificateError::BadEncoding)) => {
            return Err(damaged(Invalid(why)));
        }
        _ => {}
    }
    // The end of the year 9999 is the latest a certificate can say.
    match at(253_402_300_800) {
        Some(Invalid(CertificateError::ExpiredContext { not_after, .. })) => {
            Ok(not_after.as_secs())
        }
        _ => Ok(253_402_300_799),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn write(files: &ServerFiles, not_after: i32) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(not_after, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(&files.cert_file, certificate.pem()).unwrap();
        std::fs::write(&files.key_file, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&files.key_file, Permissions::from_mode(0o600)).unwrap();
    }

    fn files(folder: &Path) -> ServerFiles {
        ServerFiles {
            cert_file: folder.join("tls.crt"),
            key_file: folder.join("tls.key"),
            client_ca_file: None,
        }
    }

    // Fails when `validity` does not ask for today, or an error of `refresh` changes what is served.
    #[test]
    fn what_is_of_no_use_changes_nothing_and_is_tried_once() {
        let folder = tempfile::tempdir().unwrap();
        let spare = tempfile::tempdir().unwrap();
        let (files, other) = (files(folder.path()), files(spare.path()));
        write(&files, 2001);
        let error = ServerTls::load(files.clone()).err().unwrap().to_string();
        assert!(
            error.starts_with("cert_file ") && error.contains("expired"),
            "{error}"
        );

        write(&files, 2099);
        let tls = ServerTls::load(files.clone()).unwrap();
        let first = tls.current();
        assert_eq!(tls.figures().expires, 4_070_908_800);
        assert!(tls.refresh().is_none(), "nothing changed");
        let unchanged = |tls: &ServerTls| Arc::ptr_eq(&first, &tls.current());

        write(&files, 2002);
        assert!(tls.refresh().is_none(), "it may not be whole yet");
        let refused = tls.refresh().unwrap().unwrap_err();
        assert!(matches!(refused, TlsError::NotValidNow { .. }), "{refused}");
        assert!(tls.refresh().is_none() && unchanged(&tls));

        write(&other, 2099);
        write(&files, 2099);
        std::fs::copy(&other.cert_file, &files.cert_file).unwrap();
        assert!(tls.refresh().is_none());
        let refused = tls.refresh().unwrap().unwrap_err();
        assert!(matches!(refused, TlsError::Key { .. }), "{refused}");
        std::fs::remove_file(&files.cert_file).unwrap();
        assert!(tls.refresh().is_none());
        assert!(tls.refresh().unwrap().is_err() && unchanged(&tls));
        assert_eq!(tls.figures().failures, 3);

        write(&files, 2098);
        assert!(tls.refresh().is_none());
        tls.refresh().unwrap().unwrap();
        assert!(!unchanged(&tls) && tls.refresh().is_none());
        assert_eq!(
            (tls.figures().failures, tls.figures().expires),
            (3, 4_039_372_800)
        );
    }

    // As Kubernetes replaces a mounted secret: the files are links through `..data`, which is
    // replaced. Fails when the stamp is of the link.
    #[test]
    fn a_swapped_link_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("..data");
        for (name, year) in [("a", 2098), ("b", 2099)] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            write(&files(&folder.path().join(name)), year);
        }
        std::os::unix::fs::symlink("a", &data).unwrap();
        for name in ["tls.crt", "tls.key"] {
            let to = Path::new("..data").join(name);
            std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
        }
        let tls = ServerTls::load(files(folder.path())).unwrap();
        let before = tls.figures().expires;
        let next = folder.path().join("..data_tmp");
        std::os::unix::fs::symlink("b", &next).unwrap();
        std::fs::rename(next, data).unwrap();
        assert!(tls.refresh().is_none());
        tls.refresh().unwrap().unwrap();
        assert!(tls.figures().expires > before);
    }
}
