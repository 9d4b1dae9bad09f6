//! Proof that a request is allowed, and what is to be put into it.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::Door;
use crate::inject::{Environment, Plan, Planned, Request};
use crate::names::SecretName;
use crate::vault::SecretSet;

/// Proof that this request is allowed, and what is to be put into it. Made by [`super::Gate::admit`] only.
pub struct Grant<'d> {
    plan: Plan<'d>,
    version: u64,
    own: u64,
    merged: Vec<String>,
    shared: BTreeMap<String, Shared>,
}

/// A secret that goes into a request. Never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Its name.
    pub name: SecretName,
    /// The version of its set.
    pub version: u64,
    /// The group that shares it; none for the user's own.
    pub group: Option<String>,
}

/// Where a secret of a group comes from.
#[derive(Clone)]
struct Shared {
    version: u64,
    group: String,
}

/// All secrets of a user for a server, his own and those he shares.
pub(super) struct Unsealed {
    pub(super) secrets: SecretSet,
    /// Another number whenever anything in it is another, or in another order; a greater one when a set in it
    /// was written anew.
    version: u64,
    sets: u64,
    own: u64,
    shared: BTreeMap<String, Shared>,
}

impl Default for Unsealed {
    fn default() -> Self {
        Self {
            secrets: SecretSet::empty(),
            version: 0,
            sets: 0,
            own: 0,
            shared: BTreeMap::new(),
        }
    }
}

impl Unsealed {
    /// Adds a set. What is there already counts before what comes later.
    pub(super) fn add(&mut self, set: SecretSet, version: u64, group: Option<String>) {
        // Versions are moments of 51 bits, and there are at most 33 sets: the sum stays below 2^61. Each counts
        // by its place, for in another order another of two sets decides.
        self.sets += 1;
        self.version = self
            .version
            .saturating_add(version.saturating_mul(self.sets));
        let Some(group) = group else {
            (self.secrets, self.own) = (set, version);
            return;
        };
        let new = set.names().filter(|name| !self.secrets.has(name));
        self.shared.extend(new.map(|name| {
            let group = group.clone();
            (name.to_owned(), Shared { version, group })
        }));
        self.secrets = self.secrets.or(&set);
    }
}

impl<'d> Grant<'d> {
    pub(super) fn new(plan: Plan<'d>, door: &Door, unsealed: &Unsealed) -> Self {
        let merged = door.slots.merges_all();
        let names = || unsealed.secrets.names().map(str::to_owned).collect();
        Self {
            plan,
            version: unsealed.version,
            own: unsealed.own,
            merged: if merged { names() } else { Vec::new() },
            shared: unsealed.shared.clone(),
        }
    }

    /// The version of the secrets in the plan, all together; 0 when the request needs none. Any change of
    /// any of them makes it another.
    #[must_use]
    pub fn secret_version(&self) -> u64 {
        self.version
    }

    /// The secrets that `request`, which this was granted to, gets.
    #[must_use]
    pub fn used(&self, door: &Door, request: &Request<'_>) -> Vec<Used> {
        let declared = door.slots.secrets_of(request).into_iter().cloned();
        let calls = !request.tools.is_empty();
        let merged = self.merged.iter().filter(|_| calls);
        let merged = merged.filter_map(|name| SecretName::parse(name).ok());
        let used = |name: SecretName| {
            let shared = self.shared.get(name.as_str());
            Used {
                version: shared.map_or(self.own, |shared| shared.version),
                group: shared.map(|shared| shared.group.clone()),
                name,
            }
        };
        // Of what may go without its secrets, some may not be there.
        let known = |used: &Used| used.version > 0;
        declared.chain(merged).map(used).filter(known).collect()
    }

    /// The arguments that are the user's secrets under their own names, to be hidden from tool lists
    /// besides the declared ones.
    #[must_use]
    pub fn merged(&self) -> &[String] {
        &self.merged
    }

    /// The arguments to be set in a call of `tool`.
    pub fn arguments<'a>(&'a self, tool: &'a str) -> impl Iterator<Item = &'a Planned<'a>> {
        self.plan.arguments(tool)
    }

    /// Puts the headers of the plan into `headers`.
    pub fn apply(&mut self, headers: &mut HeaderMap) {
        self.plan.apply(headers);
    }

    /// The query to be appended to the backend's; empty when there is none. It holds secrets.
    #[must_use]
    pub fn expose_query(&self) -> &str {
        self.plan.expose_query()
    }

    /// What the child process of this user is to be started with.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        self.plan.environment()
    }
}
