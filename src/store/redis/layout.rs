//! The names of keys.
//!
//! | key | holds |
//! |---|---|
//! | `<prefix>k/{ab}cdef…` | the record `k/abcdef…` |
//! | `<prefix>i/k/{ab}` | the ids of all records `k/ab…`: a sorted set, all scores 0, so in byte order |
//! | `<prefix>meter/rate/u/{ab}cdef…` | the rate meter `u/abcdef…`; expires when it is full again |
//! | `<prefix>meter/quota/u/{ab}cdef…` | the quota meter `u/abcdef…`; expires an hour after its period |
//! | `<prefix>stream/{audit}` | the stream `audit` |
//! | `<prefix>schema` | the schema's number |
//! | `<prefix>settle/{ab}` | nothing of use: written to see whether replicas follow |
//!
//! The braces are Redis Cluster's hash tags: a record and its index are always on the same node, and
//! there are 256 of them, and one of each stream.

use std::fmt::Display;

use redis::{Cmd, cmd};

use crate::store::{Ask, Meter, QUIET, RecordId};

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

    pub(super) fn meter_key(&self, ask: &Ask) -> String {
        let (kind, tag, rest) = parts(ask.id.as_record());
        let sort = match ask.meter {
            Meter::Rate { .. } => "rate",
            Meter::Quota { .. } => "quota",
        };
        format!("{}meter/{sort}/{kind}/{{{tag}}}{rest}", self.prefix)
    }

    /// The key of a stream whose name has no braces.
    pub(super) fn stream_key(&self, name: &str) -> String {
        format!("{}stream/{{{name}}}", self.prefix)
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

    /// The command after which the server reports every change of a record of ours to this connection.
    ///
    /// A prefix for every letter that is a kind or may become one, so that none can be forgotten; but not
    /// for the quiet kind. Up to the brace: neither indexes, meters nor streams are reported, which change
    /// with every request.
    pub(super) fn tracking_on(&self) -> Cmd {
        let mut on = cmd("CLIENT");
        on.arg("TRACKING").arg("ON").arg("BCAST");
        for kind in ('a'..='z').filter(|kind| *kind != QUIET) {
            on.arg("PREFIX").arg(format!("{}{kind}/{{", self.prefix));
        }
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
            "p:meter/rate/u/{ab}",
            "p:stream/{audit}",
            "q:k/{ab}",
            "p:k/{a}b",
            "p:k/{abc}",
            "p:k/12/{ab}",
            "p:k/ab",
        ] {
            assert_eq!(layout.id_of(other.as_bytes()), None, "{other}");
        }
    }

    // Fails when a kind is left out, or the prefix of the quiet one is not.
    #[test]
    fn every_loud_kind_is_reported_and_nothing_else() {
        let layout = Layout::new("p:");
        let words = layout.tracking_on();
        let words: Vec<_> = words
            .args_iter()
            .filter_map(|word| match word {
                redis::Arg::Simple(word) => Some(String::from_utf8_lossy(word).into_owned()),
                _ => None,
            })
            .collect();
        let prefixes: Vec<_> = words
            .windows(2)
            .filter(|two| two[0] == "PREFIX")
            .map(|two| two[1].clone())
            .collect();
        let reported = |key: &str| prefixes.iter().any(|prefix| key.starts_with(prefix));
        for kind in 'a'..='z' {
            let id = RecordId::parse(&format!("{kind}/abcd")).unwrap();
            assert_eq!(reported(&layout.record_key(&id)), !id.is_quiet(), "{kind}");
            assert!(!reported(&layout.index_key_of(&id)), "{kind}");
        }
        assert!(!reported("p:meter/rate/u/{ab}") && !reported(&layout.stream_key("audit")));
    }
}
