//! `explain`: slot by slot, what would be sent for a user. Never a character of a value, nor of the
//! text a template puts around it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::args::ExplainArgs;
use super::open::{self, Source};
use super::output::{date, row, table};
use super::secret::unknown_server;
use super::{Failure, Output, access};
use crate::config::{Backend, Config, Discovery, Server};
use crate::inject::{Place, Slot};
use crate::names::{ProfileName, SecretName};
use crate::policy;
use crate::vault::{SecretInfo, User, UserRecord, Vault, VaultError};

pub(super) async fn run(args: &ExplainArgs, from: &Source, out: &Output) -> Result<(), Failure> {
    let config = from.load()?;
    let server = config
        .servers
        .get(&args.server)
        .ok_or_else(|| Failure::new(unknown_server(&config, &args.server)))?;
    let vault = open::vault(&config).await?;
    let user = vault.user(&args.user).await?;
    let secrets = if server.slots.need_secrets() {
        vault
            .secrets_found(&args.user, &args.server, &args.profile)
            .await?
    } else {
        Vec::new()
    };
    let explained = Explained {
        args,
        discovery: server.discovery,
        of_discovery: match &server.backend {
            Backend::Http { .. } => "headers and query parameters",
            Backend::Command(_) => "variables",
        },
        disabled: user.record.disabled,
        profiles: profiles(&user.record, args),
        version: own_version(&secrets),
        barred: barred(&vault, &config, &user, args).await?,
        everything: server.slots.merges_all(),
        filled: fill(server, &secrets, args.tool.as_deref()),
    };
    out.answer(&explained.document(), &explained.text())
}

/// The version of the user's own set.
fn own_version(secrets: &[SecretInfo]) -> Option<u64> {
    let mut own = secrets.iter().filter(|secret| secret.group.is_none());
    own.next().map(|secret| secret.version)
}

/// Whether the user may not use the server, or the tool.
async fn barred(
    vault: &Vault,
    config: &Config,
    user: &User,
    args: &ExplainArgs,
) -> Result<Option<&'static str>, Failure> {
    let mut lists = vec![user.record.access.clone()];
    for id in &user.record.groups {
        let group = vault.group_by_id(id).await?.ok_or(VaultError::GroupGone)?;
        lists.push(group.record.access);
    }
    let (server, default) = (args.server.as_str(), access::default_access(config));
    let tool = |tool: &String| policy::tool_allowed(lists.iter(), server, tool);
    Ok(match () {
        () if !policy::server_allowed(lists.iter(), default, server) => Some("server"),
        () if !args.tool.as_ref().is_none_or(tool) => Some("tool"),
        () => None,
    })
}

/// The profiles in which the user has secrets for the server.
fn profiles(user: &UserRecord, args: &ExplainArgs) -> Vec<String> {
    let sets = user.sets.secrets.iter();
    let of_server = sets.filter(|set| set.server == args.server.as_str());
    of_server.map(|set| set.profile.clone()).collect()
}

/// A slot, and what would fill it.
struct Filled {
    place: Place,
    /// `None` for every tool.
    tools: Option<BTreeSet<String>>,
    secrets: Vec<Needed>,
}

/// A secret a slot needs.
struct Needed {
    name: String,
    state: State,
    version: Option<u64>,
    /// The group that shares it.
    group: Option<String>,
}

impl Needed {
    fn of(secret: &SecretInfo, state: State) -> Self {
        Self {
            name: secret.name.clone(),
            state,
            version: Some(secret.version),
            group: secret.group.clone(),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Set,
    Missing,
    /// It was set before a header needed it, which cannot carry it.
    Unfit,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Missing => "missing",
            Self::Unfit => "unfit",
        }
    }
}

/// The slots such a call fills, all of them when no tool is named.
fn fill(server: &Server, secrets: &[SecretInfo], tool: Option<&str>) -> Vec<Filled> {
    let called = |slot: &Slot<'_>| match (slot.tools, tool) {
        (Some(tools), Some(tool)) => tools.contains(tool),
        _ => true,
    };
    let declared = server.slots.iter().filter(called).map(|slot| Filled {
        secrets: needed(&slot, secrets),
        tools: slot.tools.cloned(),
        place: slot.place,
    });
    let merged = secrets.iter().map(|secret| Filled {
        place: Place::Argument(secret.name.clone()),
        tools: None,
        secrets: vec![Needed::of(secret, State::Set)],
    });
    declared
        .chain(merged.filter(|_| server.slots.merges_all()))
        .collect()
}

/// The secrets of a slot, each once.
fn needed(slot: &Slot<'_>, secrets: &[SecretInfo]) -> Vec<Needed> {
    let mut needed: Vec<Needed> = Vec::new();
    for name in slot.template.secrets().map(SecretName::as_str) {
        if needed.iter().any(|known| known.name == name) {
            continue;
        }
        needed.push(match secrets.iter().find(|secret| secret.name == name) {
            None => Needed {
                name: name.to_owned(),
                state: State::Missing,
                version: None,
                group: None,
            },
            Some(secret) if fits(slot, secret) => Needed::of(secret, State::Set),
            Some(secret) => Needed::of(secret, State::Unfit),
        });
    }
    needed
}

/// Whether the slot can carry the secret. What goes through base64 fits everywhere, so the template is
/// tried with a stand-in.
fn fits(slot: &Slot<'_>, secret: &SecretInfo) -> bool {
    const NO_HEADER: u8 = 0;
    if secret.fits_header || !matches!(slot.place, Place::Header(_)) {
        return true;
    }
    let stand_in = |name: &SecretName| {
        let ours = name.as_str() == secret.name;
        Some(if ours { &[NO_HEADER][..] } else { b"x" })
    };
    let rendered = slot.template.render(stand_in);
    rendered.is_ok_and(|value| !value.contains(&NO_HEADER))
}

/// All there is to say.
struct Explained<'a> {
    args: &'a ExplainArgs,
    discovery: Discovery,
    /// The slots it needs, or goes without.
    of_discovery: &'static str,
    disabled: bool,
    /// What the user may not use: the server, or the tool.
    barred: Option<&'static str>,
    profiles: Vec<String>,
    version: Option<u64>,
    everything: bool,
    filled: Vec<Filled>,
}

impl Explained<'_> {
    /// Names of secrets in this state, each once.
    fn in_state(&self, state: State) -> BTreeSet<&str> {
        let secrets = self.filled.iter().flat_map(|filled| &filled.secrets);
        secrets
            .filter(|secret| secret.state == state)
            .map(|secret| secret.name.as_str())
            .collect()
    }

    fn is_complete(&self) -> bool {
        self.in_state(State::Missing).is_empty() && self.in_state(State::Unfit).is_empty()
    }

    fn has_profile(&self) -> bool {
        let asked = self.args.profile.as_str();
        self.profiles.iter().any(|profile| profile == asked)
    }

    fn command(&self, secret: &str) -> String {
        let ExplainArgs {
            user,
            server,
            profile,
            ..
        } = self.args;
        let option = if profile.as_str() == ProfileName::DEFAULT {
            String::new()
        } else {
            format!(" --profile {profile}")
        };
        format!("cloakroom secret set {user} {server} {secret}{option}")
    }

    fn document(&self) -> Value {
        json!({
            "user": self.args.user.as_str(),
            "disabled": self.disabled,
            "allowed": self.barred.is_none(),
            "server": self.args.server.as_str(),
            "tool": self.args.tool,
            "profile": self.args.profile.as_str(),
            "profiles": self.profiles,
            "version": self.version,
            "all_secrets_are_arguments": self.everything,
            "discovery": match self.discovery {
                Discovery::Secret => "secret",
                Discovery::Omit => "omit",
            },
            "slots": self.filled.iter().map(|filled| self.slot(filled)).collect::<Vec<_>>(),
            "missing": self.in_state(State::Missing),
            "complete": self.is_complete(),
        })
    }

    fn slot(&self, filled: &Filled) -> Value {
        let (place, name) = match &filled.place {
            Place::Header(name) => ("header", name.as_str()),
            Place::Query(name) => ("query", name.as_str()),
            Place::Argument(name) => ("argument", name.as_str()),
            Place::Variable(name) => ("variable", name.as_str()),
        };
        let secrets = filled.secrets.iter().map(|secret| {
            let set_with = (secret.state != State::Set).then(|| self.command(&secret.name));
            json!({
                "name": secret.name, "profile": self.args.profile.as_str(),
                "version": secret.version, "group": secret.group,
                "state": secret.state.word(), "set_with": set_with,
            })
        });
        json!({
            "place": place, "name": name, "tools": filled.tools,
            "from": match filled.secrets.first() {
                None => "constant",
                Some(secret) if secret.group.is_some() => "group",
                Some(_) => "user",
            },
            "secrets": secrets.collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let mut text = self.heading();
        if self.filled.is_empty() {
            text.push_str("Nothing is put into such a request.\n");
        } else {
            text.push_str(&self.table());
        }
        for line in self.remarks() {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    fn heading(&self) -> String {
        let ExplainArgs {
            user,
            server,
            profile,
            tool,
        } = self.args;
        let call = match tool {
            Some(tool) => format!("A call of {tool} at {server}"),
            None => format!("Requests to {server}"),
        };
        let changed = match self.version {
            Some(version) => {
                let changed = date(version / 1_000_000);
                format!(" (changed {changed}, version {version})")
            }
            None => String::new(),
        };
        format!("{call} for {user}, profile {profile}{changed}:\n")
    }

    fn table(&self) -> String {
        let mut rows = vec![row(["PLACE", "FOR", "SECRET", "FROM", "STATE"])];
        for filled in &self.filled {
            let place = filled.place.to_string();
            let scope = match (&filled.place, &filled.tools) {
                (Place::Argument(_), None) => "every tool".to_owned(),
                (Place::Variable(_), None) => "the user's process".to_owned(),
                (_, None) => "every request".to_owned(),
                (_, Some(tools)) => tools.iter().cloned().collect::<Vec<_>>().join(", "),
            };
            if filled.secrets.is_empty() {
                rows.push(row([&place, &scope, "-", "constant", "-"]));
            }
            for secret in &filled.secrets {
                let owner = match &secret.group {
                    Some(group) => format!("group {group}"),
                    None => self.args.user.to_string(),
                };
                let from = format!("{owner}, profile {}", self.args.profile);
                let state = match secret.state {
                    State::Missing => "MISSING",
                    State::Unfit => "UNFIT",
                    State::Set => "set",
                };
                rows.push(row([&place, &scope, &secret.name, &from, state]));
            }
        }
        table(&rows)
    }

    /// What the table does not show, a line each.
    fn remarks(&self) -> Vec<String> {
        let ExplainArgs {
            user,
            server,
            profile,
            ..
        } = self.args;
        let mut lines = Vec::new();
        for name in self.in_state(State::Missing) {
            lines.push(format!("{name} is missing: {}", self.command(name)));
        }
        for name in self.in_state(State::Unfit) {
            let set = self.command(name);
            lines.push(format!("{name} holds what no header can carry: {set}"));
        }
        if !self.is_complete() {
            lines.push("A request that needs it is refused.".to_owned());
        }
        if self.everything {
            lines.push("Every secret the user has for this server becomes an argument.".to_owned());
        }
        if !self.has_profile() {
            let others = match self.profiles.as_slice() {
                [] => "nor in any other".to_owned(),
                profiles => format!("but in {}", profiles.join(", ")),
            };
            lines.push(format!(
                "{user} has no secrets for {server} in the profile {profile}, {others}."
            ));
        }
        let slots = self.of_discovery;
        lines.push(match self.discovery {
            Discovery::Secret => {
                format!("Discovery (initialize, the lists, …): needs the {slots} like every other request.")
            }
            Discovery::Omit => {
                format!("Discovery (initialize, the lists, …): goes without the {slots} whose secrets are missing.")
            }
        });
        if let Some(barred) = self.barred {
            lines.push(format!(
                "{user} may not use this {barred}, so the request is refused: cloakroom access show {user}"
            ));
        }
        if self.disabled {
            lines.push(format!(
                "{user} is disabled, so every request is refused: cloakroom user enable {user}"
            ));
        }
        lines
    }
}
