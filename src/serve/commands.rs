//! Servers that run as children, as a configuration has them.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use super::control::Control;
use super::house::House;
use super::{StartError, leftovers};
use crate::cli::containment::containment;
use crate::cli::open::Source;
use crate::cli::shell::full;
use crate::config::{self, Backend, Command, Config, Server};
use crate::launch::{Launcher, landlock_available, readable};
use crate::names::ServerName;
use crate::packages::Packages;
use crate::stdio::{Children, Limits, Served, Settings};

impl House {
    /// The servers of `config` that run as children; none if there never was one.
    ///
    /// # Errors
    /// One that cannot be run as configured.
    pub(super) async fn commands(
        &self,
        config: &Config,
        source: Option<&Source>,
    ) -> Result<Option<Served>, StartError> {
        let commands = config
            .servers
            .iter()
            .filter_map(|(name, server)| match &server.backend {
                Backend::Command(command) => Some((name, server, command)),
                Backend::Http { .. } => None,
            });
        let mut servers = BTreeMap::new();
        for (name, server, command) in commands {
            make(config.data_dir.path()).map_err(StartError::DataDir)?;
            let settings = settings(config, source, name, server, command).await?;
            servers.insert(name.clone(), Arc::new(settings));
        }
        if servers.is_empty() && self.children.get().is_none() {
            return Ok(None);
        }
        let children = self.children(config)?;
        let names: Vec<_> = servers.keys().cloned().collect();
        children.keep_only(&names);
        Ok(Some(Served {
            children: children.clone(),
            servers: Arc::new(servers),
        }))
    }

    fn children(&self, config: &Config) -> Result<&Children, StartError> {
        let limits = Limits {
            children: config.limits.children,
            user_children: config.limits.user_children,
            sessions: config.limits.child_sessions,
        };
        if let Some(children) = self.children.get() {
            children.set_limits(limits);
            return Ok(children);
        }
        let children = Children::new(Launcher::start()?, limits);
        let folder = config.data_dir.clone();
        match Control::open(&folder, &children) {
            Ok(control) => {
                let _ = self.control.set(control);
            }
            Err(error) => tracing::warn!(%error, "`cloakroom ps` will not find this process"),
        }
        let store = self.store.clone();
        let folders = full(&config.data_dir.children(&config.store.settings));
        tokio::spawn(leftovers::keep_clean(folders, children.clone(), store));
        Ok(self.children.get_or_init(|| children))
    }
}

async fn settings(
    config: &Config,
    source: Option<&Source>,
    name: &ServerName,
    server: &Server,
    command: &Command,
) -> Result<Settings, StartError> {
    match command.sandbox {
        config::Sandbox::Landlock if landlock_available().is_none() => {
            return Err(StartError::NoLandlock(name.clone()));
        }
        config::Sandbox::Landlock => {}
        config::Sandbox::None => {
            tracing::warn!(server = %name, "its children are not contained: sandbox = \"none\"");
        }
    }
    let packages = Packages::at(&full(&config.data_dir.packages()), std::env::vars_os());
    let progress = |says: &str| tracing::info!(server = %name, "{says}");
    let resolved = packages.resolve(&command.command, progress).await;
    let resolved = resolved.map_err(|error| StartError::Package(name.clone(), error))?;
    let mut packaged = Vec::new();
    let command_line = match resolved {
        None => command.command.clone(),
        Some(resolved) => {
            tracing::info!(server = %name, package = resolved.package, version = resolved.version, "runs a package");
            packaged.extend([resolved.folder, resolved.runtime]);
            resolved.command
        }
    };
    let containment = containment(config, source, command, packaged);
    if command.sandbox == config::Sandbox::Landlock {
        // Better now than at the first request.
        let readable = readable(&command_line, &containment);
        readable.map_err(|error| StartError::Command(name.clone(), error))?;
    }
    Ok(Settings {
        server: name.clone(),
        command: command_line,
        containment: Arc::new(containment),
        folder: full(&config.data_dir.children(&config.store.settings)),
        sleep: command.sleep,
        start_timeout: command.start_timeout,
        answer_timeout: server.answer_timeout,
        prewarm: command.prewarm,
        message_max: config.limits.child_message,
    })
}

/// Makes `data_dir`. Children that run as other users reach their folders through it, and see no names.
fn make(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(folder)
}
