//! Whether children can be started: the programs, what keeps them in, and where they keep what is theirs.

use std::path::Path;

use rustix::fs::{Access, access};

use super::finding::Finding;
use crate::cli::containment::containment;
use crate::cli::open::Source;
use crate::cli::shell::full;
use crate::config::{Backend, Command, Config, Sandbox};
use crate::launch::{landlock_available, landlock_gaps, startable};
use crate::packages::package_of;
use crate::sys;

/// Starts and makes nothing.
pub(super) fn findings(config: &Config, from: &Source) -> Vec<Finding> {
    let commands = config.servers.iter().filter_map(|(name, server)| {
        let what = format!("servers.{name}");
        match &server.backend {
            Backend::Command(command) => Some((what, command)),
            Backend::Http { .. } => None,
        }
    });
    let commands: Vec<_> = commands.collect();
    if commands.is_empty() {
        return Vec::new();
    }
    let mut findings = vec![data_dir(config.data_dir.path())];
    findings.extend(sandbox(
        commands.iter().map(|(_, command)| *command),
        landlock_available(),
    ));
    for (what, command) in commands {
        findings.push(program(&what, config, from, command));
        if command.sandbox == Sandbox::None {
            let says = "its children are not contained: sandbox = \"none\"";
            findings.push(Finding::warning(&what, says));
        }
        if let Some(uid) = command.uid.filter(|_| sys::user() != 0) {
            let says = format!(
                "its children cannot run as uid {uid}: only root starts processes of others; start \
                 Cloakroom as root, or remove `uid`"
            );
            findings.push(Finding::error(&what, says));
        }
    }
    findings
}

/// Whether the kernel has what children are contained by.
fn sandbox<'c>(commands: impl Iterator<Item = &'c Command>, abi: Option<u32>) -> Option<Finding> {
    let contained: Vec<_> = commands
        .filter(|c| c.sandbox == Sandbox::Landlock)
        .collect();
    if contained.is_empty() {
        return None;
    }
    let Some(abi) = abi else {
        let says = "this system has no Landlock (Linux 5.13 and later, unless it was left out), which keeps \
                    children apart; write sandbox = \"none\" to run them without";
        return Some(Finding::error("sandbox", says));
    };
    let ours = contained.iter().any(|command| command.uid.is_none());
    Some(match landlock_gaps(abi).filter(|_| ours) {
        Some(gaps) => Finding::warning("sandbox", gaps),
        None => Finding::well("sandbox", "Landlock is there"),
    })
}

/// Whether its program can be run, and not read what no child may.
fn program(what: &str, config: &Config, from: &Source, command: &Command) -> Finding {
    match package_of(&command.command) {
        Err(why) => return Finding::error(what, why),
        Ok(Some(package)) => {
            let says =
                format!("starts the package {package}, which `serve` installs when it has not yet");
            return Finding::well(what, says);
        }
        Ok(None) => {}
    }
    match startable(
        &command.command,
        &containment(config, Some(from), command, Vec::new()),
    ) {
        Ok(()) => Finding::well(what, format!("{} can be started", command.command[0])),
        Err(why) => Finding::error(what, why),
    }
}

/// Whether it is there and ours to write to, or could be made.
fn data_dir(path: &Path) -> Finding {
    const WHAT: &str = "data_dir";
    let full = full(path);
    // The last one is `/`.
    let there = full
        .ancestors()
        .find(|folder| folder.symlink_metadata().is_ok());
    let there = there.unwrap_or(&full);
    let (shown, above) = (full.display(), there.display());
    if !there.is_dir() {
        let says = format!("{shown} cannot be made: {above} is no folder; write another path");
        return Finding::error(WHAT, says);
    }
    match access(there, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) if there == full => Finding::well(WHAT, format!("{shown} is there")),
        Ok(()) => Finding::well(WHAT, format!("{shown} can be made")),
        Err(why) => {
            let says = format!(
                "{shown} cannot be written to ({above}: {why}): make it and give it to the user Cloakroom \
                 runs as, or write another path"
            );
            Finding::error(WHAT, says)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    fn command(sandbox: Sandbox, uid: Option<u32>) -> Command {
        let text = "[servers.a]\ncommand = ['sh']\n";
        let variables = [("CLOAKROOM_CONFIG_TOML".into(), text.into())];
        let config = crate::config::load(None, variables).ok().unwrap();
        match config.servers.into_values().next().unwrap().backend {
            Backend::Command(command) => Command {
                sandbox,
                uid,
                ..command
            },
            Backend::Http { .. } => panic!("a URL"),
        }
    }

    // Fails when a kernel without Landlock is taken for one that has it, or an old one for a new one.
    #[test]
    fn what_the_kernel_cannot_do_is_told() {
        let state = |sandbox_of, uid, abi| {
            let command = command(sandbox_of, uid);
            sandbox([&command].into_iter(), abi).map(|finding| finding.state)
        };
        assert!(state(Sandbox::Landlock, None, None) == Some(State::Error));
        assert!(state(Sandbox::Landlock, None, Some(2)) == Some(State::Warning));
        assert!(state(Sandbox::Landlock, Some(1003), Some(2)) == Some(State::Well));
        assert!(state(Sandbox::Landlock, None, Some(6)) == Some(State::Well));
        assert!(state(Sandbox::None, None, None).is_none());
    }
}
