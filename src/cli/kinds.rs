//! The kinds of records in words.

use std::collections::BTreeMap;

/// Kinds in the order they are shown, with what they are.
const KINDS: &[(char, &str)] = &[
    ('u', "users"),
    ('k', "keys"),
    ('s', "secret sets"),
    ('n', "names and e-mails"),
    ('a', "keys by user"),
    ('c', "check values"),
    ('h', "heartbeats of proxies"),
    ('t', "anchors of the audit trail"),
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
