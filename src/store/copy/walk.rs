//! Walking two stores side by side, in the order of the ids.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::{BATCH, CopyError};
use crate::store::{Pages, Record, RecordId, Store, StoreError};

/// Heartbeats of proxies: they say who uses this store, not what is in it.
pub(super) const NOT_COPIED: char = 'h';
/// What proxies write while they serve, usage and anchors of the audit trail: brought over as it is at one
/// moment, and no reason to say that two stores differ.
pub(super) const MEANWHILE: [char; 2] = ['r', 't'];
/// Users and keys: a store with either is not taken for an empty one that a proxy may begin.
const FIRST: [char; 2] = ['u', 'k'];
/// Check values: without them no proxy starts on a copy that is not whole.
pub(super) const CHECKS: char = 'c';

/// The kinds of records, in the order they are copied.
pub(super) fn kinds() -> impl Iterator<Item = char> {
    let between = |kind: &char| !FIRST.contains(kind) && ![CHECKS, NOT_COPIED].contains(kind);
    FIRST
        .into_iter()
        .chain(('a'..='z').filter(between))
        .chain([CHECKS])
}

/// What the two stores have under one id: at least one of them has something.
pub(super) struct Pair {
    pub(super) id: RecordId,
    pub(super) source: Option<Record>,
    pub(super) destination: Option<Record>,
}

impl Pair {
    pub(super) fn kind(&self) -> char {
        self.id.as_str().chars().next().unwrap_or_default()
    }
}

/// A walk over one kind of records.
pub(super) struct Walk<'a> {
    source: Side<'a>,
    destination: Side<'a>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(kind: char, source: &'a dyn Store, destination: &'a dyn Store) -> Self {
        Self {
            source: Side::new(kind, source),
            destination: Side::new(kind, destination),
        }
    }

    /// At most [`BATCH`] pairs; none at the end.
    pub(super) async fn batch(&mut self) -> Result<Vec<Pair>, CopyError> {
        let mut pairs = Vec::new();
        while pairs.len() < BATCH {
            let (source, destination) = tokio::join!(self.source.fill(), self.destination.fill());
            source.map_err(CopyError::Source)?;
            destination.map_err(CopyError::Destination)?;
            match self.next() {
                Some(pair) => pairs.push(pair),
                None => break,
            }
        }
        Ok(pairs)
    }

    /// The pair of the smaller id; both sides are filled.
    fn next(&mut self) -> Option<Pair> {
        let (source, destination) = (&mut self.source.ahead, &mut self.destination.ahead);
        let order = match (source.front(), destination.front()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => one.id.cmp(&other.id),
        };
        let source = order.is_le().then(|| source.pop_front()).flatten();
        let destination = order.is_ge().then(|| destination.pop_front()).flatten();
        let id = source.as_ref().or(destination.as_ref())?.id.clone();
        Some(Pair {
            id,
            source,
            destination,
        })
    }
}

/// One store's half of the walk.
struct Side<'a> {
    pages: Pages<'a>,
    ahead: VecDeque<Record>,
}

impl<'a> Side<'a> {
    fn new(kind: char, store: &'a dyn Store) -> Self {
        Self {
            pages: Pages::new(store, format!("{kind}/"), BATCH),
            ahead: VecDeque::new(),
        }
    }

    /// Reads on when nothing is left.
    async fn fill(&mut self) -> Result<(), StoreError> {
        if self.ahead.is_empty() {
            self.ahead = self.pages.next().await?.unwrap_or_default().into();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_come_first_check_values_last_and_heartbeats_never() {
        let order: String = kinds().collect();
        assert_eq!(order, "ukabdefgijlmnopqrstvwxyzc");
    }
}
