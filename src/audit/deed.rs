//! An act from its beginning to its end, with the same facts whoever does it, and by whichever way.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::act::Act;
use super::event::{Actor, Admin, Outcome};
use super::record::Record;
use super::trail::{Trail, Unrecorded};
use crate::identity::KeyId;
use crate::names::{Pattern, ProfileName, SecretName, ServerName, UserName};
use crate::vault::{AccessChange, KeyRequest, Owner, Role};

/// What the facts of an act call the key that was issued or revoked.
const KEY: &str = "key";

/// An act and what is to be known of it: no secret, no key.
#[derive(Debug, Clone)]
pub struct Deed {
    act: Act,
    target: String,
    facts: Map<String, Value>,
    impersonation: bool,
}

impl Deed {
    /// An act on whom or what it is done to.
    #[must_use]
    pub fn new(act: Act, target: impl ToString) -> Self {
        Self {
            act,
            target: target.to_string(),
            facts: Map::new(),
            impersonation: false,
        }
    }

    /// A key for a user. Whoever makes it can call as that user: administrators are none of the users,
    /// whatever their keys are called.
    #[must_use]
    pub fn key_issue(user: &UserName, request: &KeyRequest) -> Self {
        let profile = request.profile.as_ref();
        Self::new(Act::KeyIssue, user)
            .impersonating(true)
            .with("key_name", request.name.clone())
            .with("profile", profile.map(ProfileName::as_str))
            .with("limits", json!(request.limits))
            .living(request.ttl)
    }

    /// A key for an administrator.
    #[must_use]
    pub fn admin_key_issue(holder: &UserName, role: Role, ttl: Option<Duration>) -> Self {
        Self::new(Act::AdminKeyIssue, holder)
            .with("role", role.as_str())
            .living(ttl)
    }

    fn living(self, ttl: Option<Duration>) -> Self {
        self.with("ttl_seconds", ttl.map(|ttl| ttl.as_secs()))
    }

    /// The revocation of a key.
    #[must_use]
    pub fn revocation(act: Act, id: &KeyId) -> Self {
        Self::new(act, id).with(KEY, id.as_str())
    }

    /// A secret that is set.
    #[must_use]
    pub fn secret_set(
        owner: &Owner,
        server: &ServerName,
        profile: &ProfileName,
        name: &SecretName,
    ) -> Self {
        let act = match owner {
            Owner::User(_) => Act::SecretSet,
            Owner::Group(_) => Act::GroupSecretSet,
        };
        Self::new(act, owner.name()).on_secret(server, profile, Some(name))
    }

    /// A secret that is deleted; without a name, all for the server in the profile.
    #[must_use]
    pub fn secret_delete(
        owner: &Owner,
        server: &ServerName,
        profile: &ProfileName,
        name: Option<&SecretName>,
    ) -> Self {
        let act = match owner {
            Owner::User(_) => Act::SecretDelete,
            Owner::Group(_) => Act::GroupSecretDelete,
        };
        Self::new(act, owner.name()).on_secret(server, profile, name)
    }

    fn on_secret(
        self,
        server: &ServerName,
        profile: &ProfileName,
        name: Option<&SecretName>,
    ) -> Self {
        self.with("server", server.as_str())
            .with("profile", profile.as_str())
            .with("name", name.map(SecretName::as_str))
    }

    /// Lists of patterns that take the place of those there are.
    #[must_use]
    pub fn access(owner: &Owner, change: &AccessChange) -> Self {
        let target = match owner {
            Owner::User(name) => name.to_string(),
            Owner::Group(name) => format!("group:{name}"),
        };
        let lists = [
            ("allowed_servers", &change.allowed_servers),
            ("blocked_servers", &change.blocked_servers),
            ("allowed_tools", &change.allowed_tools),
            ("blocked_tools", &change.blocked_tools),
        ];
        let deed = Self::new(Act::AccessSet, target);
        let deed = deed.changing(lists.map(|(name, list)| (name, list.is_some())));
        lists
            .into_iter()
            .fold(deed, |deed, (name, list)| match list {
                Some(list) => deed.with(name, texts(list)),
                None => deed,
            })
    }

    /// Users who come into a group, or leave it.
    #[must_use]
    pub fn members(act: Act, group: impl ToString, users: &[UserName]) -> Self {
        let users: Vec<_> = users.iter().map(UserName::as_str).collect();
        Self::new(act, group).with("users", users)
    }

    /// With a fact.
    #[must_use]
    pub fn with(mut self, name: &'static str, fact: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), fact.into());
        self
    }

    /// With the names of the fields that are given, out of all there are; never what they hold.
    #[must_use]
    pub fn changing<const N: usize>(self, fields: [(&'static str, bool); N]) -> Self {
        let given = fields.iter().filter(|(_, is_given)| *is_given);
        let names: Vec<_> = given.map(|(name, _)| *name).collect();
        self.with("changed", names)
    }

    /// With the patterns of users in whose name a user shall call tools, if they change.
    #[must_use]
    pub fn acting_for(self, patterns: Option<&[Pattern]>) -> Self {
        match patterns {
            Some(patterns) => self
                .impersonating(!patterns.is_empty())
                .with("acts_for", texts(patterns)),
            None => self,
        }
    }

    /// Whether its doer, or whom he gives it, can pass for somebody else by it.
    #[must_use]
    pub fn impersonating(self, impersonation: bool) -> Self {
        Self {
            impersonation,
            ..self
        }
    }

    fn event(&self, request: u64, doer: &Doer, outcome: Outcome) -> Record {
        Record::from(Admin {
            request,
            actor: doer.actor.clone(),
            act: self.act,
            target: self.target.clone().into(),
            detail: json!(self.facts).into(),
            impersonation: self.impersonation,
            outcome,
            address: doer.address,
        })
    }
}

fn texts(patterns: &[Pattern]) -> Vec<&str> {
    patterns.iter().map(Pattern::as_str).collect()
}

/// Who does something, and from where.
#[derive(Debug, Clone)]
pub struct Doer {
    /// Who.
    pub actor: Actor,
    /// From where, if it came over the network.
    pub address: Option<IpAddr>,
}

/// An act that began. Dropped before it ended, it counts as failed.
pub struct Doing {
    trail: Trail,
    number: u64,
    doer: Doer,
    deed: Deed,
    is_ended: bool,
}

impl Doing {
    /// What is known only since it was done.
    pub fn learn(&mut self, name: &'static str, fact: impl Into<Value>) {
        self.deed.facts.insert(name.to_owned(), fact.into());
    }

    /// The key that was issued.
    pub fn learn_key(&mut self, id: &KeyId) {
        self.learn(KEY, id.as_str());
    }

    /// Records what came of it. Where nothing may happen unrecorded this waits as [`Trail::begin`] does; what
    /// cannot be recorded then is counted as lost, for it is done.
    pub async fn end(mut self, outcome: Outcome) {
        let event = self.close(outcome);
        if self.trail.is_required() {
            let _ = self.trail.record(event).await;
        } else {
            self.trail.note(&event);
        }
    }

    fn close(&mut self, outcome: Outcome) -> Record {
        self.is_ended = true;
        self.deed.event(self.number, &self.doer, outcome)
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        if !self.is_ended {
            let event = self.close(Outcome::Failed);
            self.trail.note(&event);
        }
    }
}

impl Trail {
    /// Records that an act begins. Where nothing may happen unrecorded this waits until it is recorded;
    /// elsewhere what finds no room is counted as lost, as it is at the end of every act.
    ///
    /// # Errors
    /// It cannot be recorded, and is not to be done.
    pub async fn begin(&self, doer: Doer, deed: Deed) -> Result<Doing, Unrecorded> {
        let number = self.next_request();
        let event = deed.event(number, &doer, Outcome::Begun);
        if self.is_required() {
            self.record(event).await?;
        } else {
            self.note(&event);
        }
        Ok(Doing {
            trail: self.clone(),
            number,
            doer,
            deed,
            is_ended: false,
        })
    }

    /// Records that somebody may not do it: one record, for it never began.
    pub fn refuse(&self, doer: &Doer, deed: &Deed) {
        self.note(&deed.event(self.next_request(), doer, Outcome::Refused));
    }
}
