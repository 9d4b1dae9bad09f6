//! What an import did, row by row.

use std::collections::BTreeSet;

use serde::Serialize;

use super::super::acts::Record;
use super::super::output::{row, table};
use super::super::{Failure, Output};
use crate::moving::{Refused, Summary};

/// What became of each row.
#[derive(Serialize)]
pub(super) struct Report {
    dry_run: bool,
    done: usize,
    refused: usize,
    /// Users of whom only a part may be done.
    partly: usize,
    rows: Vec<Row>,
    notes: BTreeSet<String>,
}

/// What became of one.
#[derive(Serialize)]
struct Row {
    row: String,
    user: String,
    #[serde(flatten)]
    end: End,
}

#[derive(Serialize)]
#[serde(untagged)]
enum End {
    Done {
        #[serde(flatten)]
        summary: Summary,
        /// The file with the client's configuration.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String>,
    },
    Refused {
        result: &'static str,
        why: String,
    },
}

impl Report {
    pub(super) fn new(dry_run: bool) -> Self {
        Self {
            dry_run,
            done: 0,
            refused: 0,
            partly: 0,
            rows: Vec::new(),
            notes: BTreeSet::new(),
        }
    }

    pub(super) fn note(&mut self, words: impl Into<String>) {
        self.notes.insert(words.into());
    }

    pub(super) fn done(&mut self, at: &str, user: &str, summary: Summary, file: Option<String>) {
        self.done += 1;
        self.rows.push(Row {
            row: at.to_owned(),
            user: user.to_owned(),
            end: End::Done { summary, file },
        });
    }

    pub(super) fn refused(&mut self, refused: Refused) {
        let (count, result) = match refused.why.is_partly() {
            true => (&mut self.partly, "partly"),
            false => (&mut self.refused, "refused"),
        };
        *count += 1;
        self.rows.push(Row {
            row: refused.at,
            user: refused.name,
            end: End::Refused {
                result,
                why: refused.why.to_string(),
            },
        });
    }

    /// Whether no row was come to.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Tells the audit trail how much of it was done.
    pub(super) fn learned(&self, record: &mut Record<'_>) {
        record.learn("done", self.done);
        record.learn("refused", self.refused);
        record.learn("partly", self.partly);
    }

    /// Tells it; exit code 1 when something was refused.
    pub(super) fn tell(&self, out: &Output) -> Result<(), Failure> {
        let mut rows = vec![row(["ROW", "USER", "RESULT", "WHAT"])];
        rows.extend(self.rows.iter().map(|line| match &line.end {
            End::Done { summary, file } => {
                let what = words(summary, file.as_deref());
                row([&line.row, &line.user, summary.result, &what])
            }
            End::Refused { result, why } => row([&line.row, &line.user, result, why]),
        }));
        let verb = if self.dry_run {
            "would be done"
        } else {
            "done"
        };
        let mut end = format!("{} {verb}, {} refused", self.done, self.refused);
        if self.partly > 0 {
            end.push_str(&format!(", {} done in part", self.partly));
        }
        if !out.json() {
            for note in &self.notes {
                out.note(note);
            }
            if self.dry_run {
                out.note("nothing was written (--dry-run)");
            }
        }
        out.answer(self, &format!("{}{end}\n", table(&rows)))?;
        if self.refused + self.partly > 0 {
            return Err(Failure::told(1));
        }
        Ok(())
    }
}

fn words(summary: &Summary, file: Option<&str>) -> String {
    let mut parts = Vec::new();
    let mut list = |what: &str, names: &[String]| {
        if !names.is_empty() {
            parts.push(format!("{what} {}", names.join(", ")));
        }
    };
    list("keys", &summary.keys);
    list("secrets", &summary.secrets);
    list("kept", &summary.kept);
    list("groups", &summary.groups);
    list("revoked", &summary.revoked);
    if !summary.fields.is_empty() {
        parts.push(summary.fields.join(", "));
    }
    if summary.issues {
        parts.push("a new key".to_owned());
    }
    parts.extend(file.map(|file| format!("in {file}")));
    parts.join("; ")
}
