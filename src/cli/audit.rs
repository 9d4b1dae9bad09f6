//! `audit verify`: whether the audit trail is what was written.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

use serde_json::{Value, json};

use super::args::AuditCommand;
use super::open::{self, Source};
use super::output::{row, table};
use super::{Failure, Output};
use crate::audit::verify::{Anchors, ChainSeen, Finding, Options, Report, Verifier};
use crate::config::Config;
use crate::store::open_to_read;
use crate::sys;
use crate::vault::{Keyring, Vault};

/// Read at once.
const BUFFER: usize = 256 << 10;

pub(super) async fn run(
    command: &AuditCommand,
    from: &Source,
    out: &Output,
) -> Result<(), Failure> {
    match command {
        AuditCommand::Verify {
            files,
            offline,
            from_middle,
        } => verify(files, *offline, *from_middle, from, out).await,
    }
}

async fn verify(
    files: &[PathBuf],
    offline: bool,
    from_middle: bool,
    from: &Source,
    out: &Output,
) -> Result<(), Failure> {
    let config = from.load()?;
    let ring = Arc::new(open::keyring(&config.keyring)?);
    // Asked first: a chain that is being written may be longer than the store knew, never shorter.
    let anchors = if offline {
        None
    } else {
        Some(anchors(&config, &ring).await?)
    };
    let options = Options {
        from_middle,
        anchors: anchors.clone().unwrap_or_default(),
        written_to: (sys::host_name(), paths(files)),
        anchors_for: config.audit.anchors_for,
    };
    let mut verifier = Verifier::new(&ring, options);
    for file in files {
        read(&mut verifier, file)?;
    }
    // And once more: the chain may tell of what the store has learnt meanwhile.
    let now = match anchors {
        Some(_) => Some(anchors_now(&config, &ring).await?),
        None => None,
    };
    let report = verifier.finish(now);
    out.answer(&document(&report, offline)?, &text(&report, offline))?;
    if report.is_well() {
        Ok(())
    } else {
        Err(Failure::told(1))
    }
}

async fn anchors(config: &Config, ring: &Arc<Keyring>) -> Result<Anchors, Failure> {
    anchors_now(config, ring).await.map_err(|why| {
        Failure::new(format!(
            "{why}\nto check without the store, which finds no end that was cut off: --offline"
        ))
    })
}

async fn anchors_now(config: &Config, ring: &Arc<Keyring>) -> Result<Anchors, Failure> {
    let store = open_to_read(&config.store.settings).await?;
    Ok(Vault::new(store, ring.clone()).anchors().await?)
}

/// The files as their writers may have called them.
fn paths(files: &[PathBuf]) -> BTreeSet<String> {
    let called = |file: &PathBuf| [absolute(file), file.canonicalize()];
    let called = files.iter().flat_map(called).flatten();
    called.map(|path| path.display().to_string()).collect()
}

fn read(verifier: &mut Verifier<'_>, file: &Path) -> Result<(), Failure> {
    let read = if file == Path::new("-") {
        verifier.read("-", io::stdin().lock())
    } else {
        let name = file.display().to_string();
        let opened = File::open(file);
        opened.and_then(|open| verifier.read(&name, BufReader::with_capacity(BUFFER, open)))
    };
    read.map_err(|why| Failure::new(format!("{}: cannot be read: {why}", file.display())))
}

fn document(report: &Report, offline: bool) -> Result<Value, Failure> {
    let finding = |finding: &Finding| -> Result<Value, Failure> {
        let mut value = serde_json::to_value(finding).map_err(Failure::new)?;
        value["text"] = finding.what.to_string().into();
        Ok(value)
    };
    let findings: Result<Vec<_>, _> = report.findings.iter().map(finding).collect();
    Ok(json!({
        "ok": report.is_well(),
        "offline": offline,
        "records": report.records,
        "lost": report.lost,
        "chains": report.chains,
        "findings": findings?,
        "unlisted": report.unlisted,
    }))
}

fn text(report: &Report, offline: bool) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let _ = writeln!(text, "{finding}");
    }
    if report.unlisted > 0 {
        let _ = writeln!(text, "and {} more like these", report.unlisted);
    }
    if !report.findings.is_empty() {
        text.push('\n');
    }
    let mut rows = vec![row([
        "WRITER", "HOST", "PID", "RECORDS", "LOST", "ANCHORED", "STATE",
    ])];
    rows.extend(report.chains.iter().map(line));
    text.push_str(&table(&rows));
    let (records, chains) = (report.records, report.chains.len());
    let lost = report.lost;
    let judged = if report.is_well() {
        "nothing was changed or is missing"
    } else {
        "not whole"
    };
    let _ = writeln!(
        text,
        "\n{records} records in {chains} chains: {judged}; {lost} events were not recorded"
    );
    if offline {
        let _ = writeln!(
            text,
            "the store was not asked how far the chains go: an end that was cut off was not looked for"
        );
    }
    text
}

fn line(chain: &ChainSeen) -> Vec<String> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let first = if chain.first_unproven {
        format!("({})", chain.first)
    } else {
        chain.first.to_string()
    };
    vec![
        chain.writer.to_string(),
        or_none(chain.host.clone()),
        or_none(chain.pid.map(|pid| pid.to_string())),
        format!("{first}-{}", chain.last),
        chain.lost.to_string(),
        or_none(chain.anchored.map(|seq| seq.to_string())),
        if chain.closed { "closed" } else { "open" }.to_owned(),
    ]
}
