//! The commands, through the real binary on SQLite in a folder of their own.

mod acts;
mod admin;
mod check;
mod explain;
mod export;
mod import;
mod init;
mod keyring;
mod keyring_sources;
mod keys;
mod secrets;
mod serve;
mod store;
mod usage;
mod users;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

// Without a trail: these tests count the records in the store, where each command that writes one leaves an anchor.
const CONFIG: &str = r#"
[audit]
file = ""
[servers.github]
url = "http://127.0.0.1:9/mcp"
[servers.github.headers]
Authorization = "Bearer ${GITHUB_TOKEN}"
[servers.jira]
url = "http://127.0.0.1:9/mcp"
[servers.jira.headers]
Authorization = "Basic ${base64(JIRA_USER:JIRA_PASSWORD)}"
[servers.plain]
url = "http://127.0.0.1:9/mcp"
"#;

/// An installation in a folder of its own.
struct House {
    folder: tempfile::TempDir,
}

/// What a command left behind.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl House {
    /// Only a configuration.
    fn bare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cloakroom.toml"), CONFIG).unwrap();
        Self { folder }
    }

    /// With a keyring.
    fn new() -> Self {
        let house = Self::bare();
        house.ok("keyring init", "");
        house
    }

    /// With a keyring and alice.
    fn with_alice() -> Self {
        let house = Self::new();
        house.ok("user add alice", "");
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `line`, split at spaces, with `input` on standard input.
    fn run(&self, line: &str, input: impl AsRef<[u8]>) -> Done {
        run_in(self.folder.path(), line.split_whitespace(), input.as_ref())
    }

    #[track_caller]
    fn ok(&self, line: &str, input: impl AsRef<[u8]>) -> Done {
        let done = self.run(line, input);
        assert_eq!(done.code, 0, "{line}: {}", done.err);
        done
    }

    /// The document of `line --json`, which is all of its standard output.
    #[track_caller]
    fn json(&self, line: &str, input: impl AsRef<[u8]>) -> Value {
        self.ok(&format!("{line} --json"), input).document()
    }

    /// Runs what must fail with `code`, saying all of `says` and nothing on standard output.
    #[track_caller]
    fn fails(&self, line: &str, input: impl AsRef<[u8]>, code: i32, says: &[&str]) -> String {
        let done = self.run(line, input);
        assert_eq!(done.code, code, "{line}: {}", done.err);
        assert_eq!(done.out, "", "{line}");
        for part in says {
            assert!(
                done.err.contains(part),
                "{line}: no {part:?} in {}",
                done.err
            );
        }
        done.err
    }
}

impl Done {
    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        assert!(self.out.ends_with("}\n"), "{}", self.out);
        serde_json::from_str(&self.out).expect("standard output is exactly one document")
    }
}

pub(crate) fn run_in<S: AsRef<OsStr>>(
    folder: &Path,
    args: impl IntoIterator<Item = S>,
    input: &[u8],
) -> Done {
    let mut child = cloakroom()
        .current_dir(folder)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may be gone before it is written to.
    let _ = child.stdin.take().unwrap().write_all(input);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    Done {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// The binary, without variables of whoever runs the tests.
pub(crate) fn cloakroom() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloakroom"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CLOAKROOM_") {
            command.env_remove(name);
        }
    }
    command
}
