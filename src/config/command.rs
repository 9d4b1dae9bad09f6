//! `command` of `[servers.NAME]`: a server that runs as a child process of each user.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::Value;
use super::reader::{Section, optional, text};
use super::{listen, values};

/// How long a child may be idle before it sleeps, unless said.
const SLEEP: Duration = Duration::from_secs(5 * 60);
/// How long a child may take until it has answered for the first time, unless said.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// File descriptors a child may have, unless said.
const OPEN_FILES: usize = 1024;

/// Keys of a server at a URL.
const OF_URLS: [&str; 8] = [
    "socket",
    "socket_uid",
    "ca_file",
    "connect_timeout",
    "replicas",
    "health_check",
    "headers",
    "query",
];
/// Keys of a server that runs as children.
const OF_CHILDREN: [&str; 11] = [
    "env",
    "sandbox",
    "readable",
    "uid",
    "gid",
    "sleep",
    "start_timeout",
    "prewarm",
    "memory",
    "processes",
    "open_files",
];

/// A server that runs as a child process of each user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments; at least the program.
    pub command: Vec<String>,
    /// What keeps its children apart.
    pub sandbox: Sandbox,
    /// Files and folders its children may read besides the system and the program.
    pub readable: Vec<PathBuf>,
    /// The user its children run as, if not Cloakroom's own.
    pub uid: Option<u32>,
    /// The group they run as; that of the same number as `uid` unless said.
    pub gid: Option<u32>,
    /// How long a child may be idle before it sleeps; none for ever.
    pub sleep: Option<Duration>,
    /// How long a child may take until it has answered for the first time.
    pub start_timeout: Duration,
    /// Whether each user who has a child gets one more, started ahead.
    pub prewarm: bool,
    /// Bytes of memory a child may have.
    pub memory: Option<u64>,
    /// Processes its children's user may have, as the system counts them.
    pub processes: Option<usize>,
    /// File descriptors a child may have.
    pub open_files: usize,
}

/// What keeps children apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// A Landlock domain each.
    #[default]
    Landlock,
    /// Nothing but their users and folders.
    None,
}

/// Refuses keys that belong to the other kind of server; whether there was any.
pub(super) fn refuse_foreign(section: &Section<'_>) -> bool {
    let (keys, is_for): (&[&str], _) = match section.has("command") {
        true => (&OF_URLS, "a server at a URL"),
        false => (&OF_CHILDREN, "a server that is started by `command`"),
    };
    let foreign: Vec<_> = keys.iter().filter(|key| section.has(key)).collect();
    for key in &foreign {
        section.fail_key(key, format!("is for {is_for} only; remove it"));
    }
    !foreign.is_empty()
}

/// Reads all of a server that runs as children but for its slots.
pub(super) fn read(section: &Section<'_>, folder: &Path) -> Option<Command> {
    let command = words(section);
    let sandbox = optional(section, "sandbox", sandbox);
    let readable = match section.has("readable") {
        true => section.list("readable", "[\"/srv/data\"]", |path| {
            values::file(path, folder)
        }),
        false => Some(Vec::new()),
    };
    let uid = optional(section, "uid", listen::uid);
    let gid = optional(section, "gid", |value| {
        listen::uid(value)
            .map_err(|_| "write the number of a group (gid), without quotes".to_owned())
    });
    let gid = gid.filter(|gid| {
        let alone = gid.is_some() && uid.flatten().is_none();
        if alone {
            section.fail_key("gid", "needs `uid` too");
        }
        !alone
    });
    let sleep = optional(section, "sleep", sleep);
    let start_timeout = optional(section, "start_timeout", |value| {
        values::duration(value, Duration::from_millis(100), Duration::from_secs(600))
    });
    let prewarm = optional(section, "prewarm", values::switch);
    let memory = optional(section, "memory", |v| values::size(v, 16 << 20, 1 << 50));
    let processes = optional(section, "processes", |v| values::number(v, 1, 1_000_000));
    let open_files = optional(section, "open_files", |v| values::number(v, 16, 1_000_000));
    Some(Command {
        command: command?,
        sandbox: sandbox?.unwrap_or_default(),
        readable: readable?,
        uid: uid?,
        gid: gid?,
        sleep: sleep?.unwrap_or(Some(SLEEP)),
        start_timeout: start_timeout?.unwrap_or(START_TIMEOUT),
        prewarm: prewarm?.unwrap_or(false),
        memory: memory?,
        processes: processes?,
        open_files: open_files?.unwrap_or(OPEN_FILES),
    })
}

fn words(section: &Section<'_>) -> Option<Vec<String>> {
    let words = section.list("command", "[\"notion-mcp-server\"]", |word| {
        match word.contains('\0') {
            true => Err("no argument can hold a NUL".to_owned()),
            false => Ok(word.to_owned()),
        }
    })?;
    if words.first().is_none_or(|program| program.is_empty()) {
        section.fail(
            "command",
            "names no program; write for example [\"notion-mcp-server\"]",
        );
        return None;
    }
    if words.iter().any(|word| word.contains("${")) {
        let message = "holds `${`: secrets go into the environment, never into arguments, which every \
                       process can read; write them under `env`";
        section.fail("command", message);
        return None;
    }
    Some(words)
}

fn sandbox(value: &Value) -> Result<Sandbox, String> {
    const WANTED: &str = "\"landlock\", or \"none\" where the system has no Landlock";
    match text(value, WANTED)? {
        "landlock" => Ok(Sandbox::Landlock),
        "none" => Ok(Sandbox::None),
        _ => Err(format!("write {WANTED}")),
    }
}

fn sleep(value: &Value) -> Result<Option<Duration>, String> {
    if matches!(value, Value::Text(text) | Value::Raw(text) if text == "never") {
        return Ok(None);
    }
    let (min, max) = (
        Duration::from_millis(100),
        Duration::from_secs(24 * 60 * 60),
    );
    values::duration(value, min, max)
        .map(Some)
        .map_err(|message| format!("{message}, or \"never\""))
}
