//! One process.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cloakroom::store::ClientCertificate;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::certificates::Certificates;
use crate::support::{Chance, folder_in_memory};

/// How a server alone is to be started.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options<'a> {
    /// TLS only, with a certificate for `localhost`.
    pub(crate) tls: bool,
    /// Further lines of its configuration.
    pub(crate) lines: &'a str,
}

/// Ports of one process; what is not wanted stays free.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub(super) usual: u16,
    pub(super) tls: u16,
    pub(super) bus: u16,
}

/// A running server. Keeps its ports and its configuration, not its data, when killed and restarted.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(super) ports: Ports,
    /// What stands before the host in a URL with which the tests may do all.
    admin: &'static str,
    /// Neither killed nor frozen.
    awake: AtomicBool,
    certificates: Option<Certificates>,
    process: Process,
}

impl Server {
    /// Starts a server and waits until it answers.
    pub(crate) fn start(options: Options<'_>) -> Self {
        let certificates = options.tls.then(|| Certificates::of(&["localhost"]));
        let mut server = Self::launched(&[], "", |ports| {
            let port = ports.usual;
            let port = match &certificates {
                Some(pair) => format!("port 0\ntls-port {port}\n{}", pair.lines()),
                None => format!("port {port}\n"),
            };
            port + DATA + options.lines
        });
        server.certificates = certificates;
        server
    }

    /// A server without TLS or login.
    pub(crate) fn plain() -> Self {
        Self::start(Options::default())
    }

    /// Starts a process with these arguments and what `config` makes of its ports.
    pub(super) fn launched(
        arguments: &'static [&'static str],
        admin: &'static str,
        config: impl Fn(Ports) -> String,
    ) -> Self {
        let folder = folder_in_memory();
        let path = folder.path().display().to_string();
        // Another process may take the port before redis-server does: then take another one.
        for _ in 0..5 {
            let [usual, tls, bus] = [free_port(), free_port(), free_port()];
            let ports = Ports { usual, tls, bus };
            let lines = config(ports);
            let text = format!("bind 127.0.0.1\ndir {path}\nlogfile {path}/log\n{lines}\n");
            std::fs::write(folder.path().join("redis.conf"), text).unwrap();
            if let Some(child) = launch(folder.path(), arguments) {
                let child = Mutex::new(child);
                return Self {
                    port: usual,
                    ports,
                    admin,
                    awake: AtomicBool::new(true),
                    certificates: None,
                    process: Process {
                        arguments,
                        folder,
                        child,
                    },
                };
            }
        }
        panic!("redis-server does not start: {}", log(folder.path()));
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The authority that signed the server's certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.certificates.as_ref().unwrap().ca_file()
    }

    /// A certificate of the same authority for a client.
    pub(crate) fn identity(&self) -> ClientCertificate {
        self.certificates.as_ref().unwrap().identity()
    }

    /// A connection to look behind the scenes with.
    pub(crate) fn raw(&self) -> redis::Connection {
        self.try_raw().unwrap()
    }

    pub(super) fn try_raw(&self) -> redis::RedisResult<redis::Connection> {
        let url = format!("redis://{}127.0.0.1:{}", self.admin, self.port);
        let connection =
            redis::Client::open(url)?.get_connection_with_timeout(Duration::from_secs(5))?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(connection)
    }

    /// What it answers to a command, given as words.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, words: &str) -> redis::RedisResult<T> {
        let mut words = words.split_whitespace();
        let mut command = redis::cmd(words.next().unwrap_or_default());
        words.for_each(|word| {
            command.arg(word);
        });
        command.query(&mut self.try_raw()?)
    }

    pub(crate) fn kill(&self) {
        self.awake.store(false, Ordering::SeqCst);
        self.process.signal(Signal::KILL);
        self.process.child.lock().unwrap().wait().unwrap();
    }

    pub(crate) fn restart(&self) {
        let until = Instant::now() + Duration::from_secs(5);
        let Process {
            folder, arguments, ..
        } = &self.process;
        while Instant::now() < until {
            if let Some(child) = launch(folder.path(), arguments) {
                *self.process.child.lock().unwrap() = child;
                self.awake.store(true, Ordering::SeqCst);
                return;
            }
        }
        panic!("redis-server does not start again: {}", log(folder.path()));
    }

    /// Freezes the server: connections stay open, nothing answers.
    pub(crate) fn freeze(&self) {
        self.awake.store(false, Ordering::SeqCst);
        self.process.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.process.signal(Signal::CONT);
        self.awake.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_awake(&self) -> bool {
        self.awake.load(Ordering::SeqCst)
    }
}

/// For servers that keep data, which is never on disk.
pub(super) const DATA: &str = "save \"\"\nappendonly no\nrepl-diskless-sync-delay 0\n";

struct Process {
    arguments: &'static [&'static str],
    folder: TempDir,
    child: Mutex<Child>,
}

impl Process {
    fn signal(&self, signal: Signal) {
        let child = self.child.lock().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A port nobody listens on, below those the system gives to outgoing connections: of these one could
/// take the port of a server that was killed, or even be connected to itself.
pub(crate) fn free_port() -> u16 {
    let mut chance = Chance::new(u64::from(std::process::id()));
    loop {
        let port = 10_000 + chance.below(20_000) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn launch(folder: &Path, arguments: &[&str]) -> Option<Child> {
    let _ = std::fs::remove_file(folder.join("log"));
    let mut child = Command::new("redis-server")
        .arg(folder.join("redis.conf"))
        .args(arguments)
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
        let ready = ["Ready to accept connections", "Sentinel ID is"];
        if ready.iter().any(|words| log(folder).contains(words)) {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}
