//! `store copy`

use serde_json::json;

use super::super::{Failure, Output, on_all_copies};
use super::ends::Ends;
use super::stages::Stages;
use super::tallies;
use crate::store::{Copied, Rule, copy, open, open_to_read};

pub(super) async fn run(ends: &Ends, rule: Rule, out: &Output) -> Result<(), Failure> {
    let from = open_to_read(&ends.from).await?;
    let to = open(&ends.to).await?;
    let stages = Stages::new(out);
    let told = |stage, done, total| stages.at(stage, done, total);
    let copied = copy(&*from, &*to, rule, &told).await;
    stages.end();
    let copied = copied?;
    report(&copied, &ends.from.url.shown(), &ends.to.url.shown(), out)?;
    out.note("what is written at the source from now on is not in the copy");
    Ok(())
}

/// Says what was copied, when both were found equal.
pub(super) fn report(copied: &Copied, from: &str, to: &str, out: &Output) -> Result<(), Failure> {
    let records = tallies::sum(&copied.kinds).records;
    let document = json!({
        "from": from,
        "to": to,
        "equal": true,
        "records": records,
        "kinds": tallies::as_json(&copied.kinds),
        "on_all_copies": on_all_copies(copied.settled, out),
    });
    let text = format!(
        "{}{to} holds the {records} records of {from}, each the same\n",
        tallies::as_text(&copied.kinds)
    );
    out.answer(&document, &text)
}
