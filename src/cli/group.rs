//! `group …`

use serde_json::{Value, json};

use super::args::GroupCommand;
use super::open::{self, Source};
use super::output::{date, row, table};
use super::{Failure, Output, access, input, secret};
use crate::names::{GroupName, UserName};
use crate::vault::{Access, Group, GroupId, UserId, Vault};

/// Read at once.
const PAGE: usize = 500;
/// Members that are shown.
const SHOWN: usize = 1000;

pub(super) async fn run(
    command: &GroupCommand,
    from: &Source,
    out: &Output,
) -> Result<(), Failure> {
    if let GroupCommand::Secret { command } = command {
        return secret::run_group(command, from, out).await;
    }
    let vault = open::vault(&from.load()?).await?;
    match command {
        GroupCommand::Add { name, description } => {
            let group = vault
                .add_group(name, description.clone(), Access::default())
                .await?;
            let next = format!("added {name}; a member: cloakroom group join {name} USER\n");
            out.answer(&document(&group), &next)
        }
        GroupCommand::List => list(&vault, out).await,
        GroupCommand::Show { name } => show(&vault, name, out).await,
        GroupCommand::Join { name, users } => members(&vault, name, users, true, out).await,
        GroupCommand::Leave { name, users } => members(&vault, name, users, false, out).await,
        GroupCommand::Delete { name, yes } => delete(&vault, name, *yes, out).await,
        GroupCommand::Secret { .. } => unreachable!("run above"),
    }
}

async fn list(vault: &Vault, out: &Output) -> Result<(), Failure> {
    let mut groups: Vec<Group> = Vec::new();
    loop {
        let last: Option<GroupId> = groups.last().map(|group| group.id);
        let page = vault.groups(last.as_ref(), PAGE).await?;
        let ended = page.len() < PAGE;
        groups.extend(page);
        if ended {
            break;
        }
    }
    groups.sort_by(|a, b| a.record.name.cmp(&b.record.name));
    let mut rows = vec![row(["NAME", "CREATED", "DESCRIPTION"])];
    rows.extend(groups.iter().map(|group| {
        let description = group.record.description.as_deref().unwrap_or_default();
        row([&group.record.name, &date(group.record.created), description])
    }));
    let document = json!({ "groups": groups.iter().map(document).collect::<Vec<_>>() });
    out.answer(&document, &table(&rows))
}

async fn show(vault: &Vault, name: &GroupName, out: &Output) -> Result<(), Failure> {
    let group = vault.group(name).await?;
    let first: Option<&UserId> = None;
    let members = vault.members(&group, first, SHOWN).await?;
    let mut members: Vec<_> = members.into_iter().map(|user| user.record.name).collect();
    members.sort();
    let mut rows = vec![
        row(["name", &group.record.name]),
        row([
            "description",
            group.record.description.as_deref().unwrap_or("-"),
        ]),
        row(["created", &date(group.record.created)]),
    ];
    rows.extend(access::rows(&group.record.access));
    for set in &group.record.sets.secrets {
        let set = format!("{} (profile {})", set.server, set.profile);
        rows.push(row(["shares secrets", &set]));
    }
    rows.extend(members.iter().map(|member| row(["member", member])));
    if members.len() == SHOWN {
        out.note(&format!("only the first {SHOWN} members are shown"));
    }
    let mut document = document(&group);
    document["members"] = json!(members);
    out.answer(&document, &table(&rows))
}

async fn members(
    vault: &Vault,
    name: &GroupName,
    users: &[UserName],
    join: bool,
    out: &Output,
) -> Result<(), Failure> {
    for user in users {
        match join {
            true => vault.add_member(name, user).await?,
            false => vault.remove_member(name, user).await?,
        }
    }
    let names: Vec<_> = users.iter().map(UserName::as_str).collect();
    let (word, key) = if join {
        ("joined", "joined")
    } else {
        ("left", "left")
    };
    let text = format!("{} {word} {name}\n", names.join(", "));
    out.answer(&json!({ "group": name.as_str(), key: names }), &text)
}

async fn delete(vault: &Vault, name: &GroupName, yes: bool, out: &Output) -> Result<(), Failure> {
    let prompt = format!(
        "This deletes the group {name} and the secrets it shares. Type the name to go on: "
    );
    if !yes {
        vault.group(name).await?;
        match input::confirmed(&prompt, name.as_str()) {
            Some(true) => {}
            Some(false) => return Err(Failure::new("nothing was deleted")),
            None => return Err(Failure::usage("nobody is there to confirm: add --yes")),
        }
    }
    vault.delete_group(name).await?;
    out.answer(
        &json!({ "deleted": name.as_str() }),
        &format!("deleted {name}\n"),
    )
}

fn document(group: &Group) -> Value {
    let secrets = group.record.sets.secrets.iter();
    let secrets = secrets.map(|set| json!({ "server": set.server, "profile": set.profile }));
    json!({
        "name": group.record.name,
        "id": group.id.to_string(),
        "description": group.record.description,
        "created": date(group.record.created),
        "access": group.record.access,
        "secrets": secrets.collect::<Vec<_>>(),
    })
}
