//! Commands that change something, as the audit trail has them: what is done, to whom, and whether it lets
//! anybody pass for somebody else. No value of a secret, and no key, is in any of it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::admin::{AdminCommand, AdminKeyCommand};
use super::args::{
    AccessCommand, Command, GroupCommand, GroupSecretCommand, KeyCommand, KeyringCommand,
    SecretCommand, StoreCommand, UserCommand,
};
use super::open::{self, Source};
use super::{Failure, Output, trail};
use crate::audit::{Actor, ActorKind, Admin, Event, Outcome, Trail};
use crate::config::KeyringSource;
use crate::store::Store;
use crate::sys;
use crate::vault::Vault;

/// What a command does.
struct Act {
    act: &'static str,
    target: String,
    detail: Value,
    impersonation: bool,
}

impl Act {
    fn new(act: &'static str, target: impl ToString) -> Self {
        Self {
            act,
            target: target.to_string(),
            detail: Value::Null,
            impersonation: false,
        }
    }

    fn with(self, detail: Value) -> Self {
        Self { detail, ..self }
    }

    /// What the trail is told, once before and once after it.
    fn event(&self, request: u64, outcome: Outcome) -> Event {
        Event::Admin(Admin {
            request,
            actor: Actor {
                kind: ActorKind::CommandLine,
                name: format!("uid {}", sys::user()).into(),
                role: None,
                key: None,
            },
            act: self.act,
            target: self.target.as_str().into(),
            detail: self.detail.clone().into(),
            impersonation: self.impersonation,
            outcome,
            address: None,
        })
    }
}

/// Runs a command, and records it if it changes something. One that has to be recorded and cannot be is
/// not run.
pub(super) async fn recorded(
    command: &Command,
    from: &Source,
    out: &Output,
    run: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let Some(act) = act(command) else {
        return run.await;
    };
    // A configuration that cannot be used is the command's to tell.
    let Some(opened) = opened(from, out).await? else {
        return run.await;
    };
    let trail = &opened.trail;
    let number = trail.next_request();
    let begun = trail.record(act.event(number, Outcome::Begun)).await;
    if begun.is_err() && trail.is_required() {
        opened.close().await;
        return Err(Failure::new(
            "the audit trail cannot be written, and [audit] required is set: nothing was done",
        ));
    }
    let done = run.await;
    let outcome = match &done {
        Ok(()) => Outcome::Done,
        Err(_) => Outcome::Failed,
    };
    let ended = trail.record(act.event(number, outcome)).await;
    if begun.is_err() || ended.is_err() {
        out.note("this was not recorded in the audit trail, which cannot be written: see [audit]");
    }
    opened.close().await;
    done
}

/// The trail, and where it comes from.
struct Opened {
    trail: Trail,
    store: Arc<dyn Store>,
    source: KeyringSource,
}

impl Opened {
    /// With the keys as they are now: what the store is told by those from before a rotation would need
    /// them for ever.
    async fn close(self) {
        match open::keyring(&self.source) {
            Ok(ring) => {
                let vault = Vault::new(self.store, ring.into());
                self.trail.close_through(&vault).await;
            }
            Err(_) => self.trail.close().await,
        }
    }
}

/// The trail, if there is one to be written.
async fn opened(from: &Source, out: &Output) -> Result<Option<Opened>, Failure> {
    let Ok(config) = from.load() else {
        return Ok(None);
    };
    let Ok(ring) = open::keyring(&config.keyring) else {
        return Ok(None);
    };
    let Ok(store) = open::store(&config).await else {
        return Ok(None);
    };
    let ring = ring.into();
    match trail::start(&config.audit, &store, &ring).await {
        Ok(trail) => Ok(trail.is_kept().then_some(Opened {
            trail,
            store,
            source: config.keyring,
        })),
        Err(failure) if config.audit.required => Err(failure),
        Err(failure) => {
            out.note(&failure.to_string());
            Ok(None)
        }
    }
}

/// What a command changes; none of what only looks, or makes a new house.
fn act(command: &Command) -> Option<Act> {
    match command {
        Command::User { command } => user(command),
        Command::Key { command } => key(command),
        Command::Group { command } => group(command),
        Command::Access { command } => access(command),
        Command::Secret { command } => secret(command),
        Command::Keyring { command } => match command {
            KeyringCommand::Export { server } => Some(Act::new("keyring.export", server)),
            KeyringCommand::Rotate { .. } => Some(Act::new("keyring.rotate", "")),
            KeyringCommand::Retire { key } => Some(Act::new(
                "keyring.retire",
                key.as_deref().unwrap_or_default(),
            )),
            KeyringCommand::Init => None,
        },
        Command::Admin {
            command: AdminCommand::Key { command },
        } => admin_key(command),
        Command::Import(_) => Some(Act::new("import", "")),
        Command::Export { .. } => Some(Act::new("export", "")),
        Command::Backup { .. } => Some(Act::new("store.backup", "")),
        Command::Store { command } => match command {
            StoreCommand::Backup { .. } => Some(Act::new("store.backup", "")),
            // The chain would begin in a store that is to be empty, or is not the one that is changed.
            StoreCommand::Restore { .. } | StoreCommand::Copy { .. } | StoreCommand::Stats => None,
        },
        _ => None,
    }
}

fn user(command: &UserCommand) -> Option<Act> {
    Some(match command {
        UserCommand::Add { name, .. } => Act::new("user.add", name),
        UserCommand::Update(update) => {
            let acts_for = &update.acts_for;
            let detail = match acts_for.is_empty() {
                true => Value::Null,
                false => json!({ "acts_for": acts_for }),
            };
            Act {
                impersonation: acts_for.iter().any(|pattern| !pattern.is_empty()),
                ..Act::new("user.update", &update.name).with(detail)
            }
        }
        UserCommand::Disable { name } => Act::new("user.disable", name),
        UserCommand::Enable { name } => Act::new("user.enable", name),
        UserCommand::Delete { name, .. } => Act::new("user.delete", name),
        UserCommand::List { .. } | UserCommand::Show { .. } => return None,
    })
}

fn key(command: &KeyCommand) -> Option<Act> {
    Some(match command {
        KeyCommand::Issue { user, name, .. } => Act {
            // Whoever runs a command here holds the keyring, and is none of the users.
            impersonation: true,
            ..Act::new("key.issue", user).with(json!({ "key_name": name }))
        },
        // One that is given itself stands on standard input; its id is told by the command.
        KeyCommand::Revoke { id } => Act::new("key.revoke", key_id(id)),
        KeyCommand::List { .. } => return None,
    })
}

fn admin_key(command: &AdminKeyCommand) -> Option<Act> {
    Some(match command {
        AdminKeyCommand::Issue { name, role, .. } => {
            let act = Act::new("admin_key.issue", name);
            act.with(json!({ "role": role.as_str() }))
        }
        AdminKeyCommand::Revoke { id } => Act::new("admin_key.revoke", key_id(id)),
        AdminKeyCommand::List => return None,
    })
}

/// The id of a key; nothing where a key itself may stand.
fn key_id(text: &str) -> &str {
    crate::identity::KeyId::parse(text).map_or("", |_| text)
}

fn group(command: &GroupCommand) -> Option<Act> {
    let users = |users: &[crate::names::UserName]| json!({ "users": users.iter().map(ToString::to_string).collect::<Vec<_>>() });
    Some(match command {
        GroupCommand::Add { name, .. } => Act::new("group.add", name),
        GroupCommand::Join { name, users: who } => Act::new("group.join", name).with(users(who)),
        GroupCommand::Leave { name, users: who } => Act::new("group.leave", name).with(users(who)),
        GroupCommand::Delete { name, .. } => Act::new("group.delete", name),
        GroupCommand::Secret { command } => match command {
            GroupSecretCommand::Set {
                group,
                server,
                profile,
                name,
                ..
            } => Act::new("group.secret.set", group).with(of_secret(server, profile, Some(name))),
            GroupSecretCommand::Delete {
                group,
                server,
                profile,
                name,
                ..
            } => {
                let detail = of_secret(server, profile, name.as_deref());
                Act::new("group.secret.delete", group).with(detail)
            }
            GroupSecretCommand::List { .. } => return None,
        },
        GroupCommand::List | GroupCommand::Show { .. } => return None,
    })
}

fn access(command: &AccessCommand) -> Option<Act> {
    let AccessCommand::Set(set) = command else {
        return None;
    };
    let target = match (&set.user, &set.group) {
        (Some(user), _) => user.to_string(),
        (None, Some(group)) => format!("group:{group}"),
        (None, None) => String::new(),
    };
    let detail = json!({
        "allow_server": set.allow_server, "block_server": set.block_server,
        "allow_tool": set.allow_tool, "block_tool": set.block_tool,
    });
    Some(Act::new("access.set", target).with(detail))
}

fn secret(command: &SecretCommand) -> Option<Act> {
    Some(match command {
        SecretCommand::Set {
            user,
            server,
            profile,
            name,
            ..
        } => Act::new("secret.set", user).with(of_secret(server, profile, Some(name))),
        SecretCommand::Delete {
            user,
            server,
            profile,
            name,
            ..
        } => {
            let detail = of_secret(server, profile, name.as_deref());
            Act::new("secret.delete", user).with(detail)
        }
        SecretCommand::List { .. } => return None,
    })
}

fn of_secret(server: &impl ToString, profile: &impl ToString, name: Option<&str>) -> Value {
    // What is no name may be the value itself.
    let name = name.filter(|name| crate::names::SecretName::parse(name).is_ok());
    json!({ "server": server.to_string(), "profile": profile.to_string(), "name": name })
}
