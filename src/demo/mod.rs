//! `cloakroom demo`: the whole product on one machine, with nothing else installed.
//!
//! A folder with a keyring, a configuration and a store; a small MCP server for one user; two users
//! with a secret and a key each; the proxy between. Everything listens on loopback only, and
//! everything secret is random, so what is pasted from a demo opens nothing else.
//!
//! 1. Reads no environment variable: a demo must never write to the store of a real installation
//!    whose variables happen to be set.
//! 2. In a folder of its own it goes on where it was: users, secrets and the configuration stay, but
//!    keys of earlier demos are revoked. Any other folder that is not empty is refused.

mod folder;
mod server;
mod text;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use zeroize::Zeroizing;

use crate::cli::{DemoArgs, Failure, Output, open};
use crate::config::Config;
use crate::identity::ApiKey;
use crate::names::{ProfileName, SecretName, ServerName, UserName};
use crate::vault::{KeyRequest, NewUser, SecretValue, Vault, VaultError};
use crate::{serve, telemetry};
use folder::Folder;

/// The server's name in the configuration.
const SERVER: &str = "demo";
/// The secret its slot uses.
const SECRET: &str = "DEMO_TOKEN";
/// Who there is.
const USERS: [&str; 2] = ["alice", "bob"];
/// What the keys of demos are called, so that the next one finds them.
const KEY_NAME: &str = "demo";

/// Makes or reuses the folder, starts everything, says what to paste, and serves until interrupted.
///
/// # Errors
/// What kept it from starting, and what to do about it.
pub fn run(args: &DemoArgs, out: &Output) -> Result<(), Failure> {
    let backend = server::start()
        .map_err(|error| Failure::new(format!("the demo's MCP server has no port: {error}")))?;
    telemetry::init("warn", telemetry::Format::Text);
    let (running, folder, guests) = start(args, backend)?;
    let shown = text::Shown {
        url: running.url(),
        folder: &folder,
        guests: &guests,
    };
    out.answer(&shown.document(), &shown.text())?;
    running.wait();
    Ok(())
}

/// Starts the proxy, once more when somebody took the port between finding and opening it.
fn start(
    args: &DemoArgs,
    backend: SocketAddr,
) -> Result<(serve::Running, Folder, Vec<Guest>), Failure> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let listen = free_address()
            .map_err(|error| Failure::new(format!("no port of 127.0.0.1 is free: {error}")))?;
        let folder = Folder::prepare(&args.dir, listen, backend)?;
        let config = open::Source::file_alone(&folder.config()).load()?;
        let guests = open::runtime()?.block_on(invite(&config))?;
        match serve::start(config, None) {
            Ok(running) => return Ok((running, folder, guests)),
            Err(_) if attempts < 5 && TcpListener::bind(listen).is_err() => {}
            Err(failure) => return Err(failure),
        }
    }
}

/// A user of the demo and the key just made for them.
struct Guest {
    name: &'static str,
    key: Zeroizing<String>,
}

/// Sees to the users, their secrets and one new key each; revokes the keys of earlier demos.
async fn invite(config: &Config) -> Result<Vec<Guest>, Failure> {
    let vault = open::vault(config).await?;
    let mut guests = Vec::new();
    for name in USERS {
        guests.push(Guest {
            name,
            key: invite_one(&vault, name).await?,
        });
    }
    Ok(guests)
}

async fn invite_one(vault: &Vault, name: &str) -> Result<Zeroizing<String>, Failure> {
    let user = UserName::parse(name).map_err(Failure::new)?;
    match vault.add_user(&user, NewUser::default()).await {
        Ok(_) => {}
        Err(VaultError::UserExists(_)) => {
            vault.set_disabled(&user, false).await?;
        }
        Err(error) => return Err(error.into()),
    }
    let server = ServerName::parse(SERVER).map_err(Failure::new)?;
    let secret = SecretName::parse(SECRET).map_err(Failure::new)?;
    let profile = ProfileName::default_profile();
    let known = vault.secrets(&user).await?;
    if !known
        .iter()
        .any(|known| known.server == SERVER && known.name == SECRET)
    {
        vault
            .set_secret(&user, &server, &profile, &secret, &random_token()?)
            .await?;
    }
    for key in vault.keys(&user).await? {
        if key.record.name.as_deref() == Some(KEY_NAME) && key.record.revoked.is_none() {
            vault.revoke_key(&key.id).await?;
        }
    }
    let request = KeyRequest {
        name: Some(KEY_NAME.to_owned()),
        ..KeyRequest::default()
    };
    let issued = vault.issue_key(&user, request).await?;
    Ok(Zeroizing::new(issued.key.reveal().to_owned()))
}

/// As random as a key, and not one.
fn random_token() -> Result<SecretValue, Failure> {
    let key = ApiKey::generate();
    let token = key.reveal().trim_start_matches("clk_");
    Ok(SecretValue::new(Zeroizing::new(token.as_bytes().to_vec()))?)
}

/// The first of ports 8080 to 8179 that is free, else any.
fn free_address() -> std::io::Result<SocketAddr> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = match (8080..8180).find_map(|port| bind(port).ok()) {
        Some(listener) => listener,
        None => bind(0)?,
    };
    listener.local_addr()
}
