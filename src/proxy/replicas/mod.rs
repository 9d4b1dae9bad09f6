//! Several replicas of one backend.
//!
//! 1. Requests that belong together, those of one user, server and profile, go to one replica: the one
//!    the ring names (consistent hashing as nginx does it, so that few move when one comes or goes, and
//!    every process with the same configuration names the same one). A session stays where it began.
//! 2. A replica no connection can be opened to is left alone for a second, twice as long each time up to
//!    30 s, then one request tries it. Its requests go to the next on the ring meanwhile; its sessions
//!    are gone. With the feature `pingora-lb`, active checks (`proxy/check.rs`) say so too.
//! 3. One replica alone is always tried. When all are down, the ring's choice is.

mod address;
mod dns;
mod health;
mod set;

use std::sync::Arc;

use tokio::sync::watch;

pub use address::ReplicaAddress;
pub(super) use set::{Attempt, Replica, Set};

/// Replicas a backend may have.
const MOST: usize = 256;

/// The replicas of one backend.
pub(super) enum Replicas {
    /// The host of its URL, and no word of replicas.
    One(Arc<Set>),
    /// Those of the configuration.
    Listed(Arc<Set>),
    /// Those a name stands for at the moment.
    Named(watch::Receiver<Arc<Set>>),
}

/// How the replicas of a backend are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaFigures {
    /// Replicas that get requests.
    pub healthy: usize,
    /// Replicas that do not, but for a trial now and then.
    pub unhealthy: usize,
    /// Connections to any of them that could not be opened, since the backend was configured.
    pub failed_connects: u64,
}

impl Replicas {
    pub(super) fn one(address: ReplicaAddress) -> Self {
        Self::One(Arc::new(Set::new([address], &[])))
    }

    pub(super) fn listed(addresses: impl IntoIterator<Item = ReplicaAddress>) -> Self {
        Self::Listed(Arc::new(Set::new(addresses, &[])))
    }

    /// All addresses of the host that was one until now. Needs a runtime.
    pub(super) fn to_named(&self) -> Self {
        match self {
            Self::Named(sets) => Self::Named(sets.clone()),
            Self::One(set) | Self::Listed(set) => match set.replicas() {
                [only] => Self::Named(dns::watch(only.address().clone())),
                _ => Self::Listed(set.clone()),
            },
        }
    }

    /// Whether what begins at one of them is to stay there.
    pub(super) fn are_told_apart(&self) -> bool {
        !matches!(self, Self::One(_))
    }

    /// Those there are now; none before a name's first answer.
    pub(super) fn at_once(&self) -> Option<Arc<Set>> {
        let set = self.known();
        let is_told = !matches!(self, Self::Named(_)) || !set.replicas().is_empty();
        is_told.then_some(set)
    }

    /// Those there are now; waits for a name's first answer.
    pub(super) async fn now(&self) -> Arc<Set> {
        let set = self.known();
        match self {
            Self::Named(sets) if set.replicas().is_empty() => {
                let mut sets = sets.clone();
                let known = sets.wait_for(|set| !set.replicas().is_empty()).await;
                known.map_or(set, |known| known.clone())
            }
            _ => set,
        }
    }

    pub(super) fn figures(&self, failed_connects: u64) -> ReplicaFigures {
        let set = self.known();
        let replicas = set.replicas();
        let healthy = replicas.iter().filter(|replica| replica.is_up()).count();
        ReplicaFigures {
            healthy,
            unhealthy: replicas.len() - healthy,
            failed_connects,
        }
    }

    pub(super) fn known(&self) -> Arc<Set> {
        match self {
            Self::One(set) | Self::Listed(set) => set.clone(),
            Self::Named(sets) => sets.borrow().clone(),
        }
    }
}
