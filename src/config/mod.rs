//! The configuration: a file and variables -> validated types.
//!
//! 1. Every error is reported at once, each with where it stands, the key, what is wrong and what to
//!    write instead. Nothing starts with a configuration that has one.
//! 2. A key nobody reads is an error, so a misspelt limit never silently becomes the default.
//! 3. `config/default.toml` lies below the file, the file below the variables (see `env.rs` for
//!    their names). It is the documentation of every key, and compiled in.
//! 4. Relative paths are relative to the file's folder, wherever they were written; to the working
//!    directory when there is no file.
//! 5. No error and no `Debug` repeats a value, but for the path of a file that cannot be read: any other
//!    may be a password, or a credential pasted in the wrong place.
//!
//! Nothing else of the house knows TOML or the environment.

mod admin_names;
mod at_start;
mod audit;
mod command;
mod data_dir;
mod document;
mod env;
mod error;
mod keyring;
mod keys;
mod limits;
mod listen;
mod parse;
mod people;
mod rates;
mod reader;
mod replicas;
mod server;
mod setup_url;
mod slots;
mod telemetry;
#[cfg(test)]
mod tests;
mod tls;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;

pub use at_start::AtStart;
pub use audit::{Audit, AuditStream};
pub use command::{Command, Sandbox};
pub use data_dir::DataDir;
pub use error::{ConfigError, ConfigErrors};
pub use keyring::{DEFAULT_KEYRING_FILE, KeyringSource};
pub use listen::{Listen, TrustedProxies};
pub use people::{DefaultAccess, People, StaticKey};
pub use rates::{Bounds, Rates, StoreDown};
pub use replicas::{HealthCheck, Replicas};
pub use telemetry::{LogFormat, Telemetry};

use crate::inject::Slots;
use crate::names::ServerName;
use crate::tls::ServerFiles;
use env::Variables;
use error::{Errors, Place};
use reader::{Section, optional};

/// The default of every key, with a comment each: `config/default.toml`.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// A configuration without a mistake.
pub struct Config {
    /// Where clients connect.
    pub listen: Listen,
    /// The users who may connect to Unix sockets listened on; Cloakroom's own unless said.
    pub listen_uids: Option<Vec<u32>>,
    /// The certificate shown where clients connect, if TLS is spoken there.
    pub tls: Option<ServerFiles>,
    /// Whether every connection there begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Who is believed when told a client's address.
    pub trusted_proxies: TrustedProxies,
    /// Where `/livez`, `/readyz` and `/metrics` are served, if anywhere.
    pub health_listen: Option<Listen>,
    /// Where the admin API is served, if anywhere.
    pub admin_listen: Option<Listen>,
    /// Hosts by which it may be called, as `allowed_hosts`.
    pub admin_allowed_hosts: Vec<String>,
    /// Origins of web pages that may call it, as `allowed_origins`; may be empty.
    pub admin_allowed_origins: Vec<String>,
    /// The server behind `/mcp`; one of `servers`.
    pub default_server: Option<ServerName>,
    /// A level or filter that `tracing_subscriber::EnvFilter` accepts.
    pub log: String,
    /// What its lines look like.
    pub log_format: LogFormat,
    /// Where traces go, and which.
    pub telemetry: Telemetry,
    /// Where the audit trail goes.
    pub audit: Audit,
    /// Threads that serve requests, at least 1.
    pub threads: usize,
    /// Hosts a request may name, in lower case, never empty. One without a port allows every port.
    pub allowed_hosts: Vec<String>,
    /// Origins a request may name (`scheme://host`), in lower case. One without a port allows every port.
    pub allowed_origins: Vec<String>,
    /// What keys of another shape than `clk_…` begin with.
    pub key_prefixes: Vec<String>,
    /// Where users are sent to set a missing secret: a URL with places for `{server}` and `{profile}`.
    pub setup_url: Option<String>,
    /// How a process that is told to stop goes on its way out.
    pub drain: Drain,
    /// Where records are kept.
    pub store: Store,
    /// Where the keyring is read from; a file may not exist yet.
    pub keyring: KeyringSource,
    /// Bounds on what clients send and backends answer.
    pub limits: Limits,
    /// Bounds on how much users and keys ask for over time.
    pub rates: Rates,
    /// Who may call, and what, where no record says it.
    pub people: People,
    /// The servers by name; at least one.
    pub servers: BTreeMap<ServerName, Server>,
    /// Where children have their private folders, and packages are kept.
    pub data_dir: DataDir,
    /// What relative paths are relative to: the file's folder, or empty for the working directory.
    pub folder: PathBuf,
    /// What is allowed and yet probably not meant, a sentence each.
    pub warnings: Vec<String>,
}

impl Config {
    /// The files, besides its own, whose content counts anew each time the configuration is read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.servers
            .values()
            .filter_map(|server| match &server.backend {
                Backend::Http { ca_file, .. } => ca_file.as_deref(),
                Backend::Command(_) => None,
            })
    }
}

/// How a process that is told to stop goes on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// How long it goes on taking connections while it says that it is not ready: at most 10 minutes.
    pub delay: Duration,
    /// How long requests may take to finish after that: at most an hour.
    pub timeout: Duration,
}

/// Where records are kept, and what is kept of them in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Store {
    /// What the store is opened with.
    pub settings: crate::store::Settings,
    /// How long secrets are used while the store cannot be reached; zero is not at all.
    pub stale_for: Duration,
    /// Bytes of records, sealed, that are kept in memory: 64 KiB to 16 GiB.
    pub cache: u64,
}

/// Bounds on what clients send and have under way, on what backends answer, and on how long clients may
/// take; sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest body of a request: 1 KiB to 1 GiB.
    pub body: usize,
    /// All bodies being read or forwarded at one moment: at least `body`.
    pub in_flight: usize,
    /// Those of one user: at least `body`, at most `in_flight`.
    pub user_in_flight: usize,
    /// The largest head of a request: 8 KiB to 1 MiB.
    pub headers: usize,
    /// The largest list of tools of a server with argument slots: 64 KiB to 1 GiB.
    pub list: usize,
    /// Requests under way at one moment, 1 to 1,000,000, as all numbers that follow.
    pub requests: usize,
    /// Those of one user.
    pub user_requests: usize,
    /// Open event streams.
    pub streams: usize,
    /// Those of one user.
    pub user_streams: usize,
    /// Connections of clients; as many as file descriptors allow unless set.
    pub connections: Option<usize>,
    /// Wrong keys from one address in ten seconds, before their answers are slowed.
    pub failed_keys: usize,
    /// How long a client may be silent at the beginning of a connection and within a body, and take
    /// for a head: 100 ms to 5 minutes.
    pub read_timeout: Duration,
    /// How long a connection may lie idle, and an answer untaken: 100 ms to 1 hour.
    pub idle_timeout: Duration,
    /// Child processes at one moment.
    pub children: usize,
    /// Those of one user.
    pub user_children: usize,
    /// Sessions with child processes, asleep or awake.
    pub child_sessions: usize,
    /// The longest message of a child: 64 KiB to 1 GiB.
    pub child_message: usize,
}

/// An MCP server behind the proxy.
pub struct Server {
    /// How it is reached.
    pub backend: Backend,
    /// Where it expects secrets.
    pub slots: Slots,
    /// What becomes of requests that only look around while a secret is missing.
    pub discovery: Discovery,
    /// How long it may be silent before the head of its answer.
    pub answer_timeout: Duration,
}

/// What becomes of requests that only look around (initialize, server/discover, ping, notifications,
/// the lists) while a secret is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    /// They are refused like any other.
    Secret,
    /// They go without the headers and query parameters whose secrets are missing.
    Omit,
}

/// How a server is reached.
pub enum Backend {
    /// At a URL.
    Http {
        /// What is spoken there.
        transport: Transport,
        /// Absolute, `http` or `https`, without user, password or fragment.
        url: Uri,
        /// The Unix socket it is reached through, if not by the URL's host and port.
        socket: Option<BackendSocket>,
        /// Certificates (PEM) to trust instead of the system's; with `https` only.
        ca_file: Option<PathBuf>,
        /// How long opening a connection may take.
        connect_timeout: Duration,
        /// The addresses that stand for the URL's host.
        replicas: Replicas,
        /// How they are checked; never set unless built with the feature `pingora-lb`.
        health_check: Option<HealthCheck>,
    },
    /// As a child process of each user, which speaks over its standard input and output.
    Command(Command),
}

/// The Unix socket of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendSocket {
    /// Its file.
    pub path: PathBuf,
    /// The user the server must run as; Cloakroom's own or root unless said.
    pub uid: Option<u32>,
}

impl BackendSocket {
    /// The users as one of whom the server must run where Cloakroom runs as `own`.
    #[must_use]
    pub fn uids(&self, own: u32) -> Vec<u32> {
        self.uid.map_or_else(|| vec![own, 0], |uid| vec![uid])
    }
}

/// What is spoken at a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Streamable HTTP.
    Streamable,
    /// HTTP+SSE, of MCP 2024-11-05; the URL is that of the stream.
    Sse,
}

/// Reads the configuration from the file at `path` (or from `CLOAKROOM_CONFIG_TOML` when there is
/// none) and from `environment`, which is `std::env::vars_os()` outside tests.
///
/// # Errors
/// Everything wrong with it, at once.
pub fn load(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, ConfigErrors> {
    load_as(path, environment, parse::config)
}

/// As [`load`], but only where the store is: everything else may be missing or wrong, but for keys
/// that do not exist.
///
/// # Errors
/// Everything wrong with it, at once.
pub fn load_store(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Store, ConfigErrors> {
    load_as(path, environment, parse::store)
}

/// Reads only whether what cannot be recorded must not be done (`audit.required`), whatever else is missing
/// or wrong.
///
/// # Errors
/// Everything wrong with that.
pub fn load_audit_required(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<bool, ConfigErrors> {
    load_as(path, environment, |root, _| audit::required(root))
}

/// Reads a configuration's text before it is written to `file`, as if there were no variables; relative
/// paths are relative to `folder`.
///
/// # Errors
/// Everything wrong with it, at once.
pub fn load_text(text: &str, file: &Path, folder: &Path) -> Result<Config, ConfigErrors> {
    let errors = Errors::default();
    let variables = Variables::new(std::iter::empty(), &errors);
    let place = Place::document(&file.display().to_string());
    let parsed = read(text, place, folder, &variables, &errors, parse::config);
    errors.finish(parsed)
}

/// `text` as a basic string of TOML, whose escapes are those of JSON.
#[must_use]
pub fn basic_string(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('\u{7f}', "\\u007F")
}

fn load_as<T>(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    parse: fn(&Section<'_>, &Path) -> Option<T>,
) -> Result<T, ConfigErrors> {
    let errors = Errors::default();
    let variables = Variables::new(environment, &errors);
    let (place, written) = match (path, variables.document()) {
        (Some(path), document) => {
            let place = Place::document(&path.display().to_string());
            if document.is_some() {
                let message = "a file is given too; unset the variable or give no file";
                errors.push(Place::variable(env::DOCUMENT), "", message);
            }
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| errors.push(place.clone(), "", unreadable(&error)));
            (place, text.ok())
        }
        (None, Some(text)) => (Place::document(env::DOCUMENT), Some(text.to_owned())),
        (None, None) => (Place::document("configuration"), Some(String::new())),
    };
    let folder = path.and_then(Path::parent).unwrap_or(Path::new(""));
    let parsed = written.and_then(|text| read(&text, place, folder, &variables, &errors, parse));
    errors.finish(parsed)
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::InvalidData => "not UTF-8 text; save it as UTF-8".to_owned(),
        std::io::ErrorKind::NotFound => {
            "no such file; make one with `cloakroom init`, or name another with --config".to_owned()
        }
        _ => format!("cannot be read: {error}"),
    }
}

fn read<T>(
    text: &str,
    place: Place,
    folder: &Path,
    variables: &Variables,
    errors: &Errors,
    parse: fn(&Section<'_>, &Path) -> Option<T>,
) -> Option<T> {
    let written = document::parse(text, &place, errors)?;
    let mut tree = document::parse(
        DEFAULT_TOML,
        &Place::document("config/default.toml"),
        errors,
    )?;
    tree.merge(written);
    variables.overlay(&mut tree, errors);
    let root = Section::root(&tree, place, &keys::root(), errors);
    parse(&root, folder)
}

/// The names by which a machine calls itself.
struct LoopbackNames;

impl LoopbackNames {
    const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

    fn hosts() -> Vec<String> {
        Self::HOSTS.map(str::to_owned).to_vec()
    }

    fn origins() -> Vec<String> {
        let of = |scheme: &str| Self::HOSTS.map(|host| format!("{scheme}://{host}"));
        [of("http"), of("https")].concat()
    }
}

fn is_loopback_name(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}
