//! `keyring rotate`: one command, repeated until it says that it is done.
//!
//! 1. The file holds no key that follows another: new ones are made and put last, so that they only open.
//! 2. Every live replica holds them: they are put first, and everything is sealed again with them.
//! 3. What was interrupted goes on.
//!
//! Before anything is sealed with a key, every live replica must say that it has it: whoever lacks it
//! would refuse the users whose records he cannot open.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::open::{self, Source};
use super::output::date;
use super::progress::Progress;
use super::{Failure, Output, keyring_file, keyring_source, settle};
use crate::store::Store;
use crate::vault::{
    Beacon, KeyKind, KeyName, Keyring, KeyringText, Replica, Rotation, Succession, Vault, live,
    survey,
};

pub(super) async fn run(kind: Option<KeyKind>, from: &Source, out: &Output) -> Result<(), Failure> {
    let config = from.load()?;
    let file = keyring_source::file(&config.keyring)?;
    let kinds = kind.map_or(KeyKind::ALL.to_vec(), |kind| vec![kind]);
    let ring = open::keyring(&config.keyring)?;
    ring.require_sign()?;
    let store = open::store(&config).await?;
    let vault = Vault::new(store.clone(), Arc::new(ring));
    vault.check_before_rotation().await?;
    let (vault, made) = make(&store, file, &kinds).await?;
    let text = open::keyring_text(file)?;
    let next = names(&text.keyring()?, &kinds, |s| s.next);
    let coming = text.promoting(&next).keyring()?;
    let waiting = lacking(&coming, live_replicas(&vault, out).await?);
    if !waiting.is_empty() && !made.is_empty() {
        return tell_made(&made, &waiting, file, out);
    }
    refuse_any(&waiting, file)?;
    let total = counted(&store, out).await?;
    // Once more: counting takes long, and nothing that does may lie between the answer and the writing.
    refuse_any(&lacking(&coming, live_replicas(&vault, out).await?), file)?;
    let ring = keyring_file::edit(file, |text, _| {
        (!next.is_empty()).then(|| text.promoting(&next))
    })?;
    reseal(&store, ring, total, file, out).await
}

/// The keys of some kinds that are `which`.
fn names(ring: &Keyring, kinds: &[KeyKind], which: fn(Succession) -> Vec<KeyName>) -> Vec<KeyName> {
    let of_kind = |kind: &KeyKind| which(ring.succession(*kind));
    kinds.iter().flat_map(of_kind).collect()
}

/// Makes new keys if no rotation is under way, and has the store remember them.
///
/// They are proposed in the file first, claimed in the store then, and count once they are: so a key the
/// store knows is never lost, wherever this is killed, and the file of who comes second stays as it was.
async fn make(
    store: &Arc<dyn Store>,
    file: &Path,
    kinds: &[KeyKind],
) -> Result<(Vault, Vec<KeyName>), Failure> {
    // What one that was killed has proposed.
    let vault = accept(store, file).await?;
    vault.note_keys().await?;
    let taken = vault.retired_keys().await?;
    let mut made = Vec::new();
    keyring_file::edit(file, |text, ring| {
        // Under the file's lock: of two commands at the same moment one makes keys.
        let under_way = text.proposes() || !names(ring, kinds, |s| s.next).is_empty();
        if under_way || !names(ring, kinds, |s| s.old).is_empty() {
            return None;
        }
        let mut changed = KeyringText::new(text.expose_text());
        for kind in kinds {
            let (new, lines) = ring.successors_beside(*kind, &taken);
            changed = changed.proposing(&lines);
            made.extend(new);
        }
        Some(changed)
    })?;
    Ok((accept(store, file).await?, made))
}

/// Has the store remember what is proposed in the file, then the file say it.
async fn accept(store: &Arc<dyn Store>, file: &Path) -> Result<Vault, Failure> {
    let text = open::keyring_text(file)?;
    let ring = text.keyring()?;
    if !text.proposes() {
        return Ok(Vault::new(store.clone(), Arc::new(ring)));
    }
    let vault = Vault::new(store.clone(), Arc::new(ring));
    let conflict = vault.claim_keys(&text.accepted().keyring()?).await?;
    // Another command of the same file may have done the same meanwhile.
    let ring = keyring_file::edit(file, |now, _| {
        let same = now.expose_text() == text.expose_text();
        same.then(|| match conflict {
            Some(_) => now.rejected(),
            None => now.accepted(),
        })
    })?;
    match conflict {
        None => Ok(Vault::new(store.clone(), Arc::new(ring))),
        Some(key) => Err(Failure::new(format!(
            "nothing was changed: another rotation is under way, from another copy of {}, which has made \
             {key}: bring that file here",
            file.display()
        ))),
    }
}

/// The replicas that live. One that has not spoken for long may only have another clock, so it is given
/// time to speak.
pub(super) async fn live_replicas(vault: &Vault, out: &Output) -> Result<Vec<Replica>, Failure> {
    let before = vault.replicas().await?;
    let silent = before.iter().filter(|replica| !replica.is_recent()).count();
    if silent == 0 {
        return Ok(before);
    }
    let wait = Beacon::EVERY + Duration::from_secs(3);
    out.note(&format!(
        "{silent} replica(s) have said nothing for a minute: waiting {} s to see whether they are gone",
        wait.as_secs()
    ));
    tokio::time::sleep(wait).await;
    Ok(live(&before, vault.replicas().await?))
}

/// A replica, and the keys it lacks; none are named where not even its record opens.
struct Waiting {
    replica: Replica,
    lacks: Vec<KeyName>,
}

fn lacking(ring: &Keyring, live: Vec<Replica>) -> Vec<Waiting> {
    let waiting = live.into_iter().map(|replica| Waiting {
        lacks: replica
            .presence
            .as_ref()
            .map_or(Vec::new(), |presence| presence.lacking(ring)),
        replica,
    });
    waiting
        .filter(|w| w.replica.presence.is_err() || !w.lacks.is_empty())
        .collect()
}

/// How a replica is called where a person looks for it.
pub(super) fn called(replica: &Replica) -> String {
    match &replica.presence {
        Ok(it) => format!("{} (pid {}, since {})", it.host, it.pid, date(it.started)),
        Err(why) => format!("a replica whose record this keyring cannot read ({why})"),
    }
}

pub(super) fn list(names: &[KeyName]) -> String {
    let names: Vec<_> = names.iter().map(KeyName::to_string).collect();
    names.join(", ")
}

fn lines(waiting: &[Waiting]) -> String {
    waiting.iter().fold(String::new(), |mut text, waiting| {
        let lacks = match &waiting.lacks[..] {
            [] => String::new(),
            lacks => format!(": lacks {}", list(lacks)),
        };
        let _ = write!(text, "\n  {}{lacks}", called(&waiting.replica));
        text
    })
}

fn bring(file: &Path) -> String {
    format!(
        "bring {} to every replica, as it is now (to a sidecar what `cloakroom keyring export --server NAME` \
         writes now), restart each, then run `cloakroom keyring rotate` again",
        file.display()
    )
}

fn refuse_any(waiting: &[Waiting], file: &Path) -> Result<(), Failure> {
    if waiting.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "nothing was sealed: these replicas do not have the new keys yet:{}\n{}; one that was killed counts \
         for a minute more",
        lines(waiting),
        bring(file)
    )))
}

fn tell_made(
    made: &[KeyName],
    waiting: &[Waiting],
    file: &Path,
    out: &Output,
) -> Result<(), Failure> {
    let document = json!({
        "state": "made",
        "made": made.iter().map(KeyName::to_string).collect::<Vec<_>>(),
        "waiting_for": waiting.iter().map(document).collect::<Vec<_>>(),
    });
    let text = format!(
        "made {}; nothing is sealed with them yet\nwaiting for:{}\nnext: {}\n",
        list(made),
        lines(waiting),
        bring(file)
    );
    out.answer(&document, &text)
}

fn document(waiting: &Waiting) -> Value {
    let lacks: Vec<_> = waiting.lacks.iter().map(KeyName::to_string).collect();
    match &waiting.replica.presence {
        Ok(it) => json!({
            "host": it.host, "pid": it.pid, "since": date(it.started), "lacks": lacks,
        }),
        Err(why) => json!({ "error": why.to_string() }),
    }
}

async fn reseal(
    store: &Arc<dyn Store>,
    ring: Keyring,
    total: u64,
    file: &Path,
    out: &Output,
) -> Result<(), Failure> {
    let ring = Arc::new(ring);
    let active = names(&ring, &KeyKind::ALL, |s| s.active);
    let old = names(&ring, &KeyKind::ALL, |s| s.old);
    let vault = Vault::new(store.clone(), ring.clone());
    let progress = Progress::new(out, "sealing");
    let done = vault.rotate(&|done| progress.at(done, total)).await;
    progress.end();
    let done = done.map_err(|error| {
        Failure::new(format!(
            "{error}; `cloakroom keyring rotate` again goes on from here"
        ))
    })?;
    let settled = settle(&vault, out).await?;
    for (reason, left) in &done.left {
        let examples = left.examples.join(", ");
        let records = left.records;
        out.note(&format!("left {records} record(s), {reason}: {examples}"));
    }
    let late = lacking(&ring, vault.replicas().await?);
    let late: Vec<_> = late.into_iter().filter(|w| w.replica.is_recent()).collect();
    if !late.is_empty() {
        let lines = lines(&late);
        out.note(&format!(
            "started meanwhile without the new keys:{lines}\n{}",
            bring(file)
        ));
    }
    out.answer(
        &report(&done, &active, &old, settled),
        &told(&done, &active, &old, file),
    )?;
    if done.left.is_empty() {
        Ok(())
    } else {
        Err(Failure::told(1))
    }
}

fn told(done: &Rotation, active: &[KeyName], old: &[KeyName], file: &Path) -> String {
    let mut text = format!(
        "sealed {} records again with {}\n",
        done.resealed,
        list(active)
    );
    let left: u64 = done.left.values().map(|left| left.records).sum();
    if left > 0 {
        let _ = writeln!(text, "{left} records still need {}: see above", list(old));
    } else if !old.is_empty() {
        let _ = writeln!(
            text,
            "next: bring {} to every replica, as it is now, restart each, then: cloakroom keyring retire",
            file.display()
        );
    }
    text
}

/// How many records there are, for the progress.
async fn counted(store: &Arc<dyn Store>, out: &Output) -> Result<u64, Failure> {
    let progress = Progress::new(out, "counting");
    let all = survey(&**store, None, &|seen| progress.at(seen, 0)).await;
    progress.end();
    Ok(all?.lasting().map(|(_, tally)| tally.records).sum())
}

fn report(done: &Rotation, active: &[KeyName], old: &[KeyName], settled: bool) -> Value {
    let names = |list: &[KeyName]| list.iter().map(KeyName::to_string).collect::<Vec<_>>();
    let left = done.left.iter().map(|(reason, left)| {
        json!({
            "reason": reason.as_str(), "records": left.records, "examples": left.examples,
        })
    });
    json!({
        "state": if done.left.is_empty() { "done" } else { "incomplete" },
        "active": names(active),
        "old": names(old),
        "resealed": done.resealed,
        "passed": done.passed,
        "removed": done.removed,
        "left": left.collect::<Vec<_>>(),
        "on_all_copies": settled,
    })
}
