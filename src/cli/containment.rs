//! What keeps a server's children in, as a configuration has it: for `serve`, and for `check` to look at.

use std::path::PathBuf;

use super::open::Source;
use super::shell::full;
use crate::config::{self, Command, Config, DataDir, KeyringSource};
use crate::launch::{Containment, ProcessLimits, Sandbox};

/// What children of `command` may do; with what they may read besides what the configuration says.
#[must_use]
pub fn containment(
    config: &Config,
    source: Option<&Source>,
    command: &Command,
    packaged: Vec<PathBuf>,
) -> Containment {
    let readable = command.readable.iter().map(|path| full(path));
    Containment {
        sandbox: match command.sandbox {
            config::Sandbox::Landlock => Sandbox::Landlock,
            config::Sandbox::None => Sandbox::None,
        },
        readable: readable.chain(packaged).collect(),
        forbidden: forbidden(config, source),
        limits: ProcessLimits {
            open_files: command.open_files as u64,
            processes: command.processes.map(|processes| processes as u64),
            data: command.memory,
            ..ProcessLimits::default()
        },
        user: command.uid.map(|uid| (uid, command.gid.unwrap_or(uid))),
        path: std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned()),
    }
}

/// What no child may read: the configuration, keys and keyrings, the store, the folders of other children, and
/// how this process is asked about them.
fn forbidden(config: &Config, source: Option<&Source>) -> Vec<PathBuf> {
    let keyring = match &config.keyring {
        KeyringSource::File(path) => Some(path.as_path()),
        KeyringSource::Env(_) | KeyringSource::Credential(_) => None,
    };
    let store = &config.store.settings;
    let children = config.data_dir.all_children();
    let control = config.data_dir.control(std::process::id());
    let control_key = DataDir::control_key(&control);
    let files = [
        source.and_then(Source::path),
        keyring,
        store.url.file(),
        config.tls.as_ref().map(|files| files.key_file.as_path()),
        store.identity.as_ref().map(|own| own.key_file.as_path()),
        Some(&children),
        Some(&control),
        Some(&control_key),
    ];
    files.into_iter().flatten().map(full).collect()
}
