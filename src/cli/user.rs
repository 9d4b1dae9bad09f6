//! `user …`

use serde_json::{Value, json};

use super::args::UserCommand;
use super::open::{self, Source};
use super::output::{date, is_past, row, table};
use super::{Failure, Output, input, settle};
use crate::names::UserName;
use crate::vault::{User, Vault};

pub(super) async fn run(command: &UserCommand, from: &Source, out: &Output) -> Result<(), Failure> {
    let vault = open::vault(&from.load()?).await?;
    match command {
        UserCommand::Add { name, email } => {
            let user = vault.add_user(name, email.as_deref()).await?;
            let next = format!("added {name}; a key: cloakroom key issue {name}\n");
            out.answer(&document(&user), &next)
        }
        UserCommand::List => list(&vault, out).await,
        UserCommand::Show { name } => show(&vault, name, out).await,
        UserCommand::Disable { name } => set_disabled(&vault, name, true, out).await,
        UserCommand::Enable { name } => set_disabled(&vault, name, false, out).await,
        UserCommand::Delete { name, yes } => delete(&vault, name, *yes, out).await,
    }
}

async fn list(vault: &Vault, out: &Output) -> Result<(), Failure> {
    let mut users = vault.users().await?;
    users.sort_by(|a, b| a.record.name.cmp(&b.record.name));
    let mut rows = vec![row(["NAME", "STATUS", "CREATED", "E-MAIL"])];
    rows.extend(users.iter().map(|user| {
        let email = user.record.email.as_deref().unwrap_or_default();
        row([
            &user.record.name,
            status(user),
            &date(user.record.created),
            email,
        ])
    }));
    let document = json!({ "users": users.iter().map(document).collect::<Vec<_>>() });
    out.answer(&document, &table(&rows))
}

async fn show(vault: &Vault, name: &UserName, out: &Output) -> Result<(), Failure> {
    let user = vault.user(name).await?;
    let keys = vault.keys(name).await?;
    let usable = keys
        .iter()
        .filter(|key| key.record.revoked.is_none() && !key.record.expires.is_some_and(is_past));
    let usable = usable.count();
    let mut rows = vec![
        row(["name", &user.record.name]),
        row(["e-mail", user.record.email.as_deref().unwrap_or("-")]),
        row(["status", status(&user)]),
        row(["created", &date(user.record.created)]),
        row(["keys", &format!("{} ({usable} usable)", keys.len())]),
    ];
    for set in &user.record.secrets {
        rows.push(row([
            "secrets",
            &format!("{} (profile {})", set.server, set.profile),
        ]));
    }
    let mut document = document(&user);
    document["keys"] = json!({ "all": keys.len(), "usable": usable });
    out.answer(&document, &table(&rows))
}

async fn set_disabled(
    vault: &Vault,
    name: &UserName,
    disabled: bool,
    out: &Output,
) -> Result<(), Failure> {
    vault.set_disabled(name, disabled).await?;
    let mut document = document(&vault.user(name).await?);
    if disabled {
        document["on_all_copies"] = settle(vault, out).await?.into();
    }
    let done = if disabled { "disabled" } else { "enabled" };
    out.answer(&document, &format!("{done} {name}\n"))
}

async fn delete(vault: &Vault, name: &UserName, yes: bool, out: &Output) -> Result<(), Failure> {
    // Before asking: a person should not confirm what cannot be done.
    vault.user(name).await?;
    let prompt = format!("This deletes {name} with all keys and secrets. Type the name to go on: ");
    if !yes {
        match input::confirmed(&prompt, name.as_str()) {
            Some(true) => {}
            Some(false) => return Err(Failure::new("nothing was deleted")),
            None => return Err(Failure::usage("nobody is there to confirm: add --yes")),
        }
    }
    vault.delete_user(name).await?;
    let everywhere = settle(vault, out).await?;
    let document = json!({ "deleted": name.as_str(), "on_all_copies": everywhere });
    out.answer(&document, &format!("deleted {name}\n"))
}

fn status(user: &User) -> &'static str {
    if user.record.disabled {
        "disabled"
    } else {
        "enabled"
    }
}

fn document(user: &User) -> Value {
    let secrets = user.record.secrets.iter();
    let secrets = secrets.map(|set| json!({ "server": set.server, "profile": set.profile }));
    json!({
        "name": user.record.name,
        "id": user.id.to_string(),
        "email": user.record.email,
        "created": date(user.record.created),
        "disabled": user.record.disabled,
        "secrets": secrets.collect::<Vec<_>>(),
    })
}
