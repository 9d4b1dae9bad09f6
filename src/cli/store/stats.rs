//! `store stats`

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::kinds;
use super::super::open::{self, Source};
use super::super::output::{row, table};
use super::super::progress::Progress;
use super::super::{Failure, Output};
use crate::store::{SCHEMA, open_to_read};
use crate::vault::{Counted, KeyKind, Keyring, Survey, survey};

pub(super) async fn run(from: &Source, out: &Output) -> Result<(), Failure> {
    let settings = from.load_store()?;
    let store = open_to_read(&settings).await?;
    let ring = ring(from)
        .inspect_err(|why| {
            out.note(&format!(
                "counted without the keyring, which is needed to tell who signed: {why}"
            ));
        })
        .ok();
    let progress = Progress::new(out, "counting");
    let counted = survey(&*store, ring.as_ref(), &|seen| progress.at(seen, 0)).await;
    progress.end();
    let counted = counted?;
    if let Some(ring) = &ring {
        let lacking = lacking(ring, &counted);
        if !lacking.is_empty() {
            out.note(&format!(
                "counted without {}, which the keyring lacks and which is needed to tell who signed",
                lacking.join(", ")
            ));
        }
    }
    let url = settings.url.shown();
    let document = json!({
        "url": url,
        "schema": SCHEMA,
        "records": counted.records(),
        "bytes": bytes(&counted),
        "kinds": kinds_as_json(&counted),
        "keys": keys(&counted),
    });
    out.answer(&document, &as_text(&counted, &url))
}

fn ring(from: &Source) -> Result<Keyring, Failure> {
    Ok(open::keyring(&from.load()?.keyring)?)
}

/// The keys without which the signers of some records are not known: they lie inside the realm's seal.
fn lacking(ring: &Keyring, survey: &Survey) -> Vec<String> {
    let names = survey
        .kinds
        .values()
        .flat_map(|of_kind| of_kind.keys.keys());
    let names = names.filter(|name| name.kind == KeyKind::Realm && !ring.holds(name));
    let names: BTreeSet<_> = names.map(ToString::to_string).collect();
    names.into_iter().collect()
}

fn bytes(survey: &Survey) -> u64 {
    survey.kinds.values().map(|of_kind| of_kind.bytes).sum()
}

/// How many records need each key: `realm:r1`.
fn keys(survey: &Survey) -> BTreeMap<String, u64> {
    let mut keys = BTreeMap::new();
    for (name, count) in survey.kinds.values().flat_map(|of_kind| &of_kind.keys) {
        *keys.entry(name.to_string()).or_default() += count;
    }
    keys
}

fn kinds_as_json(survey: &Survey) -> Value {
    let of = |of_kind: &Counted| {
        let keys = of_kind.keys.iter();
        let keys: Map<_, _> = keys.map(|(name, n)| (name.to_string(), json!(n))).collect();
        json!({
            "records": of_kind.records,
            "bytes": of_kind.bytes,
            "unreadable": of_kind.unreadable,
            "keys": keys,
        })
    };
    let fields =
        kinds::shown(&survey.kinds).map(|(word, of_kind)| (kinds::field(&word), of(of_kind)));
    Value::Object(fields.collect())
}

fn as_text(survey: &Survey, url: &str) -> String {
    let mut rows = vec![row(["KIND", "RECORDS", "BYTES", "UNREADABLE"])];
    let cells = |word: &str, records: u64, bytes: u64, unreadable: u64| {
        row([
            word,
            &records.to_string(),
            &bytes.to_string(),
            &unreadable.to_string(),
        ])
    };
    for (word, of_kind) in kinds::shown(&survey.kinds) {
        rows.push(cells(
            &word,
            of_kind.records,
            of_kind.bytes,
            of_kind.unreadable,
        ));
    }
    let unreadable = survey
        .kinds
        .values()
        .map(|of_kind| of_kind.unreadable)
        .sum();
    rows.push(cells("all", survey.records(), bytes(survey), unreadable));
    let mut needed = vec![row(["KEY", "NEEDED BY"])];
    needed.extend(
        keys(survey)
            .iter()
            .map(|(key, n)| row([key, &n.to_string()])),
    );
    format!(
        "{url}, schema {SCHEMA}\n{}\n{}",
        table(&rows),
        table(&needed)
    )
}
