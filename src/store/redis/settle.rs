//! Waiting for replicas.
//!
//! Replication is one ordered stream: when the replicas have a write made now, they have every write
//! before it, whoever made it. So this makes one at every master, each on a connection of its own:
//! `WAIT` would hold up the commands behind it.
//!
//! What cannot be asked has not confirmed: a master that is away, or one that took a write of this
//! process and has been replaced since. Whether its successor has that write nobody knows.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use futures_util::future::join_all;
use redis::{FromRedisValue as _, Value, pipe};

use super::node::Node;
use super::slots::slot_of;
use super::way::replicas;
use super::{Inner, WRITE_TIMEOUT, layout, link};
use crate::store::url::Address;
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

/// What became of a mark at one master.
struct Mark {
    at: Address,
    confirmed: u32,
    of: u32,
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

    /// A server took a write.
    pub(super) fn wrote_at(&self, address: Address) {
        self.wrote().insert(address);
    }

    pub(super) async fn settle(&self) -> Result<Settled, StoreError> {
        // A master of before, or one whose slots have all moved since, would refuse.
        let _ = self.servers.refresh().await;
        let shares = self.shares()?;
        let marks = join_all(shares.iter().map(|share| self.mark(share))).await;
        settled(&marks, &self.wrote())
    }

    fn wrote(&self) -> std::sync::MutexGuard<'_, BTreeSet<Address>> {
        self.wrote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn mark(&self, share: &Share) -> Result<Mark, StoreError> {
        let unreachable = |error: link::ConnectError| StoreError::Unreachable(error.to_string());
        let live = share.node.own.connect(None).await.map_err(unreachable)?;
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
            let still = self.servers.confirm(&live.address).await;
            still.map_err(unreachable)?;
            return Ok(Mark {
                at: live.address.clone(),
                confirmed: confirmed.min(of),
                of,
            });
        }
        let reason = "the master takes no writes just now";
        Err(StoreError::Unreachable(reason.to_owned()))
    }
}

/// An error only where nobody could be asked.
fn settled(
    marks: &[Result<Mark, StoreError>],
    wrote: &BTreeSet<Address>,
) -> Result<Settled, StoreError> {
    let asked = || marks.iter().flatten();
    if let (None, Some(Err(error))) = (asked().next(), marks.first()) {
        return Err(error.clone());
    }
    let confirmed = asked().map(|mark| mark.confirmed).sum();
    let of: u32 = asked().map(|mark| mark.of).sum();
    let silent = marks.len() - asked().count();
    let at: BTreeSet<_> = asked().map(|mark| &mark.at).collect();
    let replaced = wrote.iter().filter(|address| !at.contains(address)).count();
    // One that is silent may be the one that was replaced: it counts once.
    let unknown = u32::try_from(silent.max(replaced)).unwrap_or(u32::MAX);
    let of = of.saturating_add(unknown);
    if confirmed >= of {
        return Ok(Settled::Everywhere);
    }
    Ok(Settled::Partly { confirmed, of })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Address {
        Address {
            host: "h".to_owned(),
            port,
        }
    }

    fn mark(port: u16, confirmed: u32, of: u32) -> Result<Mark, StoreError> {
        let at = at(port);
        Ok(Mark { at, confirmed, of })
    }

    fn away() -> Result<Mark, StoreError> {
        Err(StoreError::Unreachable("away".to_owned()))
    }

    // Fails when what is silent, or took a write and was replaced, does not count.
    #[test]
    fn who_cannot_be_asked_has_not_confirmed() {
        let wrote = |ports: &[u16]| ports.iter().map(|port| at(*port)).collect();
        let partly = |confirmed, of| Settled::Partly { confirmed, of };
        for (marks, wrote, found) in [
            (vec![mark(1, 0, 0)], wrote(&[1]), Settled::Everywhere),
            (
                vec![mark(1, 2, 2), mark(2, 1, 1)],
                wrote(&[]),
                Settled::Everywhere,
            ),
            (vec![mark(1, 1, 2)], wrote(&[1]), partly(1, 2)),
            (vec![mark(2, 1, 1)], wrote(&[1]), partly(1, 2)),
            (vec![mark(1, 1, 1), away()], wrote(&[1]), partly(1, 2)),
            (vec![mark(1, 1, 1), away()], wrote(&[1, 2]), partly(1, 2)),
        ] {
            assert_eq!(settled(&marks, &wrote).unwrap(), found);
        }
        assert!(settled(&[away(), away()], &wrote(&[])).is_err());
    }
}
