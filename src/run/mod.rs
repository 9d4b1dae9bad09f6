//! `cloakroom run`: any stdio server for many users, by one command and without a configuration.
//!
//! A folder with a keyring, a store and a configuration that is written from the command line; the proxy in
//! front of the server. The folder is an installation like any other, so the other commands work in it, and
//! `cloakroom serve --config` serves it too.
//!
//! 1. No environment variable counts as configuration: a run must never write to the store of a real
//!    installation whose variables happen to be set. `HOME` and `XDG_DATA_HOME` say where the folder is.
//! 2. Users, keys and secrets stay, whatever is asked for next; what becomes different is said.

mod folder;
mod name;
mod text;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use crate::cli::{Failure, Output, RunArgs, open};
use crate::config::{Config, Listen};
use crate::names::{SecretName, ServerName};
use crate::packages::{self, Packages, Resolved};
use crate::{serve, sys, telemetry};
use folder::{Folder, Wanted};

/// Users that are counted, to say how many there are.
const COUNTED: usize = 100;

/// Makes or reuses the folder, installs what has to be, says how to add a user, and serves until interrupted.
///
/// # Errors
/// What kept it from starting, and what to do about it.
pub fn run(args: &RunArgs, out: &Output) -> Result<(), Failure> {
    sys::keep_memory_private();
    let package = packages::package_of(&args.command).map_err(Failure::usage)?;
    let server = match &args.name {
        Some(name) => name.clone(),
        None => name::guess(package.as_deref(), &args.command),
    };
    let wanted = Wanted {
        secrets: secrets(&args.env)?,
        listen: args.listen.map(local).transpose()?,
        command: args.command.clone(),
        server,
    };
    let path = match &args.dir {
        Some(dir) => dir.clone(),
        None => default_folder(&wanted.server)?,
    };
    let folder = Folder::prepare(&path, &wanted, free_address)?;
    can_listen(&folder.config)?;
    telemetry::init(&folder.config.log, serve::log_format(&folder.config));
    let resolved = open::runtime()?.block_on(resolve(args, &folder.config, out))?;
    for change in &folder.changes {
        out.note(change);
    }
    if folder.write()? {
        out.note(&format!(
            "made {}; keep a copy of the keyring in it apart from the store's: without it nothing in the \
             store opens",
            path.display()
        ));
    }
    let source = open::Source::file_alone(&folder.file());
    let config = source.load()?;
    for warning in &config.warnings {
        out.note(warning);
    }
    let secrets = names(&config, &wanted.server);
    let users = open::runtime()?.block_on(async {
        open::vault(&config)
            .await?
            .users(None, COUNTED)
            .await
            .map_err(Failure::from)
    })?;
    let running = serve::start(config, Some(source))?;
    let shown = text::Shown {
        url: running.url(),
        server: &wanted.server,
        package: resolved.as_ref(),
        secrets,
        config: &folder.file(),
        users: users.len(),
    };
    out.answer(&shown.document(), &shown.text())?;
    running.wait();
    Ok(())
}

/// The names given by `--env`. What is given is not repeated: many will write `NAME=VALUE`.
fn secrets(given: &[OsString]) -> Result<BTreeSet<SecretName>, Failure> {
    let parsed = given.iter().map(|name| {
        let name = name.to_str().and_then(|name| SecretName::parse(name).ok());
        name.ok_or_else(|| {
            Failure::usage(
                "--env takes only the name of a variable, such as --env GITHUB_TOKEN: each user sets a value of \
                 their own, by cloakroom secret set, and what stands on a command line is read by others",
            )
        })
    });
    parsed.collect()
}

/// The secrets every user has to set, those of the reader's own slots too.
fn names(config: &Config, server: &ServerName) -> Vec<String> {
    let server = config.servers.get(server);
    let names = server
        .into_iter()
        .flat_map(|server| server.slots.secret_names());
    names.map(ToString::to_string).collect()
}

/// Whoever lets other machines in has more to say than fits here.
fn local(listen: SocketAddr) -> Result<SocketAddr, Failure> {
    if listen.ip().is_loopback() {
        return Ok(listen);
    }
    Err(Failure::usage(
        "--listen takes an address of this machine alone, such as 127.0.0.1:8080; to let others in, run it \
         once so, and then set listen, allowed_hosts and [tls] in its cloakroom.toml, without the mark at the \
         end of the line",
    ))
}

/// `$XDG_DATA_HOME/cloakroom/run/NAME` (XDG Base Directory Specification 0.8).
fn default_folder(server: &ServerName) -> Result<PathBuf, Failure> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data = absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .ok_or_else(|| {
            Failure::usage("neither HOME nor XDG_DATA_HOME is set: name a folder with --dir")
        })?;
    Ok(data.join("cloakroom/run").join(server.as_str()))
}

/// The first of ports 8080 to 8179 that is free, else any.
fn free_address() -> Result<SocketAddr, Failure> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let found = (8080..8180).find_map(|port| bind(port).ok());
    found
        .map_or_else(|| bind(0), Ok)
        .and_then(|listener| listener.local_addr())
        .map_err(|error| Failure::new(format!("no port of 127.0.0.1 is free: {error}")))
}

/// Before anything is written, which a run that goes on already would take for its own.
fn can_listen(config: &Config) -> Result<(), Failure> {
    let Listen::Tcp(address) = &config.listen else {
        return Ok(());
    };
    TcpListener::bind(address).map(drop).map_err(|error| {
        Failure::new(format!(
            "{address}: {error}; another run of this server goes on already, or name another address with \
             --listen"
        ))
    })
}

/// Installs what the command starts, if that is a package's program.
async fn resolve(
    args: &RunArgs,
    config: &Config,
    out: &Output,
) -> Result<Option<Resolved>, Failure> {
    let packages = Packages::at(&config.data_dir.packages(), std::env::vars_os());
    let packages = match args.refresh {
        true => packages.refreshed(),
        false => packages,
    };
    // What is being installed ends with it.
    tokio::select! {
        resolved = packages.resolve(&args.command, |step| out.note(step)) => Ok(resolved.map_err(Failure::new)?),
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted; nothing was left half done")),
    }
}
