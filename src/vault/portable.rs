//! What leaves for another installation, whose keyring is another: the one place where many secrets are
//! unsealed at once.

use super::secret::SecretSet;
use super::{Owner, Vault, VaultError};
use crate::names::{ProfileName, ServerName};

/// A secret set in plain text, zeroed when dropped.
pub struct ExposedSet {
    /// Server it is for.
    pub server: ServerName,
    /// Profile it is in.
    pub profile: ProfileName,
    /// The secrets.
    pub secrets: SecretSet,
}

impl Vault {
    /// Whether this keyring can seal and open secrets for the server.
    #[must_use]
    pub fn covers(&self, server: &ServerName) -> bool {
        self.ring.covers(server)
    }

    /// All secrets of a user or a group in plain text, for sealing them under another key at once.
    ///
    /// # Errors
    /// When there is no such user or group, or a set that is listed is gone, was put back, or does not
    /// open: an export that leaves it out would pass for whole.
    pub async fn expose_secrets(
        &self,
        owner: impl Into<Owner>,
    ) -> Result<Vec<ExposedSet>, VaultError> {
        let owner = owner.into();
        let (id, listed) = self.sets_of(&owner).await?;
        let mut sets = Vec::with_capacity(listed.secrets.len());
        for entry in &listed.secrets {
            let form = |_| VaultError::Open {
                what: "a list of secrets",
                why: super::OpenError::Form,
            };
            let server = ServerName::parse(&entry.server).map_err(form)?;
            let profile = ProfileName::parse(&entry.profile).map_err(form)?;
            let place = self
                .reader
                .secrets_record(id, &entry.server, &entry.profile);
            let (secrets, version) = self.read_set(&server, &place).await?;
            match version {
                Some(version) if version >= entry.version => sets.push(ExposedSet {
                    server,
                    profile,
                    secrets,
                }),
                Some(_) => {
                    return Err(VaultError::PutBack {
                        user: owner,
                        server,
                    });
                }
                None => {
                    return Err(VaultError::Gone {
                        user: owner,
                        server,
                    });
                }
            }
        }
        Ok(sets)
    }
}
