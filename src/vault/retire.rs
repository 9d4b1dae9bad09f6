//! Whether a key may go.

use super::{KeyName, Keyring, Replica, Survey};
use crate::store::RecordId;

/// What keeps a key from being retired. Empty: nothing does.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// It seals or signs, or was made to.
    pub in_use: bool,
    /// Kinds of records that need it, by the letter of their ids, and how many.
    pub records: Vec<(char, u64)>,
    /// Keys the store's records need and this keyring lacks: it is not the whole one, so what else
    /// needs the key cannot be told.
    pub unknown: Vec<KeyName>,
    /// Some of the records that name the key but do not open, with it or any other.
    pub unopened: Vec<RecordId>,
}

impl Needed {
    /// Whether nothing needs the key.
    #[must_use]
    pub fn by_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What needs `key`, by a survey made with `ring`.
#[must_use]
pub fn needed(ring: &Keyring, key: &KeyName, survey: &Survey) -> Needed {
    let names = survey.lasting().flat_map(|(_, tally)| tally.keys.keys());
    let mut unknown: Vec<_> = names.filter(|name| !ring.holds(name)).cloned().collect();
    unknown.sort();
    unknown.dedup();
    Needed {
        in_use: !ring.succession(key.kind).old.contains(key),
        records: survey.needing(key).collect(),
        unknown,
        unopened: survey
            .lasting()
            .filter_map(|(_, tally)| tally.unopened.get(key))
            .flatten()
            .cloned()
            .collect(),
    }
}

/// Those replicas of `live` that would be hurt: they seal by `key`, or lack a key that is active.
pub fn hurt<'a>(ring: &'a Keyring, key: &'a KeyName, live: &'a [Replica]) -> Vec<&'a Replica> {
    let hurt = |replica: &&Replica| match &replica.presence {
        Ok(presence) => presence.seals_by(key) || !presence.lacking(ring).is_empty(),
        Err(_) => true,
    };
    live.iter().filter(hurt).collect()
}
