//! What `check` says: findings in words and as a document.

use serde_json::{Value, json};

use crate::cli::output::{row, table};
use crate::cli::{Failure, Output};

/// What was looked at, and what was found: nothing, something to know, or something to mend.
pub(super) struct Finding {
    pub(super) what: String,
    pub(super) state: State,
    pub(super) says: String,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum State {
    Well,
    Warning,
    Error,
}

impl Finding {
    pub(super) fn well(what: &str, says: impl ToString) -> Self {
        Self::new(what, State::Well, says)
    }

    pub(super) fn warning(what: &str, says: impl ToString) -> Self {
        Self::new(what, State::Warning, says)
    }

    pub(super) fn error(what: &str, says: impl ToString) -> Self {
        Self::new(what, State::Error, says)
    }

    fn new(what: &str, state: State, says: impl ToString) -> Self {
        Self {
            what: what.to_owned(),
            state,
            says: says.to_string(),
        }
    }
}

/// Shows all findings; fails with `code` when there is something to mend.
pub(super) fn report(findings: &[Finding], code: u8, out: &Output) -> Result<(), Failure> {
    let failed = findings.iter().any(|finding| finding.state == State::Error);
    let rows: Vec<_> = findings
        .iter()
        .map(|finding| row([word(finding.state), &finding.what, &finding.says]))
        .collect();
    let findings: Vec<_> = findings.iter().map(document).collect();
    out.answer(
        &json!({ "ok": !failed, "findings": findings }),
        &table(&rows),
    )?;
    if failed {
        Err(Failure::told(code))
    } else {
        Ok(())
    }
}

fn document(finding: &Finding) -> Value {
    json!({ "state": word(finding.state), "what": finding.what, "says": finding.says })
}

fn word(state: State) -> &'static str {
    match state {
        State::Well => "ok",
        State::Warning => "warning",
        State::Error => "error",
    }
}
