//! The kinds of records in words.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::output::{row, table};
use crate::store::Tally;

/// Kinds in the order they are shown, with what they are.
const KINDS: [(char, &str); 7] = [
    ('u', "users"),
    ('k', "keys"),
    ('s', "secret sets"),
    ('n', "names and e-mails"),
    ('a', "keys by user"),
    ('c', "check values"),
    ('h', "heartbeats of proxies"),
];

/// What a kind is; a later release may have more.
pub(super) fn word(kind: char) -> String {
    let known = KINDS.iter().find(|(letter, _)| *letter == kind);
    known.map_or_else(
        || format!("others ({kind}/)"),
        |(_, word)| (*word).to_owned(),
    )
}

/// The kinds that are there, in the order they are shown.
pub(super) fn shown<T>(kinds: &BTreeMap<char, T>) -> impl Iterator<Item = (String, &T)> {
    let known = KINDS.iter().map(|(letter, _)| *letter);
    let others = kinds
        .keys()
        .copied()
        .filter(|kind| !KINDS.iter().any(|(letter, _)| letter == kind));
    known
        .chain(others)
        .filter_map(|kind| Some((word(kind), kinds.get(&kind)?)))
}

/// A name of a kind in a document: `secret_sets`.
pub(super) fn field(word: &str) -> String {
    word.replace(['-', ' '], "_")
}

/// Everything together.
pub(super) fn sum(kinds: &BTreeMap<char, Tally>) -> Tally {
    kinds.values().fold(Tally::default(), |sum, tally| Tally {
        records: sum.records + tally.records,
        bytes: sum.bytes + tally.bytes,
        written: sum.written + tally.written,
        deleted: sum.deleted + tally.deleted,
    })
}

/// What became of each kind, as a table.
pub(super) fn as_text(kinds: &BTreeMap<char, Tally>) -> String {
    let mut rows = vec![row(["KIND", "RECORDS", "BYTES", "WRITTEN", "DELETED"])];
    rows.extend(shown(kinds).map(|(word, tally)| cells(&word, tally)));
    rows.push(cells("all", &sum(kinds)));
    table(&rows)
}

fn cells(word: &str, tally: &Tally) -> Vec<String> {
    let numbers = [tally.records, tally.bytes, tally.written, tally.deleted];
    let numbers = numbers.iter().map(u64::to_string);
    std::iter::once(word.to_owned()).chain(numbers).collect()
}

/// What became of each kind, for a document.
pub(super) fn as_json(kinds: &BTreeMap<char, Tally>) -> Value {
    let of = |tally: &Tally| {
        json!({
            "records": tally.records,
            "bytes": tally.bytes,
            "written": tally.written,
            "deleted": tally.deleted,
        })
    };
    let fields = shown(kinds).map(|(word, tally)| (field(&word), of(tally)));
    Value::Object(fields.collect::<Map<_, _>>())
}
