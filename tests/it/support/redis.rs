//! A real `redis-server` process on a free loopback port, gone when dropped.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cloakroom::store::ClientCertificate;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How the server is to be started.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options<'a> {
    /// TLS only, with a certificate for `localhost`.
    pub(crate) tls: bool,
    /// Further lines of its configuration.
    pub(crate) lines: &'a str,
}

/// A running server. Keeps its port, not its data, when killed and restarted.
pub(crate) struct Server {
    pub(crate) port: u16,
    folder: TempDir,
    child: Child,
}

impl Server {
    /// Starts a server and waits until it answers.
    pub(crate) fn start(options: Options<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Another process may take the port before redis-server does: then take another one.
        for _ in 0..5 {
            let port = free_port();
            std::fs::write(
                folder.path().join("redis.conf"),
                config(port, &folder, options),
            )
            .unwrap();
            if let Some(child) = launch(&folder) {
                return Self {
                    port,
                    folder,
                    child,
                };
            }
        }
        panic!("redis-server does not start: {}", log(&folder));
    }

    /// A server without TLS or login.
    pub(crate) fn plain() -> Self {
        Self::start(Options::default())
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The authority that signed the server's certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate of the same authority for a client.
    pub(crate) fn identity(&self) -> ClientCertificate {
        ClientCertificate {
            cert_file: self.folder.path().join("client.pem"),
            key_file: self.folder.path().join("client.key"),
        }
    }

    /// A connection to look behind the scenes with.
    pub(crate) fn raw(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).unwrap();
        client
            .get_connection_with_timeout(Duration::from_secs(5))
            .unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            if let Some(child) = launch(&self.folder) {
                self.child = child;
                return;
            }
        }
        panic!("redis-server does not start again: {}", log(&self.folder));
    }

    /// Freezes the server: connections stay open, nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn launch(folder: &TempDir) -> Option<Child> {
    let _ = std::fs::remove_file(folder.path().join("log"));
    let mut child = Command::new("redis-server")
        .arg(folder.path().join("redis.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("redis-server: {error}; `bash tests/run.sh` installs what the tests need")
        });
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        // Not whether somebody listens on the port: that may be somebody else.
        if log(folder).contains("Ready to accept connections") {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn log(folder: &TempDir) -> String {
    std::fs::read_to_string(folder.path().join("log")).unwrap_or_default()
}

fn config(port: u16, folder: &TempDir, options: Options<'_>) -> String {
    let path = folder.path().display();
    let mut lines = format!(
        "bind 127.0.0.1\ndir {path}\nlogfile {path}/log\nsave \"\"\nappendonly no\n\
         repl-diskless-sync-delay 0\ntls-auth-clients no\n{}\n",
        options.lines
    );
    if options.tls {
        make_certificates(folder);
        write!(
            lines,
            "port 0\ntls-port {port}\ntls-ca-cert-file {path}/ca.pem\n\
             tls-cert-file {path}/server.pem\ntls-key-file {path}/server.key\n"
        )
        .unwrap();
    } else {
        writeln!(lines, "port {port}").unwrap();
    }
    lines
}

fn make_certificates(folder: &TempDir) {
    let (authority, ca) = authority();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &authority).unwrap();
    let client_key = KeyPair::generate().unwrap();
    let mut client = CertificateParams::new(Vec::new()).unwrap();
    // With the authority's own name it would pass for one that signed itself.
    client
        .distinguished_name
        .push(DnType::CommonName, "cloakroom");
    let client = client.signed_by(&client_key, &authority).unwrap();
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
}

/// A new authority, and its certificate as PEM.
pub(crate) fn authority() -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}
