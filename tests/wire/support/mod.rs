//! An installation in a folder of its own, served by the real binary; backends and clients that see
//! and write every byte themselves.

mod backend;
mod client;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use cloakroom::cli::open;
use cloakroom::names::{ProfileName, SecretName, ServerName, UserName};
use cloakroom::vault::{KeyRequest, NewUser, SecretValue, Vault};
use zeroize::Zeroizing;

pub(crate) use backend::{Backend, Next, json_answer, plain_answer, read_request, stream_head};
pub(crate) use client::{Answer, Client, Cut, Request, chunked};

/// Longer than anything takes on a loaded machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A request any backend may get.
pub(crate) const CALL: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t","arguments":{}}}"#;

/// The same call, of 2026-07-28.
pub(crate) const MODERN: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;

/// A proxy that serves, and the people it knows.
pub(crate) struct House {
    pub(crate) address: SocketAddr,
    /// A user with the secret `TOKEN` on every server.
    pub(crate) alice: String,
    /// Another.
    pub(crate) bob: String,
    /// A user without any secret.
    pub(crate) carol: String,
    vault: Vault,
    runtime: tokio::runtime::Runtime,
    child: Child,
    _out: BufReader<ChildStdout>,
    _folder: tempfile::TempDir,
}

/// One server of the configuration: name, URL and further keys.
pub(crate) struct Server<'a>(pub(crate) &'a str, pub(crate) String, pub(crate) &'a str);

impl House {
    /// With one server, `one`, that takes the header `X-Token: ${TOKEN}`.
    pub(crate) fn before(backend: &Backend) -> Self {
        Self::new("", &[Server("one", backend.url(), "")])
    }

    /// With these servers; `root` stands at the top of the configuration.
    pub(crate) fn new(root: &str, servers: &[Server<'_>]) -> Self {
        let mut config = format!("{root}\n");
        for Server(name, url, more) in servers {
            config.push_str(&format!(
                "[servers.{name}]\nurl = \"{url}\"\n{more}\n\
                 [servers.{name}.headers]\nX-Token = \"${{TOKEN}}\"\n"
            ));
        }
        let names: Vec<_> = servers.iter().map(|server| server.0).collect();
        Self::configured(&config, &names)
    }

    /// With one server, `one`, and these lines of its table.
    pub(crate) fn with_slots(backend: &Backend, slots: &str) -> Self {
        let url = backend.url();
        Self::configured(
            &format!("[servers.one]\nurl = \"{url}\"\n{slots}"),
            &["one"],
        )
    }

    /// With this configuration, whose servers these are.
    pub(crate) fn configured(config: &str, servers: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config =
            format!("listen = \"127.0.0.1:0\"\nthreads = 2\ndrain_timeout = \"4s\"\n{config}");
        std::fs::write(folder.path().join("cloakroom.toml"), config).unwrap();
        let source = open::Source::file_alone(&folder.path().join("cloakroom.toml"));
        let config = source.load().ok().unwrap();
        open::new_keyring(&config.folder.join("master.keys")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let vault = runtime.block_on(open::vault(&config)).ok().unwrap();
        let mut keys = ["alice", "bob", "carol"].map(|user| {
            let with = if user == "carol" { &[][..] } else { servers };
            runtime.block_on(add_user(&vault, user, with))
        });
        let (child, out, address) = serve(folder.path());
        Self {
            address,
            alice: std::mem::take(&mut keys[0]),
            bob: std::mem::take(&mut keys[1]),
            carol: std::mem::take(&mut keys[2]),
            vault,
            runtime,
            child,
            _out: out,
            _folder: folder,
        }
    }

    /// A connection to the proxy.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own, and its whole answer.
    #[track_caller]
    pub(crate) fn ask(&self, request: &Request) -> Answer {
        self.connect()
            .ask(request)
            .expect("the answer arrives whole")
    }

    /// A call as alice.
    pub(crate) fn post(&self, body: impl Into<Vec<u8>>) -> Request {
        Request::post("/one/mcp", body).key(&self.alice)
    }

    /// Another key of a user.
    pub(crate) fn issue(
        &self,
        user: &str,
        request: KeyRequest,
    ) -> (String, cloakroom::identity::KeyId) {
        let user = UserName::parse(user).unwrap();
        let issued = self
            .runtime
            .block_on(self.vault.issue_key(&user, request))
            .unwrap();
        (issued.key.reveal().to_owned(), issued.id)
    }

    /// Revokes a key.
    pub(crate) fn revoke(&self, id: &cloakroom::identity::KeyId) {
        self.in_vault(async |vault| vault.revoke_key(id).await.map(drop).unwrap());
    }

    /// Does something in the vault.
    pub(crate) fn in_vault<T>(&self, act: impl AsyncFnOnce(&Vault) -> T) -> T {
        self.runtime.block_on(act(&self.vault))
    }

    /// Sets a secret of the server `one`.
    pub(crate) fn set_secret(&self, user: &str, profile: &str, name: &str, value: &str) {
        let (user, one) = (
            UserName::parse(user).unwrap(),
            ServerName::parse("one").unwrap(),
        );
        let profile = ProfileName::parse(profile).unwrap();
        let name = SecretName::parse(name).unwrap();
        let value = SecretValue::new(Zeroizing::new(value.as_bytes().to_vec()));
        let value = value.ok().unwrap();
        self.in_vault(async |vault| {
            let set = vault.set_secret(&user, &one, &profile, &name, &value).await;
            set.unwrap();
        });
    }

    /// Resident memory of the proxy without its code, in KiB.
    pub(crate) fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// The exit code, once the proxy ends by itself.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the proxy does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn add_user(vault: &Vault, name: &str, servers: &[&str]) -> String {
    let user = UserName::parse(name).unwrap();
    vault.add_user(&user, NewUser::default()).await.unwrap();
    for server in servers {
        let server = ServerName::parse(server).unwrap();
        let value = Zeroizing::new(format!("token of {name}").into_bytes());
        let value = SecretValue::new(value).ok().unwrap();
        let (profile, secret) = (
            ProfileName::default_profile(),
            SecretName::parse("TOKEN").unwrap(),
        );
        vault
            .set_secret(&user, &server, &profile, &secret, &value)
            .await
            .unwrap();
    }
    let issued = vault.issue_key(&user, KeyRequest::default()).await.unwrap();
    issued.key.reveal().to_owned()
}

fn serve(folder: &std::path::Path) -> (Child, BufReader<ChildStdout>, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloakroom"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CLOAKROOM_") {
            command.env_remove(name);
        }
    }
    // For whoever looks into a failing test: WIRE_LOG=debug cargo test --test wire -- NAME
    match std::env::var("WIRE_LOG") {
        Ok(level) => command.env("CLOAKROOM_LOG", level),
        Err(_) => command.stderr(Stdio::null()),
    };
    let mut child = command
        .args(["serve", "--json"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let document: serde_json::Value =
        serde_json::from_str(&line).expect("it says where it listens");
    let url = document["listening"].as_str().unwrap();
    let address = url.strip_prefix("http://").unwrap().parse().unwrap();
    (child, out, address)
}

/// Waits until `is` holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
