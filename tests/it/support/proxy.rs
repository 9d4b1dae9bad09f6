//! The real `cloakroom serve` on a free loopback port, in a folder of its own; gone when dropped. And
//! further replicas of the same installation.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cloakroom::cli::open;
use cloakroom::identity::KeyDigest;
use cloakroom::names::{ProfileName, SecretName, ServerName, UserName};
use cloakroom::store::Store;
use cloakroom::vault::{IssuedKey, KeyRequest, NewUser, SecretValue, Vault};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::block_in_place;

use super::client::Client;
use super::folder_in_memory;
use super::redis::{self, Cluster, Sentinels};
use crate::cli::cloakroom;

/// Where the proxy keeps its records.
pub(crate) enum Place<'a> {
    Sqlite,
    Redis(&'a redis::Server),
    /// The proxy reaches the server through a relay on this port, the vault of the test directly.
    Relayed(&'a redis::Server, u16),
    Sentinels(&'a Sentinels),
    Cluster(&'a Cluster),
}

impl Place<'_> {
    /// The URLs for the proxy and for the vault of the test.
    fn urls(&self) -> [String; 2] {
        match self {
            Place::Sqlite => ["sqlite:store.db"; 2].map(str::to_owned),
            Place::Redis(server) => [server.url(), server.url()],
            Place::Relayed(server, port) => [relayed(*port), server.url()],
            Place::Sentinels(servers) => [servers.url(), servers.url()],
            Place::Cluster(servers) => [servers.url(), servers.url()],
        }
    }
}

/// The URL of a Redis behind a relay on this port.
pub(crate) fn relayed(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

/// What is special about a configuration. Lines of TOML.
#[derive(Default)]
pub(crate) struct Lines<'a> {
    pub(crate) root: &'a str,
    pub(crate) store: &'a str,
    /// Under `[servers.NAME.headers]`; a bearer token unless said.
    pub(crate) slots: Option<&'a str>,
}

/// The secret the usual slot takes.
pub(crate) const SECRET: &str = "TOKEN";

pub(crate) struct Proxy {
    pub(crate) serving: Serving,
    pub(crate) vault: Arc<Vault>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) folder: TempDir,
}

/// One process that serves.
pub(crate) struct Serving {
    /// As it says itself.
    pub(crate) url: String,
    /// Port 0 when it listens on a Unix socket.
    pub(crate) address: SocketAddr,
    pub(crate) child: Child,
    printed: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    /// Starts it in front of these servers (name and URL).
    pub(crate) async fn start(
        place: &Place<'_>,
        lines: &Lines<'_>,
        servers: &[(&str, String)],
    ) -> Self {
        let usual = format!("Authorization = \"Bearer ${{{SECRET}}}\"");
        let slots = lines.slots.unwrap_or(&usual);
        let table = |(name, url): &(&str, String)| {
            format!("[servers.{name}]\nurl = \"{url}\"\n[servers.{name}.headers]\n{slots}\n")
        };
        let tables: String = servers.iter().map(table).collect();
        Self::configured(place, lines, &tables).await
    }

    /// Starts it with these tables of the configuration, which are the servers'.
    pub(crate) async fn configured(place: &Place<'_>, lines: &Lines<'_>, servers: &str) -> Self {
        let folder = folder_in_memory();
        let [url, direct] = place.urls();
        let write = |name: &str, url: &str| {
            std::fs::write(folder.path().join(name), config(url, lines, servers)).unwrap();
        };
        write("cloakroom.toml", &url);
        write("direct.toml", &direct);
        let init = block_in_place(|| {
            cloakroom()
                .current_dir(folder.path())
                .args(["keyring", "init", "--config", "direct.toml"])
                .output()
                .unwrap()
        });
        assert!(init.status.success(), "{init:?}");
        let path = folder.path().join("direct.toml");
        let config = cloakroom::config::load(Some(&path), std::iter::empty()).unwrap();
        let store = open::store(&config).await.unwrap();
        let ring = Arc::new(open::keyring(&config.keyring).unwrap());
        let vault = Vault::new(store.clone(), ring);
        vault.check_keyring().await.unwrap();
        Self {
            serving: Serving::start(&folder, &[]),
            vault: Arc::new(vault),
            store,
            folder,
        }
    }

    /// Starts a further replica, which finds the store under this URL if one is named.
    pub(crate) fn replica(&self, store: Option<&str>) -> Serving {
        let store = store.map(|url| ("CLOAKROOM_STORE__URL", url));
        Serving::start(&self.folder, store.as_slice())
    }

    /// Starts a further replica with these variables.
    pub(crate) fn replica_with(&self, variables: &[(&str, &str)]) -> Serving {
        Serving::start(&self.folder, variables)
    }

    /// Starts a further replica, which may have so many file descriptors.
    pub(crate) fn replica_within(&self, descriptors: u32) -> Serving {
        let binary = cloakroom();
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -n \"$1\" && shift && exec \"$@\"", "sh"])
            .arg(descriptors.to_string())
            .arg(binary.get_program());
        Serving::run(command, &self.folder)
    }

    /// The vault over the same store, with the keyring's file as it is now.
    pub(crate) fn reopened(&self) -> Arc<Vault> {
        let ring = open::keyring(&self.folder.path().join("master.keys").into()).unwrap();
        Arc::new(Vault::new(self.store.clone(), Arc::new(ring)))
    }

    pub(crate) fn client(&self) -> Client {
        self.serving.client()
    }

    /// All it wrote on standard output and standard error until now.
    pub(crate) fn printed(&self) -> Vec<u8> {
        self.serving.printed()
    }

    /// See [`Serving::log_with`].
    pub(crate) async fn log_with(&self, text: &str) -> String {
        self.serving.log_with(text).await
    }

    pub(crate) async fn add_user(&self, name: &str) {
        self.vault
            .add_user(&user(name), NewUser::default())
            .await
            .unwrap();
    }

    /// Sets the secret the usual slot takes.
    pub(crate) async fn set_secret(&self, name: &str, server: &str, value: &str) {
        let at = (server, ProfileName::DEFAULT);
        self.set_named(name, at, SECRET, value).await;
    }

    /// Sets a secret of a user, for a server and in a profile.
    pub(crate) async fn set_named(
        &self,
        name: &str,
        (server, profile): (&str, &str),
        secret: &str,
        value: &str,
    ) {
        let value = SecretValue::new(value.as_bytes().to_vec().into()).unwrap();
        let server = ServerName::parse(server).unwrap();
        let profile = ProfileName::parse(profile).unwrap();
        let secret = SecretName::parse(secret).unwrap();
        let user = user(name);
        let set = self
            .vault
            .set_secret(&user, &server, &profile, &secret, &value);
        set.await.unwrap();
    }

    pub(crate) async fn issue_key(&self, name: &str, ttl: Option<Duration>) -> IssuedKey {
        let request = KeyRequest {
            ttl,
            ..KeyRequest::default()
        };
        self.vault.issue_key(&user(name), request).await.unwrap()
    }

    /// A user with one secret for each of `servers`, `NAME-SERVER-secret`, and a key.
    pub(crate) async fn settle_in(&self, name: &str, servers: &[&str]) -> String {
        self.add_user(name).await;
        for server in servers {
            self.set_secret(name, server, &first_secret(name, server))
                .await;
        }
        self.issue_key(name, None).await.key.reveal().to_owned()
    }

    /// A new user's key, which this process has come to know, and the client it knows it from.
    pub(crate) async fn known(&self, name: &str, server: &str) -> (String, Client) {
        let key = self.settle_in(name, &[server]).await;
        let mut client = self.client();
        for _ in 0..2 {
            let answer = client.call(server, &key, "first").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            // The news of the user's own making may arrive after the first request, and makes the
            // proxy read again.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        (key, client)
    }

    pub(crate) async fn revoke(&self, key: &str) {
        let digest = KeyDigest::of_presented(key.as_bytes(), &[]).ok().unwrap();
        self.vault.revoke_digest(&digest).await.unwrap();
    }

    /// Revokes as an operator does, who looks for the servers anew: whether all copies of the store are
    /// known to have it, or what he is told instead.
    pub(crate) async fn command_revokes(&self, key: &str) -> Result<bool, String> {
        let mut command = cloakroom();
        command
            .current_dir(self.folder.path())
            .args(["key", "revoke", "-", "--json", "--config", "direct.toml"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(key.as_bytes()).unwrap();
        drop(input);
        let done = tokio::task::spawn_blocking(|| child.wait_with_output()).await;
        let done = done.unwrap().unwrap();
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).into_owned());
        }
        let document: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        Ok(document["on_all_copies"].as_bool().unwrap())
    }
}

pub(crate) fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

pub(crate) fn first_secret(name: &str, server: &str) -> String {
    format!("{name}-{server}-secret")
}

/// How many tests that wait more than they work may run beside each other.
const BESIDE: u32 = 3;
static PLACES: Semaphore = Semaphore::const_new(BESIDE as usize);

/// Tests that measure, or load the machine, run one at a time.
pub(crate) async fn alone() -> SemaphorePermit<'static> {
    PLACES.acquire_many(BESIDE).await.expect("never closed")
}

/// Tests that say how soon something happens, but work little themselves, run beside others of their kind:
/// together they would take minutes one after the other.
pub(crate) async fn beside_few() -> SemaphorePermit<'static> {
    PLACES.acquire().await.expect("never closed")
}

fn config(url: &str, lines: &Lines<'_>, servers: &str) -> String {
    let Lines { root, store, .. } = lines;
    let listen = if root.starts_with("listen = ") {
        ""
    } else {
        "listen = \"127.0.0.1:0\"\n"
    };
    // Most tests ask with keys that are refused, and measure how soon they are.
    let patient = "[limits]\nfailed_keys = 1000000";
    let root = if root.contains("failed_keys") {
        (*root).to_owned()
    } else if root.contains("[limits]") {
        root.replace("[limits]", patient)
    } else {
        format!("{root}\n{patient}")
    };
    format!("{listen}{root}\n[store]\nurl = \"{url}\"\n{store}\n{servers}")
}

impl Serving {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.gone(Duration::from_secs(20)).await;
    }

    /// Waits until it has stopped; its exit code.
    pub(crate) async fn gone(&mut self, patience: Duration) -> Option<i32> {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "it does not stop");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn start(folder: &TempDir, variables: &[(&str, &str)]) -> Self {
        let mut command = cloakroom();
        command.envs(variables.iter().copied());
        Self::run(command, folder)
    }

    fn run(mut command: Command, folder: &TempDir) -> Self {
        let mut child = command
            .current_dir(folder.path())
            .args(["serve", "--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = Arc::new(Mutex::new(Vec::new()));
        collect(child.stderr.take().unwrap(), printed.clone());
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        // It may reach its store through a relay on this runtime, which must not wait for it in turn.
        if block_in_place(|| out.read_line(&mut line)).unwrap() == 0 {
            std::thread::sleep(Duration::from_millis(200));
            let said = printed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            panic!(
                "the proxy does not start: {}",
                String::from_utf8_lossy(&said)
            );
        }
        let document: serde_json::Value = serde_json::from_str(&line).unwrap();
        let url = document["listening"].as_str().unwrap();
        let of_port = url.split_once("://").map(|(_, address)| address);
        let address = of_port.unwrap_or("0.0.0.0:0").parse().unwrap();
        let url = url.to_owned();
        collect(out, printed.clone());
        Self {
            url,
            address,
            child,
            printed,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    pub(crate) fn printed(&self) -> Vec<u8> {
        let printed = self.printed.lock();
        printed.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All that was printed, once `text` is in it: a line comes through a pipe, and may be later than the
    /// answer to the request it is about.
    pub(crate) async fn log_with(&self, text: &str) -> String {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let printed = String::from_utf8_lossy(&self.printed()).into_owned();
            if printed.contains(text) {
                return printed;
            }
            assert!(Instant::now() < until, "no `{text}` in {printed}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let printed = self.printed();
            let text = String::from_utf8_lossy(&printed);
            let lines: Vec<_> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("the proxy's last words:\n{}", last.join("\n"));
        }
    }
}

fn collect(mut from: impl Read + Send + 'static, to: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(read) = from.read(&mut buffer)
            && read > 0
        {
            let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
            to.extend_from_slice(&buffer[..read]);
        }
    });
}
