//! `keyring …`

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::args::KeyringCommand;
use super::open::{self, Source};
use super::secret::unknown_server;
use super::{Failure, Output, keyring_source, retire, rotate};
use crate::config::DEFAULT_KEYRING_FILE;
use crate::names::ServerName;

pub(super) async fn run(
    command: &KeyringCommand,
    from: &Source,
    out: &Output,
) -> Result<(), Failure> {
    match command {
        KeyringCommand::Init => init(&file(from)?, out),
        KeyringCommand::Export { server } => export(server, from, out),
        KeyringCommand::Rotate { kind } => rotate::run(*kind, from, out).await,
        KeyringCommand::Retire { key } => retire::run(key.as_deref(), from, out).await,
    }
}

/// Where the keyring belongs. Before there is a configuration, where its default says.
fn file(from: &Source) -> Result<PathBuf, Failure> {
    match from.path() {
        Some(path) if !path.exists() => {
            let named = std::env::var_os("CLOAKROOM_KEYRING__FILE");
            let file = named.map_or(PathBuf::from(DEFAULT_KEYRING_FILE), PathBuf::from);
            Ok(path.parent().unwrap_or(Path::new("")).join(file))
        }
        _ => Ok(keyring_source::file(&from.load()?.keyring)?.to_owned()),
    }
}

fn init(file: &Path, out: &Output) -> Result<(), Failure> {
    let ring = open::new_keyring(file)?;
    out.note("keep a copy apart from the store's: without this file nothing in the store opens");
    let document = json!({ "file": file, "realm": ring.realm() });
    out.answer(&document, &format!("made {}\n", file.display()))
}

/// What `keyring export --json` prints; only by reference, since it holds keys.
#[derive(Serialize)]
struct Export<'a> {
    server: &'a str,
    keyring: &'a str,
}

fn export(server: &ServerName, from: &Source, out: &Output) -> Result<(), Failure> {
    let config = from.load()?;
    let ring = open::keyring(&config.keyring)?;
    let text = ring.export(server)?;
    if !config.servers.contains_key(server) {
        out.note(&unknown_server(&config, server));
    }
    if io::stdout().is_terminal() {
        out.note(
            "these are secret keys: better send them to a file, as in `(umask 077; … > FILE)`",
        );
    }
    out.answer(
        &Export {
            server: server.as_str(),
            keyring: &text,
        },
        &text,
    )
}
