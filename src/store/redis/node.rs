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
    /// Somebody waits for permits. Taken twice, some are lost, and nobody has one too many.
    Take,
}

/// A server that keeps records.
pub(super) struct Node {
    /// To it as a master, for a connection of one's own.
    pub(super) own: Way,
    /// For [`crate::store::Store::get_many`] and [`crate::store::Store::take`]: nothing slow stands before
    /// somebody's request.
    pub(super) reads: Line,
    /// For writes and listings.
    pub(super) writes: Line,
}

impl Node {
    pub(super) fn new(way: Way) -> Arc<Self> {
        Self::with(way.clone(), way)
    }

    /// A node of a Cluster.
    pub(super) fn of_cluster(dialer: Arc<Dialer>, address: &Address) -> Arc<Self> {
        let shared = Way::Member(dialer.clone(), address.clone());
        Self::with(shared, Way::Master(dialer, address.clone()))
    }

    fn with(shared: Way, own: Way) -> Arc<Self> {
        Arc::new(Self {
            reads: Line::new(shared.clone()),
            writes: Line::new(shared),
            own,
        })
    }

    pub(super) fn line(&self, purpose: Purpose) -> &Line {
        match purpose {
            Purpose::Login | Purpose::Take => &self.reads,
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
