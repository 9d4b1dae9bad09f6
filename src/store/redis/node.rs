//! One server that keeps records, and the connections to it.

use std::sync::Arc;

use super::line::Line;
use super::link::Dialer;
use super::way::Way;
use crate::store::url::Address;

/// What a server is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Somebody waits for them to log in.
    Login,
    /// Listings.
    List,
    /// They change something.
    Write,
}

/// A server that keeps records.
pub(super) struct Node {
    /// To it as a master, for a connection of one's own.
    pub(super) way: Way,
    /// For [`crate::store::Store::get_many`] alone: nothing slow stands before somebody's login.
    pub(super) reads: Line,
    /// For writes and listings.
    pub(super) writes: Line,
}

impl Node {
    pub(super) fn new(way: Way) -> Arc<Self> {
        Self::asked_by(&way.clone(), way)
    }

    /// A node of a Cluster, which knows for itself what it keeps: a replica keeps nothing for those who do not
    /// ask for old records (`READONLY`), and sends them on to its master (Redis Cluster specification, "MOVED
    /// Redirection"). To refuse it for being a replica would be to ask the other nodes who is master, and they
    /// may learn that later than it does. Only who watches must be at a master.
    pub(super) fn of_cluster(dialer: Arc<Dialer>, address: &Address) -> Arc<Self> {
        let asked = Way::Anybody(dialer.clone(), address.clone());
        Self::asked_by(&asked, Way::Master(dialer, address.clone()))
    }

    fn asked_by(asked: &Way, way: Way) -> Arc<Self> {
        Arc::new(Self {
            reads: Line::new(asked.clone()),
            writes: Line::new(asked.clone()),
            way,
        })
    }

    pub(super) fn line(&self, purpose: Purpose) -> &Line {
        match purpose {
            Purpose::Login => &self.reads,
            Purpose::List | Purpose::Write => &self.writes,
        }
    }

    /// See [`Line::lost`].
    pub(super) fn lost(&self) {
        self.reads.lost();
        self.writes.lost();
    }

    /// See [`Line::found`].
    pub(super) fn found(&self) {
        self.reads.found();
        self.writes.found();
    }
}
