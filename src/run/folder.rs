//! The folder of one `cloakroom run`: keyring, store, and a configuration that follows what is asked for.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::cli::{Failure, open, private};
use crate::config::{self, Backend, Config, DEFAULT_KEYRING_FILE, Listen, basic_string};
use crate::inject::Place;
use crate::names::{SecretName, ServerName};

/// The first line of the configuration: by it the folder is known again.
const FIRST_LINE: &str = "# Made by `cloakroom run`.";
/// Ends the lines that follow the command line. A line without it is the reader's own.
const OURS: &str = "# as `cloakroom run` was told";
/// What is there when an installation of the package failed at the first try.
const LEFT: [&str; 2] = [".gitignore", "cloakroom-data"];

/// What the command line asks for.
pub(super) struct Wanted {
    pub(super) server: ServerName,
    pub(super) command: Vec<String>,
    pub(super) secrets: BTreeSet<SecretName>,
    pub(super) listen: Option<SocketAddr>,
}

/// A folder and what its configuration will be. Nothing is written yet but the folder.
pub(super) struct Folder {
    path: PathBuf,
    text: String,
    pub(super) config: Config,
    /// What is different from the last time, a sentence each.
    pub(super) changes: Vec<String>,
}

impl Folder {
    /// Makes the folder, or takes up one of an earlier run. `free` finds an address for a new one.
    pub(super) fn prepare(
        path: &Path,
        wanted: &Wanted,
        free: impl FnOnce() -> Result<SocketAddr, Failure>,
    ) -> Result<Self, Failure> {
        let file = path.join("cloakroom.toml");
        let told = |error: io::Error| Failure::new(format!("{}: {error}", path.display()));
        let before = match fs::read_to_string(&file) {
            Ok(text) if text.starts_with(FIRST_LINE) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_free(path) => None,
            _ => return Err(taken(path)),
        };
        private::make_folder(path).map_err(told)?;
        let (text, old) = match before {
            None => {
                let listen = wanted.listen.map_or_else(free, Ok)?;
                (configuration(wanted, listen), None)
            }
            Some(text) => {
                let old = config::load_text(&text, &file, path)?;
                is_of(&old, &wanted.server, &file)?;
                (refreshed(&text, wanted), Some(old))
            }
        };
        let config = config::load_text(&text, &file, path)?;
        let changes = old.map_or_else(Vec::new, |old| changes(&old, &config, &wanted.server));
        let folder = Self {
            path: path.to_owned(),
            text,
            config,
            changes,
        };
        folder.holds(wanted)?;
        Ok(folder)
    }

    /// The configuration's file.
    pub(super) fn file(&self) -> PathBuf {
        self.path.join("cloakroom.toml")
    }

    /// Writes the configuration, and a keyring if there is none; whether it made one.
    pub(super) fn write(&self) -> Result<bool, Failure> {
        let file = self.file();
        private::write_file(&file, &self.text)
            .map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        let keyring = self.path.join(DEFAULT_KEYRING_FILE);
        if keyring.exists() {
            return Ok(false);
        }
        open::new_keyring(&keyring)?;
        Ok(true)
    }

    /// A reader who took the mark off a line keeps it, and must hear that it says something else.
    fn holds(&self, wanted: &Wanted) -> Result<(), Failure> {
        let (command, secrets) = told(&self.config, &wanted.server).unwrap_or_default();
        let has_listen = wanted
            .listen
            .is_none_or(|listen| self.config.listen == Listen::Tcp(listen));
        let lacks = wanted
            .secrets
            .iter()
            .find(|name| !secrets.contains(name.as_str()));
        let what = if command != wanted.command {
            "another command".to_owned()
        } else if !has_listen {
            format!("listen = \"{}\"", self.config.listen)
        } else if let Some(name) = lacks {
            format!("no {name} in [servers.{}.env]", wanted.server)
        } else {
            return Ok(());
        };
        Err(Failure::new(format!(
            "{} has {what}, on a line that is not marked `{OURS}`: change it there, or name another folder \
             with --dir",
            self.file().display()
        )))
    }
}

/// Whether nothing is there that somebody could miss.
fn is_free(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .all(|name| name.is_ok_and(|name| LEFT.iter().any(|left| name == *left))),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn taken(path: &Path) -> Failure {
    Failure::new(format!(
        "{} is there and was not made by `cloakroom run`: name another folder with --dir",
        path.display()
    ))
}

/// A server's command, and the variables it gets.
fn told(config: &Config, server: &ServerName) -> Option<(Vec<String>, BTreeSet<String>)> {
    let server = config.servers.get(server)?;
    let Backend::Command(command) = &server.backend else {
        return None;
    };
    let variables = server.slots.iter().filter_map(|slot| match slot.place {
        Place::Variable(name) => Some(name),
        _ => None,
    });
    Some((command.command.clone(), variables.collect()))
}

/// What is different from last time.
fn changes(old: &Config, new: &Config, server: &ServerName) -> Vec<String> {
    let (before, had) = told(old, server).unwrap_or_default();
    let (now, has) = told(new, server).unwrap_or_default();
    let mut changes = Vec::new();
    if before != now {
        let (before, now) = (before.join(" "), now.join(" "));
        changes.push(format!(
            "the command of {server} was: {before}; it is now: {now}"
        ));
    }
    if old.listen != new.listen {
        changes.push(format!(
            "it listened on {}, and does now on {}",
            old.listen, new.listen
        ));
    }
    for name in has.difference(&had) {
        changes.push(format!(
            "{server} gets {name} now: every user has to set it"
        ));
    }
    for name in had.difference(&has) {
        changes.push(format!(
            "{server} no longer gets {name}; what users set for it is kept"
        ));
    }
    changes
}

/// A folder of another server is refused: its users and their keys are for that one.
fn is_of(config: &Config, server: &ServerName, file: &Path) -> Result<(), Failure> {
    if told(config, server).is_some() {
        return Ok(());
    }
    let others: Vec<_> = config.servers.keys().map(ServerName::as_str).collect();
    Err(Failure::new(format!(
        "{} is of {}, not of {server}: name another folder with --dir, or start this command as that server \
         with --name",
        file.display(),
        others.join(", ")
    )))
}

fn listen_line(listen: SocketAddr) -> String {
    format!("listen = \"{listen}\" {OURS}")
}

fn command_line(command: &[String]) -> String {
    let words: Vec<_> = command.iter().map(|word| basic_string(word)).collect();
    format!("command = [{}] {OURS}", words.join(", "))
}

fn variable_lines(secrets: &BTreeSet<SecretName>) -> String {
    let mut lines = String::new();
    for name in secrets {
        let _ = writeln!(lines, "{name} = \"${{{name}}}\" {OURS}");
    }
    lines
}

fn configuration(wanted: &Wanted, listen: SocketAddr) -> String {
    let server = &wanted.server;
    let (listen, command) = (listen_line(listen), command_line(&wanted.command));
    let variables = variable_lines(&wanted.secrets);
    format!(
        "{FIRST_LINE}
# Every setting and its default: config/default.toml of the source. Relative paths start here. The next run
# keeps what you change, but for lines that end in `{OURS}`.

# Where clients connect. On loopback, only from this machine.
{listen}
default_server = \"{server}\"

[store]
# Users, keys and sealed secrets. The commands and a running proxy share the file safely.
url = \"sqlite:cloakroom.db\"

[keyring]
# What seals and opens everything in the store: keep a copy, apart from the store's.
file = \"{DEFAULT_KEYRING_FILE}\"

# One process for each user. Clients call http://…/{server}/mcp, or /mcp.
[servers.{server}]
{command}

# Each process has the secrets of its user in these variables.
[servers.{server}.env]
{variables}"
    )
}

/// The configuration with what is asked for now; whatever its reader changed stays.
fn refreshed(text: &str, wanted: &Wanted) -> String {
    let (table, header) = (
        format!("[servers.{}]", wanted.server),
        format!("[servers.{}.env]", wanted.server),
    );
    let mut within = String::new();
    let mut out = String::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with('[') && !trimmed.starts_with("[[") {
            within = trimmed
                .split('#')
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned();
        }
        let ours = trimmed.ends_with(OURS);
        let key = trimmed.split(['=', ' ']).next();
        let written = match key {
            Some("listen") if ours && within.is_empty() => wanted.listen.map(listen_line),
            Some("command") if ours && within == table => Some(command_line(&wanted.command)),
            _ if ours && within == header => continue,
            _ => None,
        };
        let _ = writeln!(out, "{}", written.as_deref().unwrap_or(line));
        if trimmed.starts_with('[') && within == header {
            out.push_str(&variable_lines(&unset(text, &header, &wanted.secrets)));
        }
    }
    out
}

/// The secrets that no line of the reader's own in the table sets.
fn unset(text: &str, header: &str, secrets: &BTreeSet<SecretName>) -> BTreeSet<SecretName> {
    let of_table = text
        .lines()
        .map(str::trim)
        .skip_while(|line| !line.starts_with(header))
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.ends_with(OURS));
    let theirs: BTreeSet<_> = of_table
        .filter_map(|line| line.split(['=', ' ']).next())
        .collect();
    secrets
        .iter()
        .filter(|name| !theirs.contains(name.as_str()))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(command: &str, secrets: &[&str]) -> Wanted {
        Wanted {
            server: ServerName::parse("github").unwrap(),
            command: command.split(' ').map(str::to_owned).collect(),
            secrets: secrets
                .iter()
                .map(|name| SecretName::parse(name).unwrap())
                .collect(),
            listen: None,
        }
    }

    fn prepare(path: &Path, wanted: &Wanted) -> Result<Folder, Failure> {
        let folder = Folder::prepare(path, wanted, || Ok(([127, 0, 0, 1], 8099).into()))?;
        folder.write()?;
        Ok(folder)
    }

    #[test]
    fn the_configuration_follows_what_is_asked_for_and_keeps_the_rest() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run");
        let first = prepare(&path, &wanted("npx -y a\"b", &["A", "B"])).unwrap();
        assert!(first.changes.is_empty() && first.config.warnings.is_empty());
        assert_eq!(
            first.config.folder.join("cloakroom-data"),
            first.config.data_dir.path()
        );
        let text = fs::read_to_string(first.file()).unwrap();
        let text =
            text.replace(
                "[servers.github]\n",
                "[servers.github] # mine\nsleep = \"never\"\n",
            )
            .replace(
                "\nA = \"${A}\" # as `cloakroom run` was told",
                "\nA = \"${A}\" # mine",
            ) + "SITE = \"https://example.org\"\n[limits]\nuser_requests = 7\n";
        fs::write(first.file(), text).unwrap();

        let next = prepare(&path, &wanted("npx -y a@2", &["A", "C"])).unwrap();
        let (command, variables) = told(&next.config, &wanted("x", &[]).server).unwrap();
        assert_eq!(command, ["npx", "-y", "a@2"]);
        assert_eq!(variables.iter().collect::<Vec<_>>(), ["A", "C", "SITE"]);
        let said = next.changes.join("\n");
        for part in [
            "was: npx -y a\"b; it is now: npx -y a@2",
            "gets C now",
            "no longer gets B",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(
            (next.changes.len(), next.config.limits.user_requests),
            (3, 7)
        );
        assert_eq!(next.config.listen.to_string(), "127.0.0.1:8099");
        let text = fs::read_to_string(next.file()).unwrap();
        assert!(
            text.contains("sleep = \"never\"") && text.contains("# mine"),
            "{text}"
        );
        // Told the same again, nothing is different.
        let again = prepare(&path, &wanted("npx -y a@2", &["A", "C"])).unwrap();
        assert_eq!(fs::read_to_string(again.file()).unwrap(), text);
        assert!(again.changes.is_empty(), "{:?}", again.changes);
    }

    #[test]
    fn what_the_reader_took_over_is_not_written_to() {
        let root = tempfile::tempdir().unwrap();
        let first = prepare(root.path(), &wanted("a", &[])).unwrap();
        let text = fs::read_to_string(first.file()).unwrap();
        let text = text.replace(OURS, "").replace("[servers.github.env]\n", "");
        fs::write(first.file(), &text).unwrap();
        assert!(prepare(root.path(), &wanted("a", &[])).is_ok());
        let listen = Wanted {
            listen: Some(([127, 0, 0, 1], 1).into()),
            ..wanted("a", &[])
        };
        for wanted in [wanted("b", &[]), wanted("a", &["X"]), listen] {
            let error = prepare(root.path(), &wanted).err().unwrap();
            assert!(error.to_string().contains("--dir"), "{error}");
            assert_eq!(fs::read_to_string(first.file()).unwrap(), text);
        }
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run");
        prepare(&path, &wanted("a", &[])).unwrap();
        let jira = Wanted {
            server: ServerName::parse("jira").unwrap(),
            ..wanted("a", &[])
        };
        let error = prepare(&path, &jira).err().unwrap().to_string();
        assert!(error.contains("is of github, not of jira"), "{error}");
        fs::write(root.path().join("thesis.tex"), "").unwrap();
        let error = prepare(root.path(), &jira).err().unwrap().to_string();
        assert!(error.contains("--dir"), "{error}");
        assert!(!root.path().join("cloakroom.toml").exists());
        // What an installation that failed left is no hindrance.
        let left = root.path().join("left");
        fs::create_dir_all(left.join("cloakroom-data")).unwrap();
        assert!(prepare(&left, &jira).is_ok());
    }
}
