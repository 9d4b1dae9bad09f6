//! `access …`

use serde_json::json;

use super::args::{AccessCommand, AccessSet, patterns};
use super::open::{self, Source};
use super::output::{row, table};
use super::{Failure, Output, settle};
use crate::config::{Config, DefaultAccess};
use crate::names::{Pattern, UserName};
use crate::policy;
use crate::vault::{Access, AccessChange, Group, GroupChange, UserChange, Vault};

pub(super) async fn run(
    command: &AccessCommand,
    from: &Source,
    out: &Output,
) -> Result<(), Failure> {
    let config = from.load()?;
    let vault = open::vault(&config).await?;
    match command {
        AccessCommand::Show { user } => show(&vault, &config, user, out).await,
        AccessCommand::Set(set) => change(&vault, set, out).await,
    }
}

/// The lists of a record that hold something, as rows of a table.
pub(super) fn rows(access: &Access) -> Vec<Vec<String>> {
    let lists = [
        ("allowed servers", &access.allowed_servers),
        ("blocked servers", &access.blocked_servers),
        ("allowed tools", &access.allowed_tools),
        ("blocked tools", &access.blocked_tools),
    ];
    let filled = lists.into_iter().filter(|(_, list)| !list.is_empty());
    let text = |list: &Vec<Pattern>| {
        list.iter()
            .map(Pattern::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    };
    filled
        .map(|(name, list)| row([name, &text(list)]))
        .collect()
}

/// The configuration's `default_access`, in the words of who judges by it.
pub(super) fn default_access(config: &Config) -> policy::DefaultAccess {
    match config.people.default_access {
        DefaultAccess::All => policy::DefaultAccess::All,
        DefaultAccess::None => policy::DefaultAccess::None,
    }
}

async fn show(
    vault: &Vault,
    config: &Config,
    name: &UserName,
    out: &Output,
) -> Result<(), Failure> {
    let user = vault.user(name).await?;
    let mut groups = Vec::new();
    for id in &user.record.groups {
        let group = vault.group_by_id(id).await?;
        groups.push(group.ok_or_else(|| Failure::new(GONE))?);
    }
    let lists = || {
        let shared = groups.iter().map(|group: &Group| &group.record.access);
        std::iter::once(&user.record.access).chain(shared)
    };
    let mut table_rows = vec![row(["SERVER", "MAY USE", "TOOLS"])];
    let mut servers = serde_json::Map::new();
    for server in config.servers.keys() {
        let default = default_access(config);
        let may = policy::server_allowed(lists(), default, server.as_str());
        let limited = policy::limits_tools(lists(), server.as_str());
        let tools = match (may, limited) {
            (false, _) => "none",
            (true, true) => "some",
            (true, false) => "all",
        };
        table_rows.push(row([
            server.as_str(),
            if may { "yes" } else { "no" },
            tools,
        ]));
        servers.insert(
            server.to_string(),
            json!({ "allowed": may, "tools": tools }),
        );
    }
    let mut text = table(&table_rows);
    let of = |who: &str, access: &Access| {
        let rows = rows(access);
        let lines = if rows.is_empty() {
            "  no lists\n".to_owned()
        } else {
            table(&rows)
        };
        format!("\n{who}:\n{lines}")
    };
    text.push_str(&of(name.as_str(), &user.record.access));
    for group in &groups {
        text.push_str(&of(
            &format!("group {}", group.record.name),
            &group.record.access,
        ));
    }
    let groups = groups.iter();
    let groups =
        groups.map(|group| json!({ "name": group.record.name, "access": group.record.access }));
    let document = json!({
        "user": name.as_str(), "servers": servers, "access": user.record.access,
        "groups": groups.collect::<Vec<_>>(),
    });
    out.answer(&document, &text)
}

const GONE: &str = "a group the user is in is gone from the store: somebody deleted it there; every request \
                    of the user is refused until it is put back, or he leaves it: cloakroom user update NAME \
                    --leave-lost-groups";

async fn change(vault: &Vault, set: &AccessSet, out: &Output) -> Result<(), Failure> {
    let list = |texts: &[String]| patterns(texts).map_err(Failure::usage);
    let change = AccessChange {
        allowed_servers: list(&set.allow_server)?,
        blocked_servers: list(&set.block_server)?,
        allowed_tools: list(&set.allow_tool)?,
        blocked_tools: list(&set.block_tool)?,
    };
    if change.is_empty() {
        return Err(Failure::usage(
            "name a list to set: --allow-server, --block-server, --allow-tool or --block-tool",
        ));
    }
    let (kind, name, access) = match (&set.user, &set.group) {
        (Some(user), _) => {
            let change = UserChange {
                access: Some(change),
                ..UserChange::default()
            };
            let user = vault.update_user(user, &change).await?;
            ("user", user.record.name, user.record.access)
        }
        (None, Some(group)) => {
            let change = GroupChange {
                access: Some(change),
                ..GroupChange::default()
            };
            let group = vault.update_group(group, &change).await?;
            ("group", group.record.name, group.record.access)
        }
        (None, None) => return Err(Failure::usage("name a user, or a group with --group")),
    };
    if access.is_empty() {
        out.note(&format!(
            "the {kind} {name} has no lists now, and so restricts nothing"
        ));
    }
    let everywhere = settle(vault, out).await?;
    let document = json!({ kind: name, "access": access, "on_all_copies": everywhere });
    let text = table(&[vec![row(["set", &format!("{kind} {name}")])], rows(&access)].concat());
    out.answer(&document, &text)
}
