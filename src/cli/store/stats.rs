//! `store stats`

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::open::{self, Source};
use super::super::output::{row, table};
use super::super::progress::Progress;
use super::super::{Failure, Output};
use super::kinds;
use crate::store::{SCHEMA, open_to_read};
use crate::vault::{Keyring, Survey, Tally, survey};

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
    Ok(open::keyring(&from.load()?.keyring_file)?)
}

fn bytes(survey: &Survey) -> u64 {
    survey.kinds.values().map(|tally| tally.bytes).sum()
}

/// How many records need each key: `realm r1`.
fn keys(survey: &Survey) -> BTreeMap<String, u64> {
    let mut keys = BTreeMap::new();
    for (name, count) in survey.kinds.values().flat_map(|tally| &tally.keys) {
        *keys.entry(name.to_string()).or_default() += count;
    }
    keys
}

fn kinds_as_json(survey: &Survey) -> Value {
    let of = |tally: &Tally| {
        let keys = tally.keys.iter();
        let keys: Map<_, _> = keys.map(|(name, n)| (name.to_string(), json!(n))).collect();
        json!({
            "records": tally.records,
            "bytes": tally.bytes,
            "unreadable": tally.unreadable,
            "keys": keys,
        })
    };
    let fields = kinds::shown(&survey.kinds).map(|(word, tally)| (kinds::field(&word), of(tally)));
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
    for (word, tally) in kinds::shown(&survey.kinds) {
        rows.push(cells(&word, tally.records, tally.bytes, tally.unreadable));
    }
    let unreadable = survey.kinds.values().map(|tally| tally.unreadable).sum();
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
