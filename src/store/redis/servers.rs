//! The servers that keep the records, and the connections to them.

use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;

use super::cluster::Cluster;
use super::link::{ConnectError, Dialer};
use super::node::Node;
use super::sentinel::Sentinels;
use super::way::{Election as _, Way};
use crate::store::url::{Address, RedisUrl, Servers as Named};
use crate::store::{Settings, StoreError};

/// All of them.
pub(super) enum Servers {
    /// One master keeps everything.
    One {
        node: Arc<Node>,
        sentinels: Option<Arc<Sentinels>>,
    },
    /// Each master keeps some slots.
    Cluster(Cluster),
}

impl Servers {
    pub(super) fn new(url: &RedisUrl, settings: &Settings, tls: Option<Arc<ClientConfig>>) -> Self {
        let dialer = Arc::new(Dialer {
            db: url.db,
            login: url.login.clone(),
            tls: tls.clone(),
            home: OnceLock::new(),
        });
        match &url.servers {
            Named::One(address) => Self::One {
                node: Node::new(Way::Master(dialer, address.clone())),
                sentinels: None,
            },
            Named::Sentinels { sentinels, master } => {
                let to_sentinels = Arc::new(Dialer {
                    db: 0,
                    login: settings.sentinel_login.clone(),
                    tls,
                    home: OnceLock::new(),
                });
                let sentinels = Arc::new(Sentinels::new(&to_sentinels, sentinels, master));
                Self::One {
                    node: Node::new(Way::Elected(dialer, sentinels.clone())),
                    sentinels: Some(sentinels),
                }
            }
            Named::Cluster(seeds) => Self::Cluster(Cluster::new(dialer, seeds)),
        }
    }

    /// From now on a server that lacks `key` is not our store. Of a Cluster each node lacks most keys, so
    /// there nothing is known of it.
    pub(super) fn settle_in(&self, key: &str) {
        if let Self::One { node, .. } = self {
            node.own.settle_in(key);
        }
    }

    /// Whether records are spread over servers.
    pub(super) fn are_many(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Whether one server may take another's place.
    pub(super) fn may_change(&self) -> bool {
        !matches!(
            self,
            Self::One {
                sentinels: None,
                ..
            }
        )
    }

    /// Finds out which servers there are; nothing to do but in a Cluster.
    pub(super) async fn refresh(&self) -> Result<(), ConnectError> {
        match self {
            Self::One { .. } => Ok(()),
            Self::Cluster(cluster) => cluster.refresh().await,
        }
    }

    /// The server that keeps a slot.
    pub(super) fn keeper(&self, slot: u16) -> Result<Arc<Node>, StoreError> {
        match self {
            Self::One { node, .. } => Ok(node.clone()),
            Self::Cluster(cluster) => cluster.keeper(slot).ok_or_else(|| {
                StoreError::Unreachable(format!("no server of the Cluster keeps slot {slot}"))
            }),
        }
    }

    /// The server to which another one sent us.
    pub(super) fn at(&self, address: &Address) -> Result<Arc<Node>, StoreError> {
        match self {
            Self::One { .. } => {
                let reason = "it belongs to a Cluster: name it by redis+cluster:// in store.url";
                Err(StoreError::Unreachable(reason.to_owned()))
            }
            Self::Cluster(cluster) => Ok(cluster.at(address)),
        }
    }

    /// The place of a slot's server among all, for [`crate::store::Store::shard_of`].
    pub(super) fn shard_of(&self, slot: u16) -> u16 {
        match self {
            Self::One { .. } => 0,
            Self::Cluster(cluster) => cluster.shard_of(slot),
        }
    }

    /// How many replicas the server of a slot has, as far as others than itself know.
    pub(super) async fn replicas(&self, slot: u16) -> u32 {
        match self {
            Self::One { sentinels, .. } => match sentinels {
                Some(sentinels) => sentinels.replicas().await,
                None => 0,
            },
            Self::Cluster(cluster) => cluster.replicas(slot),
        }
    }

    /// What works, but not as well as it should.
    pub(super) async fn remarks(&self) -> Vec<String> {
        match self {
            Self::One {
                sentinels: Some(sentinels),
                ..
            } => sentinels.remarks().await,
            _ => Vec::new(),
        }
    }

    /// Whether the server at `address` still is where `node` should be looked for.
    pub(super) async fn confirm(&self, address: &Address) -> Result<(), ConnectError> {
        let Self::One {
            sentinels: Some(sentinels),
            ..
        } = self
        else {
            return Ok(());
        };
        let now = sentinels.master().await?;
        if now == *address {
            return Ok(());
        }
        let reason = format!("the master is {now} by now, no longer {address}");
        Err(ConnectError::Unreachable(reason))
    }

    /// Every server that may hold a record.
    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        match self {
            Self::One { node, .. } => vec![node.clone()],
            Self::Cluster(cluster) => cluster.all(),
        }
    }

    /// A server cannot be reached: one to which we were only sent once is forgotten.
    pub(super) fn forget(&self, node: &Arc<Node>) {
        if let Self::Cluster(cluster) = self {
            cluster.forget(node);
        }
    }
}
