//! Real `redis-server` processes on free loopback ports, gone when dropped: one alone, a master with
//! replicas under sentinels, a cluster.

mod certificates;
mod cluster;
mod fleet;
mod sentinels;
mod server;
mod slots;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub(crate) use self::certificates::authority;
pub(crate) use self::cluster::Cluster;
pub(crate) use self::fleet::{Fleet, Login};
pub(crate) use self::sentinels::Sentinels;
pub(crate) use self::server::{Options, Server, free_port};
pub(crate) use self::slots::{Move, slot_of};

/// Longer than servers need to agree on a busy machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
