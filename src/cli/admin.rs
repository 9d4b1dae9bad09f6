//! `admin …`

use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::acts::Record;
use super::args::ttl;
use super::open::{self, Source};
use super::output::{date, row, table};
use super::{Failure, Output, settle};
use crate::audit::Deed;
use crate::identity::KeyId;
use crate::names::UserName;
use crate::vault::{AdminKeyInfo, IssuedAdminKey, Role, Vault};

/// `admin …`.
#[derive(Subcommand)]
pub enum AdminCommand {
    /// The keys by which administrators use the admin API
    Key {
        /// What about them.
        #[command(subcommand)]
        command: AdminKeyCommand,
    },
}

/// `admin key …`.
#[derive(Subcommand)]
pub enum AdminKeyCommand {
    /// Make a key; it is shown this once
    Issue {
        /// Who will hold it; one who is called as a user may issue keys for that user
        name: UserName,
        /// What its holder may do: reader looks, admin changes, owner also acts as others
        #[arg(long, default_value = "admin")]
        role: Role,
        /// How long it lives, such as 90d or 12h [default: until revoked]
        #[arg(long, value_parser = ttl)]
        ttl: Option<Duration>,
    },
    /// List all keys of administrators
    List,
    /// Revoke a key for good
    Revoke {
        /// The key's id
        // Not parsed here: a complaint would repeat it, and some will give the key itself.
        id: String,
    },
}

pub(super) async fn run(
    command: &AdminCommand,
    from: &Source,
    record: &mut Record<'_>,
    out: &Output,
) -> Result<(), Failure> {
    let AdminCommand::Key { command } = command;
    match command {
        AdminKeyCommand::Issue { name, role, ttl } => {
            let config = from.load()?;
            let deed = Deed::admin_key_issue(name, *role, *ttl);
            record.begin(deed).await?;
            let vault = open::vault(&config).await?;
            let issued = vault.issue_admin_key(name, *role, *ttl).await?;
            record.learn_key(&issued.id);
            show_once(&issued, name, *role, out)
        }
        AdminKeyCommand::List => list(&open::vault(&from.load()?).await?, out).await,
        AdminKeyCommand::Revoke { id } => {
            let id = KeyId::parse(id).ok_or_else(|| {
                Failure::usage(
                    "that is not the id of a key: give the 16 hexadecimal digits that `cloakroom admin key \
                     list` shows",
                )
            })?;
            let vault = open::vault(&from.load()?).await?;
            let revoked = vault.revoke_admin_key(&id).await?;
            let mut document = document(&revoked);
            document["on_all_copies"] = settle(&vault, out).await?.into();
            out.answer(&document, &format!("revoked {}\n", revoked.id))
        }
    }
}

/// What `admin key issue --json` prints.
#[derive(Serialize)]
struct Issued<'a> {
    key: &'a str,
    id: &'a str,
    role: &'a str,
    expires: Option<String>,
}

fn show_once(
    issued: &IssuedAdminKey,
    name: &UserName,
    role: Role,
    out: &Output,
) -> Result<(), Failure> {
    let key = issued.key.reveal();
    let expires = issued.expires.map(date);
    // The key alone on its line of standard output, so that it can be piped on.
    let mut text = Zeroizing::new(String::with_capacity(key.len() + 1));
    text.push_str(key);
    text.push('\n');
    if !out.json() {
        let until = expires
            .as_ref()
            .map_or("never expires".to_owned(), |at| format!("expires {at}"));
        let (id, role) = (&issued.id, role.as_str());
        out.note(&format!(
            "the key of {name} ({role}), shown this once; id {id}, {until}"
        ));
    }
    let document = Issued {
        key,
        id: issued.id.as_str(),
        role: role.as_str(),
        expires,
    };
    out.answer(&document, &text).map_err(|failure| {
        Failure::new(format!(
            "the key was made and could not be shown ({failure}): cloakroom admin key revoke {}",
            issued.id
        ))
    })
}

async fn list(vault: &Vault, out: &Output) -> Result<(), Failure> {
    let keys = vault.admin_keys(None, usize::MAX).await?;
    let mut rows = vec![row(["ID", "STATUS", "ROLE", "CREATED", "EXPIRES", "NAME"])];
    rows.extend(keys.iter().map(|key| {
        let record = &key.record;
        row([
            key.id.as_str(),
            key.status(),
            record.role.as_str(),
            &date(record.created),
            &record.expires.map_or("never".to_owned(), date),
            &record.name,
        ])
    }));
    let document = json!({ "keys": keys.iter().map(document).collect::<Vec<_>>() });
    out.answer(&document, &table(&rows))
}

fn document(key: &AdminKeyInfo) -> Value {
    json!({
        "id": key.id.as_str(),
        "status": key.status(),
        "name": key.record.name,
        "role": key.record.role.as_str(),
        "created": date(key.record.created),
        "expires": key.record.expires.map(date),
        "revoked": key.record.revoked.map(date),
    })
}
