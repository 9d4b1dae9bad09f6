//! Runs npm, uv, pip: without a shell, with an environment of their own, for a bounded time.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::PackageError;

/// Variables a tool may see: where it finds itself, its own settings, and the way to its registry.
const NAMES: [&str; 15] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
/// And whatever begins like this.
const PREFIXES: [&str; 4] = ["npm_config_", "NPM_CONFIG_", "UV_", "PIP_"];
/// Where programs are when `PATH` does not say.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// How much of what a tool says is kept, from its end.
const SAID_MAX: usize = 16 * 1024;

/// The programs of this machine, as a given environment shows them.
pub(super) struct Tools {
    folders: Vec<PathBuf>,
    environment: Vec<(OsString, OsString)>,
}

/// What a tool that ended left.
pub(super) struct Done {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    /// The end of it.
    pub(super) stderr: String,
}

impl Tools {
    /// `first`: a folder to look into before `PATH`.
    pub(super) fn new(environment: &[(OsString, OsString)], first: Option<&Path>) -> Self {
        let path = environment.iter().find(|(name, _)| name == "PATH");
        let path = path.map_or(OsStr::new(PATH), |(_, path)| path.as_os_str());
        let folders: Vec<_> = first
            .map(Path::to_owned)
            .into_iter()
            .chain(std::env::split_paths(path))
            // A relative one would find what lies where Cloakroom was started.
            .filter(|folder| folder.is_absolute())
            .collect();
        let mut passed: Vec<_> = environment
            .iter()
            .filter(|(name, _)| name.to_str().is_some_and(is_passed))
            .cloned()
            .collect();
        // None of the folders has a `:` in it: each comes from a split at one, or is the operator's.
        if let Ok(path) = std::env::join_paths(&folders) {
            passed.push(("PATH".into(), path));
        }
        Self {
            folders,
            environment: passed,
        }
    }

    /// The file `program` is, if there is one that can be run.
    pub(super) fn find(&self, program: &str) -> Option<PathBuf> {
        self.folders
            .iter()
            .map(|folder| folder.join(program))
            .find(|file| {
                std::fs::metadata(file)
                    .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
            })
    }

    /// The file `program` is.
    ///
    /// # Errors
    /// When there is none; says that `wants` is to be done.
    pub(super) fn need(&self, program: &str, wants: &'static str) -> Result<PathBuf, PackageError> {
        self.find(program).ok_or_else(|| PackageError::Missing {
            program: program.to_owned(),
            wants,
        })
    }

    /// Whether the operator set `name`.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.environment.iter().any(|(set, _)| set == name)
    }

    /// `program`, to be given its arguments.
    pub(super) fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(folder)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }
}

fn is_passed(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A command line for the record.
pub(super) fn shown(command: &Command) -> Vec<String> {
    let command = command.as_std();
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// Runs `command` to its end, or for `time`. `None`: it was stopped, with all it had started.
pub(super) async fn run(
    mut command: Command,
    time: Duration,
) -> Result<Option<Done>, PackageError> {
    let program = PathBuf::from(command.as_std().get_program());
    let child = command.spawn().map_err(PackageError::system(&program))?;
    let mut group = Group(child);
    let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
    let ended = async {
        let (stdout, stderr) = tokio::join!(end_of(stdout), end_of(stderr));
        group.0.wait().await.map(|status| Done {
            status,
            stdout,
            stderr,
        })
    };
    match tokio::time::timeout(time, ended).await {
        Ok(done) => Ok(Some(done.map_err(PackageError::system(program))?)),
        Err(_) => Ok(None),
    }
}

/// A child and all of its process group, which end with it when nobody waits any more.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Gone once it was waited for: its number may be another's then.
        let id = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(id) = id {
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

/// Reads all, keeps the end.
async fn end_of(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else {
        return String::new();
    };
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        if kept.len() > 2 * SAID_MAX {
            kept.drain(..kept.len() - SAID_MAX);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(n, v)| (n.into(), v.into())).collect()
    }

    fn sh(tools: &Tools, script: &str) -> Command {
        let mut command = tools.command(Path::new("/bin/sh"), Path::new("/"));
        command.args(["-c", script]);
        command
    }

    // Mutation: leave out `env_clear`, or let `CLOAKROOM_` be a prefix.
    #[tokio::test]
    async fn a_tool_sees_its_own_settings_and_nothing_of_ours() {
        let environment = variables(&[
            ("PATH", "/usr/bin:/bin::relative"),
            ("CLOAKROOM_KEYRING", "s3cret"),
            ("MY_KEYRING", "s3cret"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret"),
            ("npm_config_registry", "http://r"),
            ("UV_INDEX_URL", "http://u"),
            ("HTTPS_PROXY", "http://p"),
        ]);
        let tools = Tools::new(&environment, Some(Path::new("/opt/node/bin")));
        let done = run(sh(&tools, "env"), Duration::from_secs(20)).await;
        let said = done.unwrap().unwrap().stdout;
        assert!(!said.contains("s3cret"), "{said}");
        for line in [
            "PATH=/opt/node/bin:/usr/bin:/bin\n",
            "npm_config_registry=http://r\n",
            "UV_INDEX_URL=http://u\n",
            "HTTPS_PROXY=http://p\n",
        ] {
            assert!(said.contains(line), "{line}: {said}");
        }
    }

    // Mutation: kill the child alone in `Group::drop`.
    #[tokio::test]
    async fn what_takes_too_long_ends_with_all_it_started() {
        let root = tempfile::tempdir().unwrap();
        let (fifo, tools) = (root.path().join("alive"), Tools::new(&[], None));
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        // The grandchild holds the pipe open for as long as it lives.
        let script = format!("(echo up; exec sleep 600) > {} & wait", fifo.display());
        let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(fifo));
        let done = run(sh(&tools, &script), Duration::from_millis(300)).await;
        assert!(done.unwrap().is_none());
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        assert_eq!(read.unwrap().unwrap().unwrap(), "up\n");
    }

    #[tokio::test]
    async fn only_the_end_of_much_output_is_kept() {
        let tools = Tools::new(&[], None);
        let script =
            "i=0; while [ $i -lt 9000 ]; do echo line $i; i=$((i+1)); done; echo last >&2; exit 3";
        let done = run(sh(&tools, script), Duration::from_secs(60))
            .await
            .unwrap()
            .unwrap();
        assert!(done.stdout.ends_with("line 8999\n") && done.stdout.len() <= 2 * SAID_MAX);
        assert_eq!((done.stderr.trim(), done.status.code()), ("last", Some(3)));
    }
}
