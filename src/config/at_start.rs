//! What of a configuration counts only when a process starts: a reload leaves it as it was.

use std::net::SocketAddr;

use super::{Config, KeyringSource, Store};

impl Config {
    /// What of it counts only when a process starts.
    #[must_use]
    pub fn at_start(&self) -> AtStart {
        AtStart {
            listen: self.listen,
            health_listen: self.health_listen,
            admin_listen: self.admin_listen,
            log: self.log.clone(),
            threads: self.threads,
            connections: self.limits.connections,
            store: self.store.clone(),
            keyring: self.keyring.clone(),
        }
    }
}

/// What of a configuration counts only when a process starts.
pub struct AtStart {
    listen: SocketAddr,
    health_listen: Option<SocketAddr>,
    admin_listen: Option<SocketAddr>,
    log: String,
    threads: usize,
    connections: Option<usize>,
    store: Store,
    keyring: KeyringSource,
}

impl AtStart {
    /// The keys and tables in which `other` differs.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        let same = [
            ("listen", self.listen == other.listen),
            ("health_listen", self.health_listen == other.health_listen),
            ("admin_listen", self.admin_listen == other.admin_listen),
            ("log", self.log == other.log),
            ("threads", self.threads == other.threads),
            ("limits.connections", self.connections == other.connections),
            ("[store]", self.store == other.store),
            ("[keyring]", self.keyring == other.keyring),
        ];
        let differing = same.into_iter().filter(|(_, same)| !same);
        differing.map(|(key, _)| key).collect()
    }
}
