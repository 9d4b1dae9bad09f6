//! `keyring retire`: takes a key out of the file, once nothing needs it.
//!
//! Nothing must come to need it after that was looked at. So the store is told first: no process starts
//! from then on that would write with the key. Then everything is looked at once more, and only then is
//! the file changed. Killed in between, running it again ends it: the file still has the key, to open.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::kinds::word;
use super::open::{self, Source};
use super::progress::Progress;
use super::rotate::{called, list, live_replicas};
use super::{Failure, Output, keyring_file, keyring_source, settle};
use crate::store::{RecordId, Store};
use crate::vault::{KeyKind, KeyName, Keyring, KeyringText, Needed, Vault, hurt, needed, survey};

pub(super) async fn run(key: Option<&str>, from: &Source, out: &Output) -> Result<(), Failure> {
    let config = from.load()?;
    let file = keyring_source::file(&config.keyring)?;
    let ring = Arc::new(open::keyring(&config.keyring)?);
    ring.require_sign()?;
    let keys = chosen(&ring, key)?;
    let store = open::store(&config).await?;
    let vault = Vault::new(store.clone(), ring.clone());
    vault.check_keyring().await?;
    everywhere(&vault, out).await?;
    let at = Place {
        store: &store,
        vault: &vault,
        ring: &ring,
        file,
    };
    let (free, mut kept) = looked_at(&at, keys, out).await?;
    // Now that nothing needs them, the store says that they are retired, so that no process starts any
    // more that would write with one; what those have written that had started is looked for again.
    for key in &free {
        vault.retire_key(key).await?;
    }
    let judged = after_mark(&at, free.clone(), out).await;
    let (gone, needed) = match judged {
        Ok(judged) => judged,
        Err(error) => {
            keep(&vault, free.iter()).await?;
            return Err(error);
        }
    };
    keep(&vault, needed.iter().map(|(key, _)| key)).await?;
    kept.extend(needed);
    if !gone.is_empty() {
        keyring_file::edit(file, |text, ring| Some(without(text, ring, &gone)))?;
    }
    report(&gone, &kept, out)
}

/// For how long a command that had started before a key was retired may still write with it.
const UNDER_WAY: Duration = Duration::from_secs(3);

/// Where keys are retired.
struct Place<'a> {
    store: &'a Arc<dyn Store>,
    vault: &'a Vault,
    ring: &'a Keyring,
    file: &'a Path,
}

/// Keys and what keeps them.
type Kept = Vec<(KeyName, Vec<String>)>;

/// Those keys that nothing needs, and the others.
async fn looked_at(
    at: &Place<'_>,
    keys: Vec<KeyName>,
    out: &Output,
) -> Result<(Vec<KeyName>, Kept), Failure> {
    let live = live_replicas(at.vault, out).await?;
    let progress = Progress::new(out, "counting");
    let all = survey(&**at.store, Some(at.ring), &|seen| progress.at(seen, 0)).await;
    progress.end();
    let all = all?;
    let (mut free, mut kept) = (Vec::new(), Vec::new());
    for key in keys {
        let mut reasons = records(&needed(at.ring, &key, &all), &key);
        reasons.extend(hurt(at.ring, &key, &live).into_iter().map(|replica| {
            format!(
                "{} still seals or signs by it, or lacks a newer one: bring it {} as it is now, and restart it",
                called(replica),
                at.file.display()
            )
        }));
        if reasons.is_empty() {
            free.push(key);
        } else {
            kept.push((key, reasons));
        }
    }
    Ok((free, kept))
}

/// The same once more for keys that are marked as retired, on every copy of the store and after those
/// who had started before have had time to end.
async fn after_mark(
    at: &Place<'_>,
    keys: Vec<KeyName>,
    out: &Output,
) -> Result<(Vec<KeyName>, Kept), Failure> {
    if keys.is_empty() {
        return Ok((keys, Kept::new()));
    }
    everywhere(at.vault, out).await?;
    tokio::time::sleep(UNDER_WAY).await;
    looked_at(at, keys, out).await
}

async fn everywhere(vault: &Vault, out: &Output) -> Result<(), Failure> {
    if settle(vault, out).await? {
        return Ok(());
    }
    Err(Failure::new(
        "nothing was retired: a copy of the store that lags may still need an old key",
    ))
}

async fn keep(vault: &Vault, keys: impl Iterator<Item = &KeyName>) -> Result<(), Failure> {
    for key in keys {
        vault.keep_key(key).await?;
    }
    Ok(())
}

/// Without `keys`, but for one that somebody has made active meanwhile.
fn without(text: &KeyringText, ring: &Keyring, keys: &[KeyName]) -> KeyringText {
    let old = keys
        .iter()
        .filter(|key| ring.succession(key.kind).old.contains(key));
    old.fold(KeyringText::new(text.expose_text()), |text, key| {
        text.without(key)
    })
}

/// The key that is named, or every old one.
fn chosen(ring: &Keyring, key: Option<&str>) -> Result<Vec<KeyName>, Failure> {
    let successions: Vec<_> = KeyKind::ALL
        .into_iter()
        .map(|k| ring.succession(k))
        .collect();
    let old: Vec<_> = successions.iter().flat_map(|s| s.old.clone()).collect();
    let Some(key) = key else {
        return Ok(old);
    };
    let named = |name: &&KeyName| name.id == key || name.to_string() == key;
    let found: Vec<_> = old.iter().filter(named).cloned().collect();
    let used = successions
        .iter()
        .flat_map(|s| s.active.iter().chain(&s.next));
    match &found[..] {
        [one] => Ok(vec![one.clone()]),
        [] if used.clone().any(|name| named(&name)) => Err(Failure::new(format!(
            "`{key}` is not an old key: everything is sealed with it, or will be; `cloakroom keyring \
             rotate` makes one to follow it"
        ))),
        [] => Err(Failure::new(format!(
            "there is no old key `{key}`: {}",
            if old.is_empty() {
                "there are none".to_owned()
            } else {
                format!("there are {}", list(&old))
            }
        ))),
        _ => Err(Failure::usage(format!(
            "`{key}` is the id of several keys: write one of {}",
            list(&found)
        ))),
    }
}

/// What keeps a key, in words.
fn records(needed: &Needed, key: &KeyName) -> Vec<String> {
    let mut reasons = Vec::new();
    if needed.in_use {
        reasons.push("it is not an old key".to_owned());
    }
    if !needed.records.is_empty() {
        let counts = needed
            .records
            .iter()
            .map(|(kind, n)| format!("{n} of {}", word(*kind)));
        let counts: Vec<_> = counts.collect();
        reasons.push(format!(
            "records in the store need it ({}): cloakroom keyring rotate",
            counts.join(", ")
        ));
    }
    if !needed.unopened.is_empty() {
        let ids: Vec<_> = needed.unopened.iter().map(RecordId::to_string).collect();
        reasons.push(format!(
            "of these some name it and do not open, changed or moved in the store, so no rotation can seal \
             them again; nobody can read them, delete them there by hand: {}",
            ids.join(", ")
        ));
    }
    if !needed.unknown.is_empty() {
        reasons.push(format!(
            "records in the store need {}, which this keyring lacks: what else needs {key} cannot be seen \
             with it",
            list(&needed.unknown)
        ));
    }
    reasons
}

fn report(gone: &[KeyName], kept: &[(KeyName, Vec<String>)], out: &Output) -> Result<(), Failure> {
    if !gone.is_empty() {
        out.note(
            "no copy of the file as it was is kept: backups of the store made until now open only with such a \
             copy, so keep yours for as long as you keep them",
        );
    }
    if gone.iter().any(|key| key.kind == KeyKind::Server) {
        out.note("sessions begun with a retired server key begin anew once replicas lack it");
    }
    let mut text = String::new();
    for key in gone {
        let _ = writeln!(text, "retired {key}");
    }
    if gone.is_empty() && kept.is_empty() {
        text.push_str("there is no old key\n");
    }
    for (key, reasons) in kept {
        for reason in reasons {
            out.note(&format!("{key} stays: {reason}"));
        }
    }
    let kept_documents: Vec<Value> = kept
        .iter()
        .map(|(key, reasons)| json!({ "key": key.to_string(), "reasons": reasons }))
        .collect();
    let gone: Vec<_> = gone.iter().map(KeyName::to_string).collect();
    out.answer(&json!({ "retired": gone, "kept": kept_documents }), &text)?;
    if kept.is_empty() {
        Ok(())
    } else {
        Err(Failure::told(1))
    }
}
