//! Which processes serve from a store, and whether they hold the keys a rotation will seal with.
//!
//! Every process that serves keeps a record `h/<random id>`, written again every [`Beacon::EVERY`] and
//! deleted when it stops. The realm key it seals with itself seals that record, without a signature,
//! since a sidecar cannot sign. So whoever holds a sidecar's keyring and can write to the store may
//! say what he likes there: that stops a rotation, or lets it go on past a replica he runs himself or
//! could have deleted the record of. It gives nobody a key.
//!
//! A replica counts as live for a minute after it last spoke. That is by its own clock, which may be
//! wrong; so a record that looks old is looked at again a little later, and one that moved is live.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::keyring::{Holding, stands_first};
use super::{
    ATTEMPTS, KeyKind, KeyName, Keyring, OpenError, Vault, VaultError, envelope, ids, next_version,
    now_seconds, wrote,
};
use crate::names::ServerName;
use crate::store::{Record, RecordId};

/// How old a live replica's record is at most.
const LIVE: Duration = Duration::from_secs(60);
/// A record so old is of a process that was killed, and is in the way.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// What a process says of itself.
#[derive(Serialize, Deserialize)]
pub struct Presence {
    /// The name of its machine.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// When it started; unix seconds.
    pub started: u64,
    /// Whether its keyring can sign; a sidecar's cannot.
    signs: bool,
    servers: Vec<String>,
    keys: Vec<Holding>,
}

impl Presence {
    /// Which of the active keys of `ring` it lacks.
    #[must_use]
    pub fn lacking(&self, ring: &Keyring) -> Vec<KeyName> {
        let servers = self.servers.iter().map(|name| ServerName::parse(name));
        let servers: Vec<_> = servers.filter_map(Result::ok).collect();
        ring.lacking(&self.keys, &servers)
    }

    /// Whether it seals by `key`, be it only ids of sessions, or whoever writes on its machine signs by
    /// it.
    #[must_use]
    pub fn seals_by(&self, key: &KeyName) -> bool {
        (self.signs || key.kind != KeyKind::Sign) && stands_first(&self.keys, key)
    }
}

/// A process that serves, or did.
pub struct Replica {
    /// What it says; an error when this keyring cannot open it.
    pub presence: Result<Presence, OpenError>,
    id: RecordId,
    /// When it last spoke, by its own clock; unix microseconds.
    version: u64,
}

impl Replica {
    /// Whether it spoke within the last minute, as far as clocks can tell.
    #[must_use]
    pub fn is_recent(&self) -> bool {
        self.age() < LIVE
    }

    fn age(&self) -> Duration {
        Duration::from_micros(next_version(None).abs_diff(self.version))
    }
}

/// Those of `now` that are recent, or have spoken since `before` was read.
#[must_use]
pub fn live(before: &[Replica], now: Vec<Replica>) -> Vec<Replica> {
    let before: BTreeMap<_, _> = before.iter().map(|r| (r.id.as_str(), r.version)).collect();
    let moved = |r: &Replica| before.get(r.id.as_str()) != Some(&r.version);
    now.into_iter()
        .filter(|replica| replica.is_recent() || moved(replica))
        .collect()
}

impl Vault {
    /// Every process that says it serves from this store, also those that ended without a word.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn replicas(&self) -> Result<Vec<Replica>, VaultError> {
        let mut replicas = Vec::new();
        let mut pages = self.pages(ids::PRESENCE);
        while let Some(page) = pages.next().await? {
            replicas.extend(page.iter().map(|record| self.replica(record)));
        }
        Ok(replicas)
    }

    fn replica(&self, record: &Record) -> Replica {
        let opened = envelope::open_plain(&self.ring, record);
        let presence =
            opened.and_then(|json| serde_json::from_slice(&json).map_err(|_| OpenError::Form));
        Replica {
            presence,
            id: record.id.clone(),
            version: record.version,
        }
    }
}

/// Keeps the record of this process.
pub struct Beacon {
    vault: Vault,
    id: RecordId,
    presence: Presence,
    version: Option<u64>,
}

impl Beacon {
    /// How often it is to be shown.
    pub const EVERY: Duration = Duration::from_secs(10);

    /// For this process, which serves `servers` with the keys of `vault`.
    #[must_use]
    pub fn new(vault: Vault, host: String, servers: &[ServerName]) -> Self {
        let presence = Presence {
            host,
            pid: std::process::id(),
            started: now_seconds(),
            signs: vault.ring.can_sign(),
            keys: vault.ring.holdings(servers),
            servers: servers.iter().map(ServerName::to_string).collect(),
        };
        Self {
            vault,
            id: ids::presence(),
            presence,
            version: None,
        }
    }

    /// Says that this process lives.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn show(&mut self) -> Result<(), VaultError> {
        let json = serde_json::to_vec(&self.presence).expect("text keys and no floats");
        for _ in 0..ATTEMPTS {
            let version = next_version(self.version);
            let record = envelope::seal_plain(&self.vault.ring, &self.id, version, &json);
            if wrote(self.vault.store.put_if(record, self.version).await)? {
                self.version = Some(version);
                return Ok(());
            }
            // Gone, or a write whose answer was lost.
            let found = self.vault.get(&self.id).await?;
            self.version = found.map(|record| record.version);
        }
        Err(VaultError::Contended)
    }

    /// Takes the record back: this process stops.
    ///
    /// # Errors
    /// When the store does not take it; then it counts as live for a minute more.
    pub async fn withdraw(&self) -> Result<(), VaultError> {
        self.vault.delete(&self.id).await
    }

    /// Deletes the records of processes that were killed long ago.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn sweep(&self) -> Result<(), VaultError> {
        for replica in self.vault.replicas().await? {
            if replica.age() > FORGOTTEN {
                let gone = self.vault.store.delete_if(&replica.id, replica.version);
                wrote(gone.await)?;
            }
        }
        Ok(())
    }
}
