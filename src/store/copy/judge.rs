//! What is to be done about one record, and whether a copy may begin. Pure.

use std::collections::BTreeMap;

use super::CopyError;
use super::walk::{CHECKS, Pair};
use crate::store::{Record, RecordId};

/// What is to be done about one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: both are the same, byte for byte.
    Equal,
    /// To be written: the destination has nothing.
    Missing,
    /// To be written: the destination has this earlier version.
    Older(u64),
    /// To be deleted: the source has nothing, the destination this version.
    Extra(u64),
    /// Never to be overwritten: somebody works at the destination.
    Newer,
    /// Same version, other bytes: one of the two was tampered with, or is another installation's.
    Differs,
}

impl Verdict {
    /// Nothing but what brings the destination forward.
    pub(super) fn only_forward(self) -> Self {
        match self {
            Self::Missing | Self::Older(_) => self,
            Self::Equal | Self::Extra(_) | Self::Newer | Self::Differs => Self::Equal,
        }
    }
}

pub(super) fn judge(source: Option<&Record>, destination: Option<&Record>) -> Verdict {
    match (source, destination) {
        (None, None) => Verdict::Equal,
        (Some(_), None) => Verdict::Missing,
        (None, Some(there)) => Verdict::Extra(there.version),
        (Some(here), Some(there)) if here.version > there.version => Verdict::Older(there.version),
        (Some(here), Some(there)) if here.version < there.version => Verdict::Newer,
        (Some(here), Some(there)) if here.blob == there.blob => Verdict::Equal,
        (Some(_), Some(_)) => Verdict::Differs,
    }
}

/// What a destination may hold already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// An earlier state of the source, that nobody serves from.
    Follow {
        /// Whether it may have records the source no longer has, which are then deleted.
        delete: bool,
        /// Whether it may lack records although it was whole, which are then written, and whether
        /// somebody may serve from it.
        again: bool,
    },
    /// Nothing, or a part of the source from a run that was cut short.
    Fill,
}

/// What one pass found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kinds: BTreeMap<char, Count>,
    first_newer: Option<RecordId>,
    first_different: Option<RecordId>,
    first_extra: Option<RecordId>,
    first_missing: Option<RecordId>,
    /// Proxies that serve from the destination.
    pub(super) serving: u64,
}

/// How many records of one kind are how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) equal: u64,
    pub(super) bytes: u64,
    missing: u64,
    older: u64,
    newer: u64,
    different: u64,
    extra: u64,
}

impl Count {
    /// Records of the destination.
    fn held(&self) -> u64 {
        self.equal + self.older + self.newer + self.different + self.extra
    }
}

impl Found {
    /// Counts a pair, whose verdict this is.
    pub(super) fn count(&mut self, pair: &Pair, verdict: Verdict) {
        let count = self.kinds.entry(pair.kind()).or_default();
        let (number, first) = match verdict {
            Verdict::Equal => (&mut count.equal, None),
            Verdict::Missing if pair.kind() == CHECKS => (&mut count.missing, None),
            Verdict::Missing => (&mut count.missing, Some(&mut self.first_missing)),
            Verdict::Older(_) => (&mut count.older, None),
            Verdict::Newer => (&mut count.newer, Some(&mut self.first_newer)),
            Verdict::Differs => (&mut count.different, Some(&mut self.first_different)),
            Verdict::Extra(_) => (&mut count.extra, Some(&mut self.first_extra)),
        };
        *number += 1;
        if let Some(first) = first {
            first.get_or_insert_with(|| pair.id.clone());
        }
        if let (Verdict::Equal, Some(record)) = (verdict, &pair.source) {
            count.bytes += record.blob.len() as u64;
        }
    }

    pub(super) fn is_equal(&self) -> bool {
        self.unequal() == 0
    }

    /// Ids under which the two stores have something else.
    pub(super) fn unequal(&self) -> u64 {
        self.sum(|c| c.missing + c.older + c.newer + c.different + c.extra)
    }

    /// Records of the source.
    pub(super) fn source(&self) -> u64 {
        self.sum(|c| c.equal + c.missing + c.older + c.newer + c.different)
    }

    fn sum(&self, of: impl Fn(&Count) -> u64) -> u64 {
        self.kinds.values().map(of).sum()
    }

    /// # Errors
    /// When the destination has what no copy of the source can have.
    pub(super) fn nobody_else_writes(&self) -> Result<(), CopyError> {
        if let Some(id) = &self.first_different {
            let count = self.sum(|c| c.different);
            return Err(CopyError::Differs {
                count,
                first: id.clone(),
            });
        }
        if let Some(id) = &self.first_newer {
            let count = self.sum(|c| c.newer);
            return Err(CopyError::Newer {
                count,
                first: id.clone(),
            });
        }
        Ok(())
    }

    /// Whether the destination can only be a copy of this source: records are sealed with a nonce of
    /// their own, so two installations never have one in common.
    fn is_copy(&self) -> bool {
        let checks = self.kinds.get(&CHECKS).copied().unwrap_or_default();
        match checks.held() {
            // Not yet whole, for check values come last; or empty.
            0 => self.sum(Count::held) == 0 || self.sum(|c| c.equal) > 0,
            _ => checks.equal > 0,
        }
    }

    /// Whether the destination holds nothing but a part of the source that a run left behind, which
    /// wrote the check values last.
    fn is_part(&self) -> bool {
        self.sum(|c| c.older + c.newer + c.different + c.extra) == 0 && self.lost().is_none()
    }

    /// How many records a destination lacks that was whole once, for it has check values, and one of
    /// them. Whether they are new at the source or were deleted at the destination nobody can tell: a
    /// deletion leaves no trace, and the latest version that is left says nothing of one that is not.
    fn lost(&self) -> Option<(u64, &RecordId)> {
        let checks = self.kinds.get(&CHECKS).copied().unwrap_or_default();
        let first = self.first_missing.as_ref()?;
        let count = self.sum(|c| c.missing) - checks.missing;
        (checks.equal > 0).then_some((count, first))
    }

    /// # Errors
    /// When the destination may be the store in use: what is written there would bring back what was
    /// deleted.
    fn nobody_lives_there(&self) -> Result<(), CopyError> {
        if self.serving > 0 {
            let count = self.serving;
            return Err(CopyError::Serving { count });
        }
        match self.lost() {
            Some((count, first)) => Err(CopyError::Lost {
                count,
                first: first.clone(),
            }),
            None => Ok(()),
        }
    }

    /// # Errors
    /// When the destination has what the source has not.
    fn nothing_extra(&self) -> Result<(), CopyError> {
        match &self.first_extra {
            Some(first) => Err(CopyError::Extra {
                count: self.sum(|c| c.extra),
                first: first.clone(),
            }),
            None => Ok(()),
        }
    }
}

impl Rule {
    /// Whether a copy may begin, after a pass that only looked.
    pub(super) fn admit(self, found: &Found) -> Result<(), CopyError> {
        let checks = found.kinds.get(&CHECKS).copied().unwrap_or_default();
        if found.source() == 0 {
            return Err(CopyError::Empty);
        }
        if checks.equal + checks.missing + checks.older + checks.newer + checks.different == 0 {
            return Err(CopyError::NotWhole);
        }
        if !found.is_copy() {
            let begun = found.sum(Count::held) == checks.held();
            return Err(if begun {
                CopyError::Begun
            } else {
                CopyError::Foreign
            });
        }
        let (delete, again) = match self {
            Self::Fill if found.is_part() => return Ok(()),
            Self::Fill => return Err(CopyError::InUse),
            Self::Follow { delete, again } => (delete, again),
        };
        found.nobody_else_writes()?;
        if !delete {
            found.nothing_extra()?;
        }
        if !again {
            found.nobody_lives_there()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(version: u64, blob: &'static str) -> Record {
        Record {
            id: RecordId::parse("u/aa").unwrap(),
            version,
            blob: blob.into(),
        }
    }

    #[test]
    fn what_is_older_is_written_and_what_is_not_ours_is_left_alone() {
        let old = record(1, "a");
        let new = record(2, "b");
        let forged = record(1, "b");
        for (source, destination, verdict) in [
            (Some(&old), Some(&old), Verdict::Equal),
            (Some(&old), None, Verdict::Missing),
            (Some(&new), Some(&old), Verdict::Older(1)),
            (Some(&old), Some(&new), Verdict::Newer),
            (Some(&old), Some(&forged), Verdict::Differs),
            (None, Some(&new), Verdict::Extra(2)),
            (None, None, Verdict::Equal),
        ] {
            assert_eq!(judge(source, destination), verdict);
        }
    }

    /// What a pass found: a word per record, `KIND verdict`.
    fn found(words: &str) -> Found {
        let mut found = Found::default();
        for word in words.split(", ") {
            let (kind, verdict) = word.split_once(' ').unwrap();
            let id = RecordId::parse(&format!("{kind}/aa")).unwrap();
            let verdict = match verdict {
                "equal" => Verdict::Equal,
                "missing" => Verdict::Missing,
                "older" => Verdict::Older(1),
                "extra" => Verdict::Extra(1),
                "newer" => Verdict::Newer,
                "differs" => Verdict::Differs,
                other => panic!("{other}"),
            };
            let pair = Pair {
                id,
                source: None,
                destination: None,
            };
            found.count(&pair, verdict);
        }
        found
    }

    const fn follow(delete: bool, again: bool) -> Rule {
        Rule::Follow { delete, again }
    }

    // Fails when `serving` is not looked at, or whatever the rule.
    #[test]
    fn nothing_is_written_where_somebody_serves() {
        let served = |words| Found {
            serving: 2,
            ..found(words)
        };
        for words in [
            "u missing, c missing",
            "u older, c equal",
            "u equal, c equal",
        ] {
            let refused = follow(true, false).admit(&served(words)).unwrap_err();
            assert!(
                matches!(refused, CopyError::Serving { count: 2 }),
                "{words}"
            );
            assert!(follow(false, true).admit(&served(words)).is_ok(), "{words}");
        }
    }

    // Fails when `lost` is always `None`, or does not ask for check values.
    #[test]
    fn a_copy_begins_only_where_it_can_take_nothing_away() {
        const FOLLOW: Rule = follow(false, false);
        const DELETE: Rule = follow(true, false);
        const AGAIN: Rule = follow(false, true);
        let name = |rule: Rule, words: &str| match rule.admit(&found(words)) {
            Ok(()) => "admitted",
            Err(CopyError::Empty) => "empty",
            Err(CopyError::NotWhole) => "not whole",
            Err(CopyError::Foreign) => "foreign",
            Err(CopyError::Begun) => "begun",
            Err(CopyError::InUse) => "in use",
            Err(CopyError::Newer { .. }) => "newer",
            Err(CopyError::Differs { .. }) => "differs",
            Err(CopyError::Extra { .. }) => "extra",
            Err(CopyError::Lost { count: 1, .. }) => "lost",
            Err(other) => panic!("{other}"),
        };
        for (words, follow, delete, again, fill) in [
            (
                "u missing, c missing",
                "admitted",
                "admitted",
                "admitted",
                "admitted",
            ),
            ("u extra", "empty", "empty", "empty", "empty"),
            (
                "u missing",
                "not whole",
                "not whole",
                "not whole",
                "not whole",
            ),
            // Cut short: check values come last.
            (
                "u equal, k missing, c missing",
                "admitted",
                "admitted",
                "admitted",
                "admitted",
            ),
            (
                "u equal, c equal, c missing",
                "admitted",
                "admitted",
                "admitted",
                "admitted",
            ),
            // Whole, and then something was deleted: by a user of it, or at the source's end.
            (
                "u missing, k equal, c equal, c missing",
                "lost",
                "lost",
                "admitted",
                "in use",
            ),
            (
                "u older, k equal, c equal",
                "admitted",
                "admitted",
                "admitted",
                "in use",
            ),
            (
                "u extra, k equal, c equal",
                "extra",
                "admitted",
                "extra",
                "in use",
            ),
            (
                "u extra, k missing, c equal",
                "extra",
                "lost",
                "extra",
                "in use",
            ),
            (
                "u newer, k extra, c equal",
                "newer",
                "newer",
                "newer",
                "in use",
            ),
            (
                "u newer, k missing, c equal",
                "newer",
                "newer",
                "newer",
                "in use",
            ),
            (
                "u differs, c equal",
                "differs",
                "differs",
                "differs",
                "in use",
            ),
            // Another installation's: of other keys, of the same key ids, or itself half a copy.
            (
                "u missing, c missing, u extra, c extra",
                "foreign",
                "foreign",
                "foreign",
                "foreign",
            ),
            (
                "u missing, c older, u extra",
                "foreign",
                "foreign",
                "foreign",
                "foreign",
            ),
            // Nobody's but that of a command which looked at it.
            ("u missing, c differs", "begun", "begun", "begun", "begun"),
            (
                "u missing, c missing, u extra",
                "foreign",
                "foreign",
                "foreign",
                "foreign",
            ),
        ] {
            assert_eq!(name(FOLLOW, words), follow, "follow: {words}");
            assert_eq!(name(DELETE, words), delete, "delete: {words}");
            assert_eq!(name(AGAIN, words), again, "again: {words}");
            assert_eq!(name(Rule::Fill, words), fill, "fill: {words}");
        }
    }
}
