//! What is to be done for one user.

use std::collections::BTreeSet;

use serde::Serialize;

use super::draft::{Draft, Refusal};
use super::merge::{self, Narrows};
use crate::identity::KeyId;
use crate::names::GroupName;
use crate::vault::{
    GROUPS_MAX, KeyInfo, KeyRequest, SECRETS_MAX, User, UserChange, Vault, VaultError, now_seconds,
};

/// What becomes of users who are there already.
#[derive(Clone, Copy, Default)]
pub struct How {
    /// What they lack is added; they are refused otherwise.
    pub merge: bool,
    /// Secrets they have are replaced.
    pub overwrite_secrets: bool,
    /// Whether one for whom no list allows a server may use every one.
    pub allows_all: bool,
}

/// Which groups users may be put into.
pub enum Groups {
    /// Those that are there: whoever wrote the file knows them.
    Here,
    /// Those that came with the file and were not refused. One that is only called the same may share other
    /// secrets.
    Brought(BTreeSet<GroupName>),
}

/// What is to be done for one user.
pub struct Plan {
    /// What is to be added, and nothing that is there.
    pub(super) draft: Draft,
    pub(super) existing: Option<Existing>,
    summary: Summary,
}

/// One who is there already.
pub(super) struct Existing {
    pub(super) user: User,
    pub(super) narrows: Narrows,
    /// Keys that are to be revoked.
    pub(super) revoked: Vec<KeyId>,
}

/// What is done for one user, in names.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// `added`, `merged` or `unchanged`.
    pub result: &'static str,
    /// Ids of the keys that go on working.
    pub keys: Vec<String>,
    /// Secrets that are set: `SERVER.NAME`, and the profile unless it is the usual one.
    pub secrets: Vec<String>,
    /// What was there and stays as it is: secrets, revoked keys, lists of what is allowed, being disabled.
    pub kept: Vec<String>,
    /// Groups that are joined.
    pub groups: Vec<String>,
    /// What else is changed about one who was there.
    pub fields: Vec<&'static str>,
    /// Ids of his keys that are revoked, because they are in the file.
    pub revoked: Vec<String>,
    /// Whether a key is made.
    pub issues: bool,
}

/// Finds out what is to be done; changes nothing.
///
/// # Errors
/// What stands against it.
pub async fn plan(
    vault: &Vault,
    mut draft: Draft,
    how: How,
    groups: &Groups,
) -> Result<Plan, Refusal> {
    draft.user.check(&draft.name)?;
    let found = match vault.user(&draft.name).await {
        Ok(user) if how.merge => Some(user),
        Ok(_) => {
            let why = VaultError::UserExists(draft.name.clone());
            return Err(Refusal::new(format!(
                "{why}: add --merge to add what is missing"
            )));
        }
        Err(VaultError::NoUser(_)) => None,
        Err(error) => return Err(error.into()),
    };
    check_email(vault, &draft, found.as_ref()).await?;
    let mut kept = Vec::new();
    let revoked = check_keys(vault, &mut draft, found.as_ref(), &mut kept).await?;
    check_groups(vault, &mut draft, found.as_ref(), groups).await?;
    check_secrets(vault, &mut draft, found.as_ref(), how, &mut kept).await?;
    let mut change = UserChange::default();
    let mut existing = None;
    if let Some(user) = found {
        if let Some(request) = &draft.issue
            && vault
                .keys(&draft.name)
                .await?
                .iter()
                .any(|key| answers(key, request))
        {
            draft.issue = None;
        }
        let narrows = Narrows::of(vault, &user, how.allows_all).await?;
        change = merge::change(&draft, &user.record, narrows);
        change.tried(&user.record)?;
        kept.extend(merge::kept(&draft, &user.record, narrows));
        existing = Some(Existing {
            user,
            narrows,
            revoked,
        });
    }
    let summary = summary(&draft, existing.as_ref(), &change, kept);
    Ok(Plan {
        draft,
        existing,
        summary,
    })
}

impl Plan {
    /// What is to be done, in names.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }
}

async fn check_email(vault: &Vault, draft: &Draft, existing: Option<&User>) -> Result<(), Refusal> {
    let Some(email) = &draft.user.email else {
        return Ok(());
    };
    match vault.user_with_email(email).await {
        Ok(other) if existing.is_none_or(|user| user.id != other.id) => {
            Err(VaultError::EmailTaken(email.clone()).into())
        }
        Ok(_) | Err(VaultError::NoUser(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Leaves the keys that are not the user's yet; the ids of his that are to be revoked.
async fn check_keys(
    vault: &Vault,
    draft: &mut Draft,
    existing: Option<&User>,
    kept: &mut Vec<String>,
) -> Result<Vec<KeyId>, Refusal> {
    let (mut missing, mut revoked) = (Vec::new(), Vec::new());
    for key in draft.keys.drain(..) {
        let id: KeyId = key.digest.key_id();
        match vault.key(&id).await {
            Err(VaultError::NoKey(_)) => missing.push(key),
            Ok(found) if existing.is_some_and(|user| user.id == found.record.user) => {
                match (key.revoked, found.record.revoked) {
                    (Some(_), None) => revoked.push(id),
                    (None, Some(_)) => kept.push(format!("revoked key {id}")),
                    _ => {}
                }
            }
            Ok(_) => {
                return Err(Refusal::new(format!(
                    "the key `{id}` is another user's here already"
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
    draft.keys = missing;
    Ok(revoked)
}

/// Leaves the groups the user is not in yet.
async fn check_groups(
    vault: &Vault,
    draft: &mut Draft,
    existing: Option<&User>,
    groups: &Groups,
) -> Result<(), Refusal> {
    let mut missing = Vec::new();
    for name in draft.groups.drain(..) {
        let is_coming = match groups {
            Groups::Here => false,
            Groups::Brought(brought) if brought.contains(&name) => true,
            Groups::Brought(_) => {
                return Err(Refusal::new(format!(
                    "his group `{name}` was refused, or is not in the file before him: see its row"
                )));
            }
        };
        match vault.group(&name).await {
            Ok(group) if existing.is_some_and(|user| user.record.groups.contains(&group.id)) => {}
            Err(VaultError::NoGroup(_)) if is_coming => missing.push(name),
            Ok(_) => missing.push(name),
            Err(error) => return Err(error.into()),
        }
    }
    let there = existing.map_or(0, |user| user.record.groups.len());
    if there + missing.iter().collect::<BTreeSet<_>>().len() > GROUPS_MAX {
        return Err(VaultError::TooManyGroups.into());
    }
    draft.groups = missing;
    Ok(())
}

/// Leaves the secrets to be set.
async fn check_secrets(
    vault: &Vault,
    draft: &mut Draft,
    existing: Option<&User>,
    how: How,
    kept: &mut Vec<String>,
) -> Result<(), Refusal> {
    for set in &draft.sets {
        if !vault.covers(&set.server) {
            return Err(VaultError::NoServerKey(set.server.clone()).into());
        }
    }
    let there = match existing {
        Some(_) if !draft.sets.is_empty() => vault.secrets(&draft.name).await?,
        _ => Vec::new(),
    };
    for set in &mut draft.sets {
        let (server, profile) = (set.server.as_str(), set.profile.as_str());
        let mut names: BTreeSet<_> = there
            .iter()
            .filter(|old| old.server == server && old.profile == profile)
            .map(|old| old.name.as_str())
            .collect();
        names.extend(set.values.iter().map(|(name, _)| name.as_str()));
        if names.len() > SECRETS_MAX {
            return Err(VaultError::TooManySecrets.into());
        }
        if how.overwrite_secrets {
            continue;
        }
        set.values.retain(|(name, _)| {
            let is_there = there.iter().any(|old| {
                old.server == server && old.profile == profile && old.name == name.as_str()
            });
            if is_there {
                kept.push(secret(server, profile, name.as_str()));
            }
            !is_there
        });
    }
    draft.sets.retain(|set| !set.values.is_empty());
    Ok(())
}

/// Whether a user has the key already that is to be made: a usable one of the same name.
fn answers(key: &KeyInfo, request: &KeyRequest) -> bool {
    let record = &key.record;
    let is_usable = record.revoked.is_none() && record.expires.is_none_or(|at| at > now_seconds());
    is_usable && record.name == request.name
}

fn summary(
    draft: &Draft,
    existing: Option<&Existing>,
    change: &UserChange,
    kept: Vec<String>,
) -> Summary {
    let keys: Vec<_> = draft
        .keys
        .iter()
        .map(|k| k.digest.key_id().to_string())
        .collect();
    let secrets: Vec<_> = draft
        .sets
        .iter()
        .flat_map(|set| {
            let of = |name: &str| secret(set.server.as_str(), set.profile.as_str(), name);
            set.values.iter().map(move |(name, _)| of(name.as_str()))
        })
        .collect();
    let groups: Vec<_> = draft.groups.iter().map(ToString::to_string).collect();
    let fields = merge::fields(change);
    let revoked = existing.iter().flat_map(|existing| &existing.revoked);
    let revoked: Vec<_> = revoked.map(ToString::to_string).collect();
    let issues = draft.issue.is_some();
    let names = [&keys, &secrets, &groups, &revoked];
    let idle = names.iter().all(|names| names.is_empty()) && fields.is_empty();
    let result = match (existing.is_some(), idle && !issues) {
        (false, _) => "added",
        (true, true) => "unchanged",
        (true, false) => "merged",
    };
    Summary {
        result,
        keys,
        secrets,
        kept,
        groups,
        fields,
        revoked,
        issues,
    }
}

fn secret(server: &str, profile: &str, name: &str) -> String {
    match profile {
        crate::names::ProfileName::DEFAULT => format!("{server}.{name}"),
        profile => format!("{server}.{name} (profile {profile})"),
    }
}
