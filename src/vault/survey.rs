//! What is in a store, counted: how many records of each kind, how large, and which keys they need.
//!
//! Nothing is unsealed for it but, where a keyring is given, the names of signers, which lie inside
//! the realm's seal. What is counted needs no more memory than there are kinds and keys.

use std::collections::BTreeMap;

use super::envelope::{self, Form};
use super::{KeyName, Keyring, PAGE, ids};
use crate::store::{Pages, Record, RecordId, Store, StoreError};

/// What a walk over a whole store found.
#[derive(Default)]
pub struct Survey {
    /// By the letter a record's id begins with; kinds without records are not there.
    pub kinds: BTreeMap<char, Counted>,
}

/// The records of one kind.
#[derive(Default)]
pub struct Counted {
    /// How many there are.
    pub records: u64,
    /// How long their blobs are together.
    pub bytes: u64,
    /// How many need each key. A signed record needs two: of signers only those are counted whose
    /// records the keyring opens.
    pub keys: BTreeMap<KeyName, u64>,
    /// How many are not of a form this release reads, or do not open though their key is there.
    pub unreadable: u64,
    /// Some of those that do not open, by the key their header names.
    pub unopened: BTreeMap<KeyName, Vec<RecordId>>,
}

/// Records named of each key.
const EXAMPLES: usize = 5;

impl Survey {
    /// All records.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.kinds.values().map(|counted| counted.records).sum()
    }

    /// The kinds whose records stay as they are until somebody changes them: all but those of processes
    /// that serve, which are written again within seconds.
    pub fn lasting(&self) -> impl Iterator<Item = (char, &Counted)> {
        let kinds = self.kinds.iter().map(|(kind, counted)| (*kind, counted));
        kinds.filter(|(kind, _)| !ids::PRESENCE.starts_with(*kind))
    }

    /// How many lasting records of each kind need `key`; kinds of which none does are not there.
    pub fn needing<'a>(&'a self, key: &'a KeyName) -> impl Iterator<Item = (char, u64)> + 'a {
        let count = |counted: &Counted| counted.keys.get(key).copied();
        self.lasting()
            .filter_map(move |(kind, counted)| Some((kind, count(counted)?)))
    }
}

impl Counted {
    fn add(&mut self, ring: Option<&Keyring>, record: &Record) {
        self.records += 1;
        self.bytes += record.blob.len() as u64;
        let Ok(sealed_by) = envelope::sealed_by(record) else {
            self.unreadable += 1;
            return;
        };
        let held = ring.filter(|ring| ring.holds(&sealed_by));
        *self.keys.entry(sealed_by.clone()).or_default() += 1;
        let Some(ring) = held.filter(|_| Form::of(&record.id) == Form::Signed) else {
            return;
        };
        match envelope::signed_by(ring, record) {
            Ok(signer) => *self.keys.entry(signer).or_default() += 1,
            Err(_) => self.add_unopened(sealed_by, record),
        }
    }

    fn add_unopened(&mut self, sealed_by: KeyName, record: &Record) {
        self.unreadable += 1;
        let some = self.unopened.entry(sealed_by).or_default();
        if some.len() < EXAMPLES {
            some.push(record.id.clone());
        }
    }
}

/// Counts every record of `store`, also of kinds this release does not know; `seen` is told how many
/// there were so far.
///
/// # Errors
/// When the store cannot be read.
pub async fn survey(
    store: &dyn Store,
    ring: Option<&Keyring>,
    seen: &(dyn Fn(u64) + Sync),
) -> Result<Survey, StoreError> {
    let mut survey = Survey::default();
    let mut count = 0;
    for kind in 'a'..='z' {
        let mut counted = Counted::default();
        let mut pages = Pages::new(store, format!("{kind}/"), PAGE);
        while let Some(page) = pages.next().await? {
            for record in &page {
                counted.add(ring, record);
            }
            count += page.len() as u64;
            seen(count);
        }
        if counted.records > 0 {
            survey.kinds.insert(kind, counted);
        }
    }
    Ok(survey)
}
