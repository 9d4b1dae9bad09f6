//! The names of keys.
//!
//! | key | holds |
//! |---|---|
//! | `<prefix>k/{ab}cdef…` | the record `k/abcdef…` |
//! | `<prefix>i/k/{ab}` | the ids of all records `k/ab…`: a sorted set, all scores 0, so in byte order |
//! | `<prefix>schema` | the schema's number |
//! | `<prefix>settle/{ab}` | nothing of use: written to see whether replicas follow |
//!
//! The braces are Redis Cluster's hash tags: a record and its index are always on the same node, and
//! there are 256 of them.

use std::fmt::Display;

use redis::{Cmd, cmd};

use crate::store::RecordId;

pub(super) struct Layout {
    prefix: String,
}

impl Layout {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    pub(super) fn record_key(&self, id: &RecordId) -> String {
        let (kind, tag, rest) = parts(id);
        format!("{}{kind}/{{{tag}}}{rest}", self.prefix)
    }

    pub(super) fn index_key(&self, kind: impl Display, tag: &str) -> String {
        format!("{}i/{kind}/{{{tag}}}", self.prefix)
    }

    pub(super) fn index_key_of(&self, id: &RecordId) -> String {
        let (kind, tag, _) = parts(id);
        self.index_key(kind, tag)
    }

    pub(super) fn schema_key(&self) -> String {
        format!("{}schema", self.prefix)
    }

    pub(super) fn settle_key(&self, tag: &str) -> String {
        format!("{}settle/{{{tag}}}", self.prefix)
    }

    /// A key no record has, in the slot of the indexes of `tag`.
    pub(super) fn unused_key(&self, tag: &str) -> String {
        format!("{}unused/{{{tag}}}", self.prefix)
    }

    /// The record a key is of; `None` for every other key.
    pub(super) fn id_of(&self, key: &[u8]) -> Option<RecordId> {
        let key = std::str::from_utf8(key).ok()?.strip_prefix(&self.prefix)?;
        let (kind, rest) = key.split_once("/{")?;
        let (tag, rest) = rest.split_once('}')?;
        let id = RecordId::parse(&format!("{kind}/{tag}{rest}"))?;
        // Otherwise `k/{a}b` would pass for `k/{ab}`, and `k/ab/{cd}` for `k/{ab}/cd`.
        (kind.len() == 1 && tag.len() == 2).then_some(id)
    }

    /// The command after which the server reports every change of a key of ours to this connection.
    ///
    /// One prefix for all kinds of records, so that none can be forgotten; changes of the index come
    /// along and are skipped.
    pub(super) fn tracking_on(&self) -> Cmd {
        let mut on = cmd("CLIENT");
        on.arg("TRACKING").arg("ON").arg("BCAST");
        on.arg("PREFIX").arg(&self.prefix);
        on
    }
}

/// Every hash tag there is.
pub(super) fn tags() -> impl Iterator<Item = String> {
    (0..=u8::MAX).map(|tag| format!("{tag:02x}"))
}

/// Kind, tag, rest: `k/abcdef` is `k`, `ab`, `cdef`.
fn parts(id: &RecordId) -> (&str, &str, &str) {
    let (kind, rest) = id.as_str().split_at(1);
    let (tag, rest) = rest[1..].split_at(2);
    (kind, tag, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_ids_are_one_to_one() {
        let layout = Layout::new("p:");
        for (id, key) in [("k/ab", "p:k/{ab}"), ("s/0912/ff", "p:s/{09}12/ff")] {
            let id = RecordId::parse(id).unwrap();
            assert_eq!(layout.record_key(&id), key);
            assert_eq!(layout.id_of(key.as_bytes()), Some(id));
        }
        for other in [
            "p:i/k/{ab}",
            "p:schema",
            "q:k/{ab}",
            "p:k/{a}b",
            "p:k/{abc}",
            "p:k/12/{ab}",
            "p:k/ab",
        ] {
            assert_eq!(layout.id_of(other.as_bytes()), None, "{other}");
        }
    }
}
