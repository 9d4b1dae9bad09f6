//! What became of each kind of records, as text and as a document.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::kinds::{field, shown};
use super::super::output::{row, table};
use crate::store::Tally;

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
