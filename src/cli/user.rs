//! `user …`

use serde_json::{Value, json};

use super::args::{Bound, LimitArgs, UserCommand, UserUpdate, patterns};
use super::open::{self, Source};
use super::output::{date, is_past, row, table};
use super::{Failure, Output, access, input, settle};
use crate::names::UserName;
use crate::vault::{Limits, NewUser, User, UserChange, UserId, Vault};

pub(super) async fn run(command: &UserCommand, from: &Source, out: &Output) -> Result<(), Failure> {
    let vault = open::vault(&from.load()?).await?;
    match command {
        UserCommand::Add {
            name,
            email,
            description,
        } => {
            let new = NewUser {
                email: email.clone(),
                description: description.clone(),
                ..NewUser::default()
            };
            let user = vault.add_user(name, new).await?;
            let next = format!("added {name}; a key: cloakroom key issue {name}\n");
            out.answer(&document(&user), &next)
        }
        UserCommand::List { limit, after } => list(&vault, *limit, after.as_deref(), out).await,
        UserCommand::Update(update) => change(&vault, update, out).await,
        UserCommand::Show { name } => show(&vault, name, out).await,
        UserCommand::Disable { name } => set_disabled(&vault, name, true, out).await,
        UserCommand::Enable { name } => set_disabled(&vault, name, false, out).await,
        UserCommand::Delete { name, yes } => delete(&vault, name, *yes, out).await,
    }
}

async fn list(vault: &Vault, limit: u64, after: Option<&str>, out: &Output) -> Result<(), Failure> {
    let wrong = || Failure::usage("--after: that is no id; give the `next` of the list before");
    let after = after.map(|id| UserId::from_hex(id).ok_or_else(wrong));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut users = vault.users(after.transpose()?.as_ref(), limit).await?;
    let next = users
        .last()
        .filter(|_| users.len() == limit)
        .map(|user| user.id.to_string());
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
    if let Some(next) = &next {
        out.note(&format!(
            "there may be more: cloakroom user list --after {next}"
        ));
    }
    let users: Vec<_> = users.iter().map(document).collect();
    out.answer(&json!({ "users": users, "next": next }), &table(&rows))
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
    let groups = vault.groups_of(&user).await?;
    rows.extend(groups.keys().map(|group| row(["group", group])));
    rows.extend(access::rows(&user.record.access));
    for (name, text) in [
        ("description", &user.record.description),
        ("notes", &user.record.notes),
    ] {
        rows.extend(text.iter().map(|text| row([name, text])));
    }
    for set in &user.record.sets.secrets {
        rows.push(row([
            "secrets",
            &format!("{} (profile {})", set.server, set.profile),
        ]));
    }
    let mut document = document(&user);
    document["groups"] = json!(groups.keys().collect::<Vec<_>>());
    document["keys"] = json!({ "all": keys.len(), "usable": usable });
    out.answer(&document, &table(&rows))
}

async fn change(vault: &Vault, update: &UserUpdate, out: &Output) -> Result<(), Failure> {
    let text = |text: &Option<String>| {
        text.as_ref()
            .map(|text| Some(text.clone()).filter(|text| !text.is_empty()))
    };
    let metadata = update.metadata.as_deref().map(object).transpose()?;
    let before = vault.user(&update.name).await?;
    let change = UserChange {
        email: text(&update.email),
        description: text(&update.description),
        notes: text(&update.notes),
        metadata,
        access: None,
        limits: Some(limits(before.record.limits, &update.limits)),
        acts_for: patterns(&update.acts_for).map_err(Failure::usage)?,
        disabled: None,
    };
    let user = vault.update_user(&update.name, &change).await?;
    if update.leave_lost_groups {
        let left = vault.leave_lost_groups(&update.name).await?;
        out.note(&format!("left {left} groups that are gone"));
    }
    out.answer(&document(&user), &format!("changed {}\n", update.name))
}

fn object(text: &str) -> Result<serde_json::Map<String, Value>, Failure> {
    match text {
        "" => Ok(serde_json::Map::new()),
        text => serde_json::from_str(text).map_err(|_| {
            Failure::usage("--metadata: that is no JSON object; write {\"key\": \"value\"}")
        }),
    }
}

/// Bounds as they were, but for those that are named.
pub(super) fn limits(before: Limits, named: &LimitArgs) -> Limits {
    let or = |bound: Option<Bound>, before: Option<u32>| bound.map_or(before, |Bound(new)| new);
    Limits {
        rate: or(named.rate, before.rate),
        burst: or(named.burst, before.burst),
        daily: match named.daily {
            Some(Bound(new)) => new.map(u64::from),
            None => before.daily,
        },
        concurrent: or(named.concurrent, before.concurrent),
    }
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
    let secrets = user.record.sets.secrets.iter();
    let secrets = secrets.map(|set| json!({ "server": set.server, "profile": set.profile }));
    json!({
        "name": user.record.name,
        "id": user.id.to_string(),
        "email": user.record.email,
        "created": date(user.record.created),
        "disabled": user.record.disabled,
        "description": user.record.description,
        "notes": user.record.notes,
        "metadata": user.record.metadata,
        "access": user.record.access,
        "limits": user.record.limits,
        "acts_for": user.record.acts_for,
        "secrets": secrets.collect::<Vec<_>>(),
    })
}
