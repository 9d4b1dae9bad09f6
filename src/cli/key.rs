//! `key …`

use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::acts::Record;
use super::args::KeyCommand;
use super::open::{self, Source};
use super::output::{date, row, table};
use super::{Failure, Output, input, settle, user};
use crate::audit::{Act, Deed};
use crate::config::Config;
use crate::identity::{KeyDigest, KeyId};
use crate::names::UserName;
use crate::vault::{IssuedKey, KeyInfo, KeyRequest, Limits, Vault};

pub(super) async fn run(
    command: &KeyCommand,
    from: &Source,
    record: &mut Record<'_>,
    out: &Output,
) -> Result<(), Failure> {
    let config = from.load()?;
    match command {
        KeyCommand::Issue {
            user,
            name,
            ttl,
            profile,
            limits,
        } => {
            let request = KeyRequest {
                name: name.clone(),
                ttl: *ttl,
                profile: profile.clone(),
                limits: user::limits(Limits::default(), limits),
            };
            record.begin(Deed::key_issue(user, &request)).await?;
            let vault = open::vault(&config).await?;
            let issued = vault.issue_key(user, request).await?;
            record.learn_key(&issued.id);
            show_once(&issued, user, out)
        }
        KeyCommand::List { user } => list(&open::vault(&config).await?, user, out).await,
        KeyCommand::Revoke { id } => revoke(&config, id, record, out).await,
    }
}

/// What `key issue --json` prints. The only type that serializes a key, and only by reference.
#[derive(Serialize)]
struct Issued<'a> {
    key: &'a str,
    id: &'a str,
    expires: Option<String>,
}

fn show_once(issued: &IssuedKey, user: &UserName, out: &Output) -> Result<(), Failure> {
    let expires = issued.expires.map(date);
    let until = expires
        .as_ref()
        .map_or("never expires".to_owned(), |at| format!("expires {at}"));
    let key = issued.key.reveal();
    // The key alone on its line of standard output, so that it can be piped on.
    let mut text = Zeroizing::new(String::with_capacity(key.len() + 1));
    text.push_str(key);
    text.push('\n');
    if !out.json() {
        let id = &issued.id;
        out.note(&format!(
            "the key of {user}, shown this once; id {id}, {until}"
        ));
    }
    let document = Issued {
        key,
        id: issued.id.as_str(),
        expires,
    };
    out.answer(&document, &text).map_err(|failure| {
        Failure::new(format!(
            "the key was made and could not be shown ({failure}): cloakroom key revoke {}",
            issued.id
        ))
    })
}

async fn list(vault: &Vault, user: &UserName, out: &Output) -> Result<(), Failure> {
    let keys = vault.keys(user).await?;
    let mut rows = vec![row([
        "ID", "STATUS", "CREATED", "EXPIRES", "PROFILE", "NAME",
    ])];
    rows.extend(keys.iter().map(|key| {
        let record = &key.record;
        row([
            key.id.as_str(),
            key.status(),
            &date(record.created),
            &record.expires.map_or("never".to_owned(), date),
            record.profile.as_deref().unwrap_or("-"),
            record.name.as_deref().unwrap_or("-"),
        ])
    }));
    let document = json!({ "keys": keys.iter().map(document).collect::<Vec<_>>() });
    out.answer(&document, &table(&rows))
}

async fn revoke(
    config: &Config,
    id: &str,
    record: &mut Record<'_>,
    out: &Output,
) -> Result<(), Failure> {
    let revoked;
    let vault;
    if id == "-" {
        let key = input::hidden("Key to revoke: ")?;
        let digest = KeyDigest::of_presented(key.trim_ascii(), &config.key_prefixes)
            .map_err(|_| Failure::new("that is not a key: its shape or its checksum is wrong"))?;
        let deed = Deed::revocation(Act::KeyRevoke, &digest.key_id());
        record.begin(deed).await?;
        vault = open::vault(config).await?;
        revoked = vault.revoke_digest(&digest).await?;
    } else {
        let id = KeyId::parse(id).ok_or_else(|| Failure::usage(NOT_AN_ID))?;
        vault = open::vault(config).await?;
        revoked = vault.revoke_key(&id).await?;
    }
    let mut document = document(&revoked);
    document["on_all_copies"] = settle(&vault, out).await?.into();
    out.answer(&document, &format!("revoked {}\n", revoked.id))
}

const NOT_AN_ID: &str = "that is not the id of a key: give the 16 hexadecimal digits that \
                         `cloakroom key list USER` shows, or - and the key itself on standard \
                         input (an argument is seen by others on this machine, and shells keep it)";

fn document(key: &KeyInfo) -> Value {
    json!({
        "id": key.id.as_str(),
        "status": key.status(),
        "name": key.record.name,
        "profile": key.record.profile,
        "created": date(key.record.created),
        "expires": key.record.expires.map(date),
        "revoked": key.record.revoked.map(date),
    })
}
