//! What an import changes about a user who is there: what he lacks is added, and whatever either side denies
//! (what it blocks, that he is disabled, that a key is revoked) is denied. His limits stay, and nobody comes to act
//! for others by a merge.

use crate::names::Pattern;
use crate::vault::{Access, AccessChange, User, UserChange, UserRecord, Vault, VaultError};

use super::draft::Draft;

/// Which lists of what is allowed only narrow what he may do when they begin: nobody has one for him yet, and
/// without one everything is allowed.
#[derive(Clone, Copy)]
pub(super) struct Narrows {
    servers: bool,
    tools: bool,
}

impl Narrows {
    /// Nothing is known to narrow.
    pub(super) const NEITHER: Self = Self {
        servers: false,
        tools: false,
    };

    /// As things are for a user and his groups; `all`: whether without a list every server is allowed.
    pub(super) async fn of(vault: &Vault, user: &User, all: bool) -> Result<Self, VaultError> {
        let groups = vault.groups_of(user).await?;
        // What one allows that is not found, nobody knows.
        if groups.len() < user.record.groups.len() {
            return Ok(Self::NEITHER);
        }
        let mut lists = groups.values().map(|group| &group.record.access);
        let tools = lists.clone().all(|access| access.allowed_tools.is_empty());
        Ok(Self {
            servers: all && lists.all(|access| access.allowed_servers.is_empty()),
            tools,
        })
    }
}

/// What is to be different about a user with `old`.
pub(super) fn change(draft: &Draft, old: &UserRecord, narrows: Narrows) -> UserChange {
    let new = &draft.user;
    let text = |new: &Option<String>, old: &Option<String>| {
        let lacks = old.is_none() && new.is_some();
        lacks.then(|| new.clone())
    };
    let mut metadata = old.metadata.clone();
    for (name, value) in &new.metadata {
        if !metadata.contains_key(name) {
            metadata.insert(name.clone(), value.clone());
        }
    }
    let access = access(&new.access, &old.access, narrows);
    UserChange {
        email: text(&new.email, &old.email),
        description: text(&new.description, &old.description),
        notes: text(&new.notes, &old.notes),
        metadata: (metadata != old.metadata).then_some(metadata),
        access: (!access.is_empty()).then_some(access),
        limits: None,
        acts_for: None,
        disabled: (new.disabled && !old.disabled).then_some(true),
    }
}

fn access(new: &Access, old: &Access, narrows: Narrows) -> AccessChange {
    let allowed = |new: &[Pattern], old: &[Pattern], narrows: bool| {
        (narrows && old.is_empty() && !new.is_empty()).then(|| new.to_vec())
    };
    AccessChange {
        allowed_servers: allowed(&new.allowed_servers, &old.allowed_servers, narrows.servers),
        blocked_servers: both(&new.blocked_servers, &old.blocked_servers),
        allowed_tools: allowed(&new.allowed_tools, &old.allowed_tools, narrows.tools),
        blocked_tools: both(&new.blocked_tools, &old.blocked_tools),
    }
}

/// The old list and what the new one adds, if anything.
fn both(new: &[Pattern], old: &[Pattern]) -> Option<Vec<Pattern>> {
    let added = new.iter().filter(|pattern| !old.contains(pattern));
    let all: Vec<_> = old.iter().chain(added).cloned().collect();
    (all.len() > old.len()).then_some(all)
}

/// What stays as it is although the file says something else, and somebody may wonder.
pub(super) fn kept(draft: &Draft, old: &UserRecord, narrows: Narrows) -> Vec<String> {
    let (new, now) = (&draft.user.access, &old.access);
    let differs = |new: &[Pattern], old: &[Pattern], narrows: bool| {
        let taken = narrows && old.is_empty();
        let lacks = |a: &[Pattern], b: &[Pattern]| a.iter().any(|pattern| !b.contains(pattern));
        !new.is_empty() && !taken && (lacks(new, old) || lacks(old, new))
    };
    let all = [
        (
            differs(&new.allowed_servers, &now.allowed_servers, narrows.servers),
            "allowed_servers",
        ),
        (
            differs(&new.allowed_tools, &now.allowed_tools, narrows.tools),
            "allowed_tools",
        ),
        (
            !draft.user.limits.is_none() && draft.user.limits != old.limits,
            "limits",
        ),
        (
            draft.acts_for.iter().any(|who| !old.acts_for.contains(who)),
            "acts_for",
        ),
        (old.disabled && !draft.user.disabled, "disabled"),
    ];
    let kept = all.into_iter().filter(|(is, _)| *is);
    kept.map(|(_, name)| name.to_owned()).collect()
}

/// The names of what is changed.
pub(super) fn fields(change: &UserChange) -> Vec<&'static str> {
    let all = [
        (change.email.is_some(), "email"),
        (change.description.is_some(), "description"),
        (change.notes.is_some(), "notes"),
        (change.metadata.is_some(), "metadata"),
        (change.access.is_some(), "access"),
        (change.disabled.is_some(), "disabled"),
    ];
    all.into_iter()
        .filter_map(|(is, name)| is.then_some(name))
        .collect()
}
