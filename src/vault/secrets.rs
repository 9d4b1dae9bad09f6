//! Secrets: set, list, delete. Values go in and never come out.

use super::envelope::{SecretOpener, seal_secrets};
use super::record::SecretRef;
use super::secret::{SECRETS_MAX, SecretSet, SecretValue};
use super::{ATTEMPTS, User, Vault, VaultError, next_version, opened, wrote};
use crate::names::{ProfileName, SecretName, ServerName, UserName};
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
}

impl Vault {
    /// Sets a secret of a user.
    ///
    /// # Errors
    /// When there is no such user, the keyring has no key for the server, or nothing could be
    /// written.
    pub async fn set_secret(
        &self,
        user: &UserName,
        server: &ServerName,
        profile: &ProfileName,
        name: &SecretName,
        value: &SecretValue,
    ) -> Result<(), VaultError> {
        let change = |set: &SecretSet| Ok(set.with(name, Some(value)));
        self.change_secrets(user, server, profile, &change).await
    }

    /// Deletes a secret of a user.
    ///
    /// # Errors
    /// [`VaultError::NoSecret`], or what kept it from being written.
    pub async fn delete_secret(
        &self,
        user: &UserName,
        server: &ServerName,
        profile: &ProfileName,
        name: &SecretName,
    ) -> Result<(), VaultError> {
        let change = |set: &SecretSet| match set.expose(name) {
            Some(_) => Ok(set.with(name, None)),
            None => Err(VaultError::NoSecret {
                user: user.clone(),
                server: server.clone(),
            }),
        };
        self.change_secrets(user, server, profile, &change).await
    }

    /// The names of a user's secrets, of every server this keyring can open.
    ///
    /// # Errors
    /// When there is no such user or a record cannot be read.
    pub async fn secrets(&self, user: &UserName) -> Result<Vec<SecretInfo>, VaultError> {
        let user = self.user(user).await?;
        let mut list = Vec::new();
        for entry in &user.record.secrets {
            let Ok(server) = ServerName::parse(&entry.server) else {
                continue;
            };
            if !self.ring.covers(&server) {
                continue;
            }
            let id = self
                .reader
                .secrets_record(&user.id, &entry.server, &entry.profile);
            let (set, version) = self.read_set(&server, &id).await?;
            list.extend(infos(&set, version.unwrap_or_default(), entry));
        }
        Ok(list)
    }

    /// The names of a user's secrets for one server in one profile, as a request would find them.
    ///
    /// # Errors
    /// What would stop the request: the set does not open, is gone or was put back; or the keyring
    /// has no key for the server.
    pub async fn secrets_for(
        &self,
        user: &User,
        server: &ServerName,
        profile: &ProfileName,
    ) -> Result<Vec<SecretInfo>, VaultError> {
        let listed = user.record.secret_ref(server.as_str(), profile.as_str());
        let Some(entry) = listed else {
            return Ok(Vec::new());
        };
        let id = self
            .reader
            .secrets_record(&user.id, server.as_str(), profile.as_str());
        match self.read_set(server, &id).await? {
            (set, Some(version)) if version >= entry.version => {
                Ok(infos(&set, version, entry).collect())
            }
            (_, found) => {
                let (user, server) = (user.record.name.clone(), server.clone());
                Err(match found {
                    Some(_) => VaultError::PutBack { user, server },
                    None => VaultError::Gone { user, server },
                })
            }
        }
    }

    async fn change_secrets(
        &self,
        user: &UserName,
        server: &ServerName,
        profile: &ProfileName,
        change: &(dyn Fn(&SecretSet) -> Result<SecretSet, VaultError> + Sync),
    ) -> Result<(), VaultError> {
        let owner = self.user(user).await?;
        let id = self
            .reader
            .secrets_record(&owner.id, server.as_str(), profile.as_str());
        let version = self.write_set(&owner, server, profile, &id, change).await?;
        // The set first, the list after: a request in between reads a set newer than listed.
        let entry = SecretRef {
            server: server.to_string(),
            profile: profile.to_string(),
            version,
        };
        self.change_user(user, |record| {
            let known = record
                .secrets
                .iter_mut()
                .find(|e| e.server == entry.server && e.profile == entry.profile);
            match known {
                Some(known) => known.version = known.version.max(entry.version),
                None => record.secrets.push(entry.clone()),
            }
        })
        .await
    }

    /// Deletes all secrets of a user for a server and profile, also a set that does not open.
    ///
    /// # Errors
    /// [`VaultError::NoSecret`], or what kept it from being deleted.
    pub async fn delete_secrets(
        &self,
        user: &UserName,
        server: &ServerName,
        profile: &ProfileName,
    ) -> Result<(), VaultError> {
        let owner = self.user(user).await?;
        let id = self
            .reader
            .secrets_record(&owner.id, server.as_str(), profile.as_str());
        let found = self.get(&id).await?;
        let listed = owner
            .record
            .secret_ref(server.as_str(), profile.as_str())
            .is_some();
        if found.is_none() && !listed {
            return Err(VaultError::NoSecret {
                user: user.clone(),
                server: server.clone(),
            });
        }
        let deleted = next_version(found.as_ref().map(|record| record.version));
        self.change_user(user, |record| {
            record
                .secrets
                .retain(|e| e.server != server.as_str() || e.profile != profile.as_str());
            record.deleted = record.deleted.max(deleted);
        })
        .await?;
        if let Some(record) = found {
            // A conflict means that somebody set a secret meanwhile, and will list it.
            wrote(self.store.delete_if(&id, record.version).await)?;
        }
        Ok(())
    }

    async fn write_set(
        &self,
        owner: &User,
        server: &ServerName,
        profile: &ProfileName,
        id: &RecordId,
        change: &(dyn Fn(&SecretSet) -> Result<SecretSet, VaultError> + Sync),
    ) -> Result<u64, VaultError> {
        let listed = owner.record.secret_ref(server.as_str(), profile.as_str());
        let least = listed.map_or(owner.record.deleted, |entry| entry.version);
        for _ in 0..ATTEMPTS {
            let (mut set, expected) = self.read_set(server, id).await?;
            // Going on from a set that was put back would make its old secrets count again.
            if expected.is_some_and(|version| version < least) {
                if listed.is_some() {
                    return Err(VaultError::PutBack {
                        user: owner.record.name.clone(),
                        server: server.clone(),
                    });
                }
                set = SecretSet::empty();
            }
            let set = change(&set)?;
            if set.names().count() > SECRETS_MAX {
                return Err(VaultError::TooManySecrets);
            }
            let version = next_version(expected.max(Some(least)));
            let record = seal_secrets(&self.ring, server, id, version, &set)
                .ok_or_else(|| VaultError::NoServerKey(server.clone()))?;
            if wrote(self.store.put_if(record, expected).await)? {
                return Ok(version);
            }
        }
        Err(VaultError::Contended)
    }

    async fn read_set(
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
    })
}
