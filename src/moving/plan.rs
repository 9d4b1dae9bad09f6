//! What is to be done for one user, and doing it: all of it, or nothing.

use std::collections::BTreeSet;

use serde::Serialize;

use super::draft::{Draft, Refusal};
use crate::identity::KeyId;
use crate::names::{GroupName, UserName};
use crate::vault::{
    AccessChange, IssuedKey, KeyInfo, KeyRequest, User, UserChange, Vault, VaultError, now_seconds,
};

/// What becomes of users who are there already.
#[derive(Clone, Copy, Default)]
pub struct How {
    /// What they lack is added; they are refused otherwise.
    pub merge: bool,
    /// Secrets they have are replaced.
    pub overwrite_secrets: bool,
}

/// Groups that are not there yet, but will be before the user is.
pub type Coming = BTreeSet<GroupName>;

/// What is to be done for one user.
pub struct Plan {
    /// What is to be added, and nothing that is there.
    draft: Draft,
    existing: Option<User>,
    change: Option<UserChange>,
    summary: Summary,
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
    /// Secrets that were there and stay as they are.
    pub kept: Vec<String>,
    /// Groups that are joined.
    pub groups: Vec<String>,
    /// What else is added to one who was there.
    pub fields: Vec<&'static str>,
    /// Whether a key is made.
    pub issues: bool,
}

/// What was done.
pub struct Done {
    name: UserName,
    is_new: bool,
    /// The key that was made.
    pub issued: Option<IssuedKey>,
}

/// Finds out what is to be done; changes nothing.
///
/// # Errors
/// What stands against it.
pub async fn plan(
    vault: &Vault,
    mut draft: Draft,
    how: How,
    coming: &Coming,
) -> Result<Plan, Refusal> {
    draft.user.check(&draft.name)?;
    let existing = match vault.user(&draft.name).await {
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
    check_email(vault, &draft, existing.as_ref()).await?;
    check_keys(vault, &mut draft, existing.as_ref()).await?;
    check_groups(vault, &mut draft, existing.as_ref(), coming).await?;
    let kept = check_secrets(vault, &mut draft, existing.as_ref(), how).await?;
    if let (Some(request), Some(_)) = (&draft.issue, &existing) {
        let keys = vault.keys(&draft.name).await?;
        if keys.iter().any(|key| answers(key, request)) {
            draft.issue = None;
        }
    }
    let change = existing.as_ref().and_then(|user| change(&draft, user));
    let summary = summary(&draft, existing.is_some(), change.as_ref(), kept);
    Ok(Plan {
        draft,
        existing,
        change,
        summary,
    })
}

impl Plan {
    /// What is to be done, in names.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Does it. Where it fails, a user who was made for it is taken back; of one who was there what was added
    /// stays, and another run goes on.
    ///
    /// # Errors
    /// What went wrong, and what is left.
    pub async fn carry_out(self, vault: &Vault) -> Result<Done, Refusal> {
        let mut done = Done {
            name: self.draft.name.clone(),
            is_new: self.existing.is_none(),
            issued: None,
        };
        let Self {
            draft,
            existing,
            change,
            ..
        } = self;
        let user = match existing {
            Some(user) => user,
            None => vault.add_user(&draft.name, draft.user.clone()).await?,
        };
        match fill(vault, &user, draft, change).await {
            Ok(issued) => {
                done.issued = issued;
                Ok(done)
            }
            Err(error) if done.is_new => Err(done.take_back(vault, error.into()).await),
            Err(error) => Err(Refusal::new(format!(
                "{error}; what was added until then stays: run the same import again"
            ))),
        }
    }
}

impl Done {
    /// Undoes it, because of `why`: deletes a new user, revokes a new key.
    pub async fn take_back(self, vault: &Vault, why: Refusal) -> Refusal {
        let undone = match (self.is_new, &self.issued) {
            (true, _) => vault.delete_user(&self.name).await,
            (false, Some(key)) => vault.revoke_key(&key.id).await.map(drop),
            (false, None) => Ok(()),
        };
        match undone {
            Ok(()) => why,
            Err(error) => Refusal::new(format!(
                "{why}; and it could not be undone ({error}): cloakroom user delete {}",
                self.name
            )),
        }
    }
}

async fn fill(
    vault: &Vault,
    user: &User,
    draft: Draft,
    change: Option<UserChange>,
) -> Result<Option<IssuedKey>, VaultError> {
    // Keys first: that one is somebody else's is what goes wrong most easily.
    for key in &draft.keys {
        vault.adopt_key(user, key).await?;
    }
    for set in &draft.sets {
        let owner = &draft.name;
        vault
            .set_secrets(owner, &set.server, &set.profile, &set.values)
            .await?;
    }
    for group in &draft.groups {
        vault.add_member(group, &draft.name).await?;
    }
    let for_new = (!draft.acts_for.is_empty()).then(|| UserChange {
        acts_for: Some(draft.acts_for.clone()),
        ..UserChange::default()
    });
    if let Some(change) = change.or(for_new) {
        vault.update_user(&draft.name, &change).await?;
    }
    match draft.issue {
        Some(request) => vault.issue_key(&draft.name, request).await.map(Some),
        None => Ok(None),
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

/// Leaves the keys that are not the user's yet.
async fn check_keys(
    vault: &Vault,
    draft: &mut Draft,
    existing: Option<&User>,
) -> Result<(), Refusal> {
    let mut missing = Vec::new();
    for key in draft.keys.drain(..) {
        let id: KeyId = key.digest.key_id();
        match vault.key(&id).await {
            Err(VaultError::NoKey(_)) => missing.push(key),
            Ok(found) if existing.is_some_and(|user| user.id == found.record.user) => {}
            Ok(_) => {
                return Err(Refusal::new(format!(
                    "the key `{id}` is another user's here already"
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
    draft.keys = missing;
    Ok(())
}

/// Leaves the groups the user is not in yet.
async fn check_groups(
    vault: &Vault,
    draft: &mut Draft,
    existing: Option<&User>,
    coming: &Coming,
) -> Result<(), Refusal> {
    let mut missing = Vec::new();
    for name in draft.groups.drain(..) {
        match vault.group(&name).await {
            Ok(group) if existing.is_some_and(|user| user.record.groups.contains(&group.id)) => {}
            Err(VaultError::NoGroup(_)) if coming.contains(&name) => missing.push(name),
            Ok(_) => missing.push(name),
            Err(error) => return Err(error.into()),
        }
    }
    draft.groups = missing;
    Ok(())
}

/// Leaves the secrets to be set; the names of those that stay as they are.
async fn check_secrets(
    vault: &Vault,
    draft: &mut Draft,
    existing: Option<&User>,
    how: How,
) -> Result<Vec<String>, Refusal> {
    for set in &draft.sets {
        if !vault.covers(&set.server) {
            return Err(VaultError::NoServerKey(set.server.clone()).into());
        }
    }
    if existing.is_none() || how.overwrite_secrets || draft.sets.is_empty() {
        return Ok(Vec::new());
    }
    let there = vault.secrets(&draft.name).await?;
    let mut kept = Vec::new();
    for set in &mut draft.sets {
        let (server, profile) = (set.server.as_str(), set.profile.as_str());
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
    Ok(kept)
}

/// Whether a user has the key already that is to be made: a usable one of the same name.
fn answers(key: &KeyInfo, request: &KeyRequest) -> bool {
    let record = &key.record;
    let is_usable = record.revoked.is_none() && record.expires.is_none_or(|at| at > now_seconds());
    is_usable && record.name == request.name
}

/// What a user who is there lacks. What he has stays.
fn change(draft: &Draft, user: &User) -> Option<UserChange> {
    let (new, old) = (&draft.user, &user.record);
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
    let change = UserChange {
        email: text(&new.email, &old.email),
        description: text(&new.description, &old.description),
        notes: text(&new.notes, &old.notes),
        metadata: (metadata != old.metadata).then_some(metadata),
        access: (old.access.is_empty() && !new.access.is_empty()).then(|| AccessChange {
            allowed_servers: Some(new.access.allowed_servers.clone()),
            blocked_servers: Some(new.access.blocked_servers.clone()),
            allowed_tools: Some(new.access.allowed_tools.clone()),
            blocked_tools: Some(new.access.blocked_tools.clone()),
        }),
        limits: (old.limits.is_none() && !new.limits.is_none()).then_some(new.limits),
        acts_for: (old.acts_for.is_empty() && !draft.acts_for.is_empty())
            .then(|| draft.acts_for.clone()),
        disabled: None,
    };
    (!fields(&change).is_empty()).then_some(change)
}

fn fields(change: &UserChange) -> Vec<&'static str> {
    let all = [
        (change.email.is_some(), "email"),
        (change.description.is_some(), "description"),
        (change.notes.is_some(), "notes"),
        (change.metadata.is_some(), "metadata"),
        (change.access.is_some(), "access"),
        (change.limits.is_some(), "limits"),
        (change.acts_for.is_some(), "acts_for"),
    ];
    all.into_iter()
        .filter_map(|(is, name)| is.then_some(name))
        .collect()
}

fn summary(draft: &Draft, exists: bool, change: Option<&UserChange>, kept: Vec<String>) -> Summary {
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
    let fields = change.map(fields).unwrap_or_default();
    let issues = draft.issue.is_some();
    let idle = keys.is_empty() && secrets.is_empty() && groups.is_empty() && fields.is_empty();
    let result = match (exists, idle && !issues) {
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
        issues,
    }
}

fn secret(server: &str, profile: &str, name: &str) -> String {
    match profile {
        crate::names::ProfileName::DEFAULT => format!("{server}.{name}"),
        profile => format!("{server}.{name} (profile {profile})"),
    }
}
