//! Waiting for replicas.
//!
//! Replication is one ordered stream: when the replicas have a write made now, they have every write
//! before it, whoever made it. So this makes one at every master, each on a connection of its own:
//! `WAIT` would hold up the commands behind it.

use std::sync::Arc;

use futures_util::future::try_join_all;
use redis::{FromRedisValue as _, Value, pipe};

use super::node::Node;
use super::slots::slot_of;
use super::way::replicas;
use super::{Inner, WRITE_TIMEOUT, layout, link};
use crate::store::{Settled, StoreError};

/// How long replicas may take to confirm, in milliseconds.
const SETTLE_MS: u32 = 1000;
/// A mark in a slot that is just moving is refused; then another slot is tried.
const MARKS: usize = 8;

/// A master, and hash tags whose slots it keeps.
pub(super) struct Share {
    pub(super) node: Arc<Node>,
    pub(super) tags: Vec<String>,
}

impl Inner {
    /// Every master that keeps records, or could.
    pub(super) fn shares(&self) -> Result<Vec<Share>, StoreError> {
        let mut shares: Vec<Share> = Vec::new();
        for tag in layout::tags() {
            let node = self.servers.keeper(slot_of(&tag))?;
            match shares
                .iter_mut()
                .find(|share| Arc::ptr_eq(&share.node, &node))
            {
                Some(share) => share.tags.push(tag),
                None => shares.push(Share {
                    node,
                    tags: vec![tag],
                }),
            }
        }
        Ok(shares)
    }

    pub(super) async fn settle(&self) -> Result<Settled, StoreError> {
        match self.settle_once().await {
            Err(_) if self.servers.are_many() => {
                // A master of before, or one whose slots have all moved since.
                let _ = self.servers.refresh().await;
                self.settle_once().await
            }
            settled => settled,
        }
    }

    async fn settle_once(&self) -> Result<Settled, StoreError> {
        let shares = self.shares()?;
        let settled = try_join_all(shares.iter().map(|share| self.settle_at(share))).await?;
        let confirmed = settled.iter().map(|(confirmed, _)| confirmed).sum();
        let of = settled.iter().map(|(_, of)| of).sum();
        if confirmed >= of {
            return Ok(Settled::Everywhere);
        }
        Ok(Settled::Partly { confirmed, of })
    }

    /// How many replicas of one master confirmed, and how many it should have.
    async fn settle_at(&self, share: &Share) -> Result<(u32, u32), StoreError> {
        let unreachable = |error: link::ConnectError| StoreError::Unreachable(error.to_string());
        let live = share.node.way.connect(None).await.map_err(unreachable)?;
        for tag in share.tags.iter().take(MARKS) {
            let mut mark = pipe();
            mark.cmd("SET")
                .arg(self.layout.settle_key(tag))
                .arg(1)
                .cmd("ROLE");
            let answers = live.ask(&mut mark, WRITE_TIMEOUT).await;
            let answers = answers.map_err(|error| StoreError::Unreachable(link::words(&error)))?;
            let [set, role] = &answers[..] else {
                return Err(StoreError::Damaged("another number of answers".to_owned()));
            };
            if let Value::ServerError(_) = set {
                continue;
            }
            let following = replicas(role)
                .ok_or_else(|| StoreError::Unreachable("the server became a replica".to_owned()))?;
            // A replica that lost its master follows nobody, and may yet be made master.
            let known = self.servers.replicas(slot_of(tag)).await;
            let of = following.max(known);
            let confirmed = if of == 0 { 0 } else { wait(&live, of).await? };
            // A master deposed meanwhile takes what was written with it.
            self.servers
                .confirm(&live.address)
                .await
                .map_err(unreachable)?;
            return Ok((confirmed.min(of), of));
        }
        let reason = "the master takes no writes just now";
        Err(StoreError::Unreachable(reason.to_owned()))
    }
}

async fn wait(live: &link::Live, of: u32) -> Result<u32, StoreError> {
    let mut wait = pipe();
    wait.cmd("WAIT").arg(of).arg(SETTLE_MS);
    let answers = live.demand(&mut wait, WRITE_TIMEOUT).await;
    let answers = answers.map_err(|error| StoreError::Unreachable(error.to_string()))?;
    let confirmed = answers.first().map(u32::from_redis_value_ref);
    confirmed
        .and_then(Result::ok)
        .ok_or_else(|| StoreError::Damaged("the answer to WAIT".to_owned()))
}
