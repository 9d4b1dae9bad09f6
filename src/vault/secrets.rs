//! Secrets of users and groups: set, list, delete. No value comes out here: `portable` alone gives them out, for
//! `export` to seal them again, besides the proxy that puts them into requests.

use super::envelope::{SecretOpener, seal_secrets};
use super::record::{SecretRef, SecretSets};
use super::secret::{SECRETS_MAX, SecretSet, SecretValue};
use super::{ATTEMPTS, Owner, OwnerId, Vault, VaultError, next_version, opened, wrote};
use crate::names::{GroupName, ProfileName, SecretName, ServerName, UserName};
use crate::store::RecordId;

/// A secret without its value.
pub struct SecretInfo {
    /// Server it is for.
    pub server: String,
    /// Profile it is in.
    pub profile: String,
    /// Its name.
    pub name: String,
    /// Version of its set; unix microseconds of the last change.
    pub version: u64,
    /// Whether HTTP lets a header carry it as it is.
    pub fits_header: bool,
    /// The group that shares it; none for one of the user or group asked about.
    pub group: Option<String>,
}

/// Where a set is, and what is listed there.
struct Place<'a> {
    owner: &'a Owner,
    found: (OwnerId, SecretSets),
    server: &'a ServerName,
    profile: &'a ProfileName,
}

impl Vault {
    /// Sets a secret.
    ///
    /// # Errors
    /// When there is no such user or group, the keyring has no key for the server, or nothing could be
    /// written.
    pub async fn set_secret(
        &self,
        owner: impl Into<Owner>,
        server: &ServerName,
        profile: &ProfileName,
        name: &SecretName,
        value: &SecretValue,
    ) -> Result<(), VaultError> {
        let change = |set: &SecretSet| Ok(set.with(name, Some(value)));
        self.change_secrets(&owner.into(), server, profile, &change)
            .await
    }

    /// Sets several secrets of one server and profile at once: all of them, or none, and only where `owner` still
    /// is the one with this id.
    ///
    /// # Errors
    /// Those of [`Vault::set_secret`].
    pub async fn set_secrets(
        &self,
        owner: impl Into<Owner>,
        is: impl Into<OwnerId>,
        server: &ServerName,
        profile: &ProfileName,
        values: &[(SecretName, SecretValue)],
    ) -> Result<(), VaultError> {
        let Some(((name, value), rest)) = values.split_first() else {
            return Ok(());
        };
        let change = |set: &SecretSet| {
            let first = set.with(name, Some(value));
            let with = |set: SecretSet, (name, value): &(_, _)| set.with(name, Some(value));
            Ok(rest.iter().fold(first, with))
        };
        let owner = owner.into();
        let found = self.sets_of(&owner).await?;
        if found.0 != is.into() {
            return Err(owner.is_gone());
        }
        self.change_found(&owner, found, server, profile, &change)
            .await
    }

    /// Deletes a secret.
    ///
    /// # Errors
    /// [`VaultError::NoSecret`], or what kept it from being written.
    pub async fn delete_secret(
        &self,
        owner: impl Into<Owner>,
        server: &ServerName,
        profile: &ProfileName,
        name: &SecretName,
    ) -> Result<(), VaultError> {
        let owner = owner.into();
        let change = |set: &SecretSet| match set.expose(name) {
            Some(_) => Ok(set.with(name, None)),
            None => Err(no_secret(&owner, server)),
        };
        self.change_secrets(&owner, server, profile, &change).await
    }

    /// The names of all secrets of a user or group, of every server this keyring can open.
    ///
    /// # Errors
    /// When there is no such user or group, or a record cannot be read.
    pub async fn secrets(&self, owner: impl Into<Owner>) -> Result<Vec<SecretInfo>, VaultError> {
        let (id, sets) = self.sets_of(&owner.into()).await?;
        let mut list = Vec::new();
        for entry in &sets.secrets {
            let Ok(server) = ServerName::parse(&entry.server) else {
                continue;
            };
            if !self.ring.covers(&server) {
                continue;
            }
            let place = self
                .reader
                .secrets_record(id, &entry.server, &entry.profile);
            let (set, version) = self.read_set(&server, &place).await?;
            list.extend(infos(&set, version.unwrap_or_default(), entry));
        }
        Ok(list)
    }

    /// The names of the secrets for one server in one profile, as a request would find them.
    ///
    /// # Errors
    /// What would stop the request: the set does not open, is gone or was put back; or the keyring
    /// has no key for the server.
    pub async fn secrets_for(
        &self,
        owner: impl Into<Owner>,
        server: &ServerName,
        profile: &ProfileName,
    ) -> Result<Vec<SecretInfo>, VaultError> {
        let owner = owner.into();
        let (id, sets) = self.sets_of(&owner).await?;
        let Some(entry) = sets.get(server.as_str(), profile.as_str()) else {
            return Ok(Vec::new());
        };
        let place = self
            .reader
            .secrets_record(id, server.as_str(), profile.as_str());
        match self.read_set(server, &place).await? {
            (set, Some(version)) if version >= entry.version => {
                Ok(infos(&set, version, entry).collect())
            }
            (_, Some(_)) => Err(put_back(&owner, server)),
            (_, None) => Err(VaultError::Gone {
                user: owner,
                server: server.clone(),
            }),
        }
    }

    /// The names of the secrets a request of a user would find for one server in one profile: his own, and
    /// those his groups share that he has not himself.
    ///
    /// # Errors
    /// Those of [`Vault::secrets_for`], also of a group's set, or of a group that is gone.
    pub async fn secrets_found(
        &self,
        user: &UserName,
        server: &ServerName,
        profile: &ProfileName,
    ) -> Result<Vec<SecretInfo>, VaultError> {
        let mut found = self.secrets_for(user, server, profile).await?;
        for id in self.user(user).await?.record.groups {
            let group = self.group_by_id(&id).await?.ok_or(VaultError::GroupGone)?;
            let name = GroupName::parse(&group.record.name).map_err(|_| VaultError::GroupGone)?;
            let shared = self.secrets_for(&name, server, profile).await?;
            let new = shared
                .into_iter()
                .filter(|one| found.iter().all(|own| own.name != one.name));
            let new: Vec<_> = new
                .map(|one| SecretInfo {
                    group: Some(name.to_string()),
                    ..one
                })
                .collect();
            found.extend(new);
        }
        Ok(found)
    }

    async fn change_secrets(
        &self,
        owner: &Owner,
        server: &ServerName,
        profile: &ProfileName,
        change: &(dyn Fn(&SecretSet) -> Result<SecretSet, VaultError> + Sync),
    ) -> Result<(), VaultError> {
        let found = self.sets_of(owner).await?;
        self.change_found(owner, found, server, profile, change)
            .await
    }

    async fn change_found(
        &self,
        owner: &Owner,
        found: (OwnerId, SecretSets),
        server: &ServerName,
        profile: &ProfileName,
        change: &(dyn Fn(&SecretSet) -> Result<SecretSet, VaultError> + Sync),
    ) -> Result<(), VaultError> {
        let id = found.0;
        let place = Place {
            owner,
            found,
            server,
            profile,
        };
        let version = self.write_set(&place, change).await?;
        // The set first, the list after: a request in between reads a set newer than listed.
        let entry = SecretRef {
            server: server.to_string(),
            profile: profile.to_string(),
            version,
        };
        self.change_sets(owner, id, |sets| sets.list(entry.clone()))
            .await
    }

    /// Deletes all secrets for a server and profile, also a set that does not open.
    ///
    /// # Errors
    /// [`VaultError::NoSecret`], or what kept it from being deleted.
    pub async fn delete_secrets(
        &self,
        owner: impl Into<Owner>,
        server: &ServerName,
        profile: &ProfileName,
    ) -> Result<(), VaultError> {
        let owner = owner.into();
        let (owner_id, sets) = self.sets_of(&owner).await?;
        let id = self
            .reader
            .secrets_record(owner_id, server.as_str(), profile.as_str());
        let found = self.get(&id).await?;
        let listed = sets.get(server.as_str(), profile.as_str()).is_some();
        if found.is_none() && !listed {
            return Err(no_secret(&owner, server));
        }
        let deleted = next_version(found.as_ref().map(|record| record.version));
        let unlist = |sets: &mut SecretSets| {
            sets.unlist(server.as_str(), profile.as_str(), deleted);
        };
        self.change_sets(&owner, owner_id, unlist).await?;
        if let Some(record) = found {
            // A conflict means that somebody set a secret meanwhile, and will list it.
            wrote(self.store.delete_if(&id, record.version).await)?;
        }
        Ok(())
    }

    async fn write_set(
        &self,
        place: &Place<'_>,
        change: &(dyn Fn(&SecretSet) -> Result<SecretSet, VaultError> + Sync),
    ) -> Result<u64, VaultError> {
        let Place {
            owner,
            found: (owner_id, sets),
            server,
            profile,
        } = place;
        let id = self
            .reader
            .secrets_record(*owner_id, server.as_str(), profile.as_str());
        let listed = sets.get(server.as_str(), profile.as_str());
        let least = listed.map_or(sets.deleted, |entry| entry.version);
        for _ in 0..ATTEMPTS {
            let (mut set, expected) = self.read_set(server, &id).await?;
            // Going on from a set that was put back would make its old secrets count again.
            if expected.is_some_and(|version| version < least) {
                if listed.is_some() {
                    return Err(put_back(owner, server));
                }
                set = SecretSet::empty();
            }
            let set = change(&set)?;
            if set.names().count() > SECRETS_MAX {
                return Err(VaultError::TooManySecrets);
            }
            let version = next_version(expected.max(Some(least)));
            let record = seal_secrets(&self.ring, server, &id, version, &set)
                .ok_or_else(|| VaultError::NoServerKey((*server).clone()))?;
            if wrote(self.store.put_if(record, expected).await)? {
                return Ok(version);
            }
        }
        Err(VaultError::Contended)
    }

    pub(super) async fn read_set(
        &self,
        server: &ServerName,
        id: &RecordId,
    ) -> Result<(SecretSet, Option<u64>), VaultError> {
        let opener = SecretOpener::new(&self.ring, server)
            .ok_or_else(|| VaultError::NoServerKey(server.clone()))?;
        match self.get(id).await? {
            None => Ok((SecretSet::empty(), None)),
            Some(record) => {
                let set = opened("a secret record", opener.open(&record))?;
                Ok((set, Some(record.version)))
            }
        }
    }
}

fn infos<'a>(
    set: &'a SecretSet,
    version: u64,
    entry: &'a SecretRef,
) -> impl Iterator<Item = SecretInfo> + 'a {
    set.facts().map(move |(name, fits_header)| SecretInfo {
        server: entry.server.clone(),
        profile: entry.profile.clone(),
        name: name.to_owned(),
        version,
        fits_header,
        group: None,
    })
}

fn no_secret(owner: &Owner, server: &ServerName) -> VaultError {
    VaultError::NoSecret {
        user: owner.clone(),
        server: server.clone(),
    }
}

fn put_back(owner: &Owner, server: &ServerName) -> VaultError {
    VaultError::PutBack {
        user: owner.clone(),
        server: server.clone(),
    }
}
