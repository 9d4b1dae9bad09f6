//! Commands that change something, recorded in the audit trail: what is done, to whom, and whether it lets
//! anybody pass for somebody else. No value of a secret, and no key, is in any of it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::admin::{AdminCommand, AdminKeyCommand};
use super::args::{
    AccessCommand, AccessSet, Bound, Command, GroupCommand, GroupSecretCommand, KeyCommand,
    KeyringCommand, LimitArgs, SecretCommand, StoreCommand, UserCommand, UserUpdate, patterns,
};
use super::open::{self, Source};
use super::{Failure, Output, trail};
use crate::audit::{Act, Actor, ActorKind, Deed, Doer, Doing, Outcome, Standard, Trail};
use crate::config::{Config, KeyringSource};
use crate::identity::KeyId;
use crate::names::{Pattern, SecretName};
use crate::store::Store;
use crate::sys;
use crate::vault::{AccessChange, Owner, Vault};

/// Records of one act: when it begins, and when it ended.
const RECORDS: u64 = 2;

/// The record of what one command does.
pub(super) struct Record<'a> {
    from: &'a Source,
    out: &'a Output,
    doing: Option<(Doing, Opened)>,
    /// Why it is done without a record.
    unrecorded: Option<String>,
}

impl<'a> Record<'a> {
    pub(super) fn new(from: &'a Source, out: &'a Output) -> Self {
        Self {
            from,
            out,
            doing: None,
            unrecorded: None,
        }
    }

    /// Records that something is about to be done.
    ///
    /// # Errors
    /// It has to be recorded, and cannot be: it must not be done.
    pub(super) async fn begin(&mut self, deed: Deed) -> Result<(), Failure> {
        let refused = |why: &str| {
            Failure::new(format!(
                "nothing was done, for [audit] required is set and the audit trail cannot be written: {why}"
            ))
        };
        let config = match self.from.load() {
            Ok(config) => config,
            // What else is wrong is told first.
            Err(why) if self.from.requires_audit() => return Err(why),
            // Most commands say so themselves; some need to know no more than where the store is.
            Err(_) => {
                self.unrecorded = Some("the configuration cannot be used".to_owned());
                return Ok(());
            }
        };
        let opened = match opened(&config).await {
            Ok(opened) => opened,
            Err(why) if config.audit.required => return Err(refused(&why.to_string())),
            Err(why) => {
                self.unrecorded = Some(why.to_string());
                return Ok(());
            }
        };
        if !opened.trail.is_kept() {
            return Ok(());
        }
        match opened.trail.begin(doer(), deed).await {
            Ok(doing) => {
                self.doing = Some((doing, opened));
                Ok(())
            }
            Err(why) => {
                opened.close().await;
                Err(refused(&why.to_string()))
            }
        }
    }

    /// What is known only since it was done.
    pub(super) fn learn(&mut self, name: &'static str, fact: impl Into<Value>) {
        if let Some((doing, _)) = &mut self.doing {
            doing.learn(name, fact);
        }
    }

    /// The key that was issued.
    pub(super) fn learn_key(&mut self, id: &KeyId) {
        if let Some((doing, _)) = &mut self.doing {
            doing.learn_key(id);
        }
    }

    /// Records what came of it.
    pub(super) async fn end(self, done: &Result<(), Failure>) {
        if let (Some(why), Ok(())) = (&self.unrecorded, done) {
            self.out
                .note(&format!("this was not recorded in the audit trail: {why}"));
        }
        let Some((doing, opened)) = self.doing else {
            return;
        };
        let outcome = match done {
            Ok(()) => Outcome::Done,
            Err(_) => Outcome::Failed,
        };
        doing.end(outcome).await;
        let trail = opened.trail.clone();
        opened.close().await;
        let figures = trail.figures();
        if figures.iter().any(|sink| sink.written < RECORDS) {
            self.out.note(
                "this was not recorded in the audit trail, which cannot be written: see [audit]",
            );
        }
    }
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

async fn opened(config: &Config) -> Result<Opened, Failure> {
    let ring = open::keyring(&config.keyring)?.into();
    let store = open::store(config).await?;
    let trail = trail::start(&config.audit, &store, &ring, Standard::Error).await?;
    Ok(Opened {
        trail,
        store,
        source: config.keyring.clone(),
    })
}

fn doer() -> Doer {
    Doer {
        actor: Actor {
            kind: ActorKind::CommandLine,
            name: format!("uid {}", sys::user()).into(),
            role: None,
            key: None,
        },
        address: None,
    }
}

/// What a command changes; none of what only looks, makes a new house, or knows only as it runs what it
/// changes and begins its record itself.
pub(super) fn deed(command: &Command) -> Option<Deed> {
    match command {
        Command::User { command } => user(command),
        Command::Key {
            command: KeyCommand::Revoke { id },
        } => revocation(Act::KeyRevoke, id),
        Command::Group { command } => group(command),
        Command::Access {
            command: AccessCommand::Set(set),
        } => access(set),
        Command::Secret { command } => secret(command),
        Command::Keyring { command } => match command {
            KeyringCommand::Export { server } => Some(Deed::new(Act::KeyringExport, server)),
            KeyringCommand::Rotate { kind } => {
                let kind = kind.map_or_else(|| "all".to_owned(), |kind| kind.to_string());
                Some(Deed::new(Act::KeyringRotate, kind))
            }
            KeyringCommand::Retire { key } => {
                let key = key.as_deref().unwrap_or("all");
                Some(Deed::new(Act::KeyringRetire, key))
            }
            KeyringCommand::Init => None,
        },
        Command::Admin {
            command:
                AdminCommand::Key {
                    command: AdminKeyCommand::Revoke { id },
                },
        } => revocation(Act::AdminKeyRevoke, id),
        Command::Export { file } => Some(Deed::new(Act::Export, file.display())),
        Command::Backup { file }
        | Command::Store {
            command: StoreCommand::Backup { file },
        } => Some(Deed::new(Act::StoreBackup, file.display())),
        _ => None,
    }
}

fn user(command: &UserCommand) -> Option<Deed> {
    Some(match command {
        UserCommand::Add {
            name,
            email,
            description,
        } => Deed::new(Act::UserAdd, name).changing([
            ("email", email.is_some()),
            ("description", description.is_some()),
        ]),
        UserCommand::Update(update) => user_update(update),
        UserCommand::Disable { name } => Deed::new(Act::UserDisable, name),
        UserCommand::Enable { name } => Deed::new(Act::UserEnable, name),
        UserCommand::Delete { name, .. } => Deed::new(Act::UserDelete, name),
        UserCommand::List { .. } | UserCommand::Show { .. } => return None,
    })
}

fn user_update(update: &UserUpdate) -> Deed {
    let limits = limits(&update.limits);
    let deed = Deed::new(Act::UserUpdate, &update.name).changing([
        ("email", update.email.is_some()),
        ("description", update.description.is_some()),
        ("notes", update.notes.is_some()),
        ("metadata", update.metadata.is_some()),
        ("limits", !limits.is_empty()),
        ("acts_for", !update.acts_for.is_empty()),
        ("lost_groups", update.leave_lost_groups),
    ]);
    let deed = match limits.is_empty() {
        true => deed,
        false => deed.with("limits", limits),
    };
    deed.acting_for(pattern_list(&update.acts_for).as_deref())
}

/// The bounds that are named; null is as the configuration says.
fn limits(args: &LimitArgs) -> Map<String, Value> {
    let bounds = [
        ("rate", args.rate),
        ("burst", args.burst),
        ("daily", args.daily),
        ("concurrent", args.concurrent),
    ];
    let named = |(name, bound): (&str, Option<Bound>)| Some((name.to_owned(), bound?.0.into()));
    bounds.into_iter().filter_map(named).collect()
}

/// Patterns that are to be; of what is no pattern the command says so.
fn pattern_list(texts: &[String]) -> Option<Vec<Pattern>> {
    patterns(texts).ok().flatten()
}

/// Of what is no id the command says so; a key itself may stand there.
fn revocation(act: Act, id: &str) -> Option<Deed> {
    KeyId::parse(id).map(|id| Deed::revocation(act, &id))
}

fn group(command: &GroupCommand) -> Option<Deed> {
    Some(match command {
        GroupCommand::Add { name, description } => {
            Deed::new(Act::GroupAdd, name).changing([("description", description.is_some())])
        }
        GroupCommand::Join { name, users } => Deed::members(Act::GroupJoin, name, users),
        GroupCommand::Leave { name, users } => Deed::members(Act::GroupLeave, name, users),
        GroupCommand::Delete { name, .. } => Deed::new(Act::GroupDelete, name),
        GroupCommand::Secret { command } => match command {
            GroupSecretCommand::Set {
                group,
                server,
                profile,
                name,
                ..
            } => Deed::secret_set(&group.into(), server, profile, &secret_name(name)?),
            GroupSecretCommand::Delete {
                group,
                server,
                profile,
                name,
                ..
            } => {
                let name = secret_name_if_any(name.as_deref())?;
                Deed::secret_delete(&group.into(), server, profile, name.as_ref())
            }
            GroupSecretCommand::List { .. } => return None,
        },
        GroupCommand::List | GroupCommand::Show { .. } => return None,
    })
}

fn access(set: &AccessSet) -> Option<Deed> {
    let owner: Owner = match (&set.user, &set.group) {
        (Some(user), _) => user.into(),
        (None, Some(group)) => group.into(),
        (None, None) => return None,
    };
    let change = AccessChange {
        allowed_servers: pattern_list(&set.allow_server),
        blocked_servers: pattern_list(&set.block_server),
        allowed_tools: pattern_list(&set.allow_tool),
        blocked_tools: pattern_list(&set.block_tool),
    };
    Some(Deed::access(&owner, &change))
}

fn secret(command: &SecretCommand) -> Option<Deed> {
    Some(match command {
        SecretCommand::Set {
            user,
            server,
            profile,
            name,
            ..
        } => Deed::secret_set(&user.into(), server, profile, &secret_name(name)?),
        SecretCommand::Delete {
            user,
            server,
            profile,
            name,
            ..
        } => {
            let name = secret_name_if_any(name.as_deref())?;
            Deed::secret_delete(&user.into(), server, profile, name.as_ref())
        }
        SecretCommand::List { .. } => return None,
    })
}

/// Of what is no name the command says so; it may be the value itself.
fn secret_name(text: &str) -> Option<SecretName> {
    SecretName::parse(text).ok()
}

/// The inner `None` is no name.
#[allow(clippy::option_option, reason = "a wrong name is not the same as none")]
fn secret_name_if_any(text: Option<&str>) -> Option<Option<SecretName>> {
    match text {
        Some(text) => secret_name(text).map(Some),
        None => Some(None),
    }
}
