//! What of a configuration counts only when a process starts: a reload leaves it as it was.

use super::{Audit, Config, DataDir, KeyringSource, Listen, LogFormat, Store, Telemetry};
use crate::tls::ServerFiles;

impl Config {
    /// What of it counts only when a process starts.
    #[must_use]
    pub fn at_start(&self) -> AtStart {
        AtStart {
            listen: self.listen.clone(),
            listen_uids: self.listen_uids.clone(),
            tls: self.tls.clone(),
            health_listen: self.health_listen.clone(),
            admin_listen: self.admin_listen.clone(),
            log: self.log.clone(),
            log_format: self.log_format,
            telemetry: self.telemetry.clone(),
            audit: self.audit.clone(),
            threads: self.threads,
            connections: self.limits.connections,
            store: self.store.clone(),
            keyring: self.keyring.clone(),
            data_dir: self.data_dir.clone(),
        }
    }
}

/// What of a configuration counts only when a process starts.
pub struct AtStart {
    listen: Listen,
    listen_uids: Option<Vec<u32>>,
    tls: Option<ServerFiles>,
    health_listen: Option<Listen>,
    admin_listen: Option<Listen>,
    log: String,
    log_format: LogFormat,
    telemetry: Telemetry,
    audit: Audit,
    threads: usize,
    connections: Option<usize>,
    store: Store,
    keyring: KeyringSource,
    data_dir: DataDir,
}

impl AtStart {
    /// The keys and tables in which `other` differs.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        let same = [
            ("listen", self.listen == other.listen),
            ("listen_uids", self.listen_uids == other.listen_uids),
            ("[tls]", self.tls == other.tls),
            ("health_listen", self.health_listen == other.health_listen),
            ("admin_listen", self.admin_listen == other.admin_listen),
            ("log", self.log == other.log),
            ("log_format", self.log_format == other.log_format),
            ("threads", self.threads == other.threads),
            ("limits.connections", self.connections == other.connections),
            ("[store]", self.store == other.store),
            ("[keyring]", self.keyring == other.keyring),
            ("data_dir", self.data_dir == other.data_dir),
            ("[telemetry]", self.telemetry == other.telemetry),
            ("[audit]", self.audit == other.audit),
        ];
        let differing = same.into_iter().filter(|(_, same)| !same);
        differing.map(|(key, _)| key).collect()
    }
}
