//! `store backup` and `store restore`

use std::path::Path;

use serde_json::json;

use super::super::acts::Record;
use super::super::open::Source;
use super::super::{Failure, Output};
use super::copy::report;
use super::stages::Stages;
use super::tallies;
use crate::audit::{Act, Deed};
use crate::store;

pub(in crate::cli) async fn backup(
    file: &Path,
    from: &Source,
    out: &Output,
) -> Result<(), Failure> {
    let settings = from.load_store()?;
    let sqlite = settings.url.is_sqlite();
    let stages = Stages::of(out, if sqlite { "pages" } else { "" });
    let told = |stage, done, total| stages.at(stage, done, total);
    let made = store::backup(&settings, file, &told).await;
    stages.end();
    let made = made?;
    let records = tallies::sum(&made.kinds).records;
    let document = json!({
        "file": file,
        "from": settings.url.shown(),
        "records": records,
        "bytes": made.bytes,
    });
    let text = format!(
        "wrote {}: {records} records, {} bytes\n",
        file.display(),
        made.bytes
    );
    out.answer(&document, &text)?;
    out.note("the keyring is not in it: keep a copy of that too, apart from this file");
    Ok(())
}

pub(in crate::cli) async fn restore(
    file: &Path,
    from: &Source,
    record: &mut Record<'_>,
    out: &Output,
) -> Result<(), Failure> {
    let settings = from.load_store()?;
    // What the trail tells the store meanwhile stands in nobody's way: anchors are no part of what has to be
    // equal.
    let deed = Deed::new(Act::StoreRestore, settings.url.shown());
    record
        .begin(deed.with("file", file.display().to_string()))
        .await?;
    let stages = Stages::new(out);
    let told = |stage, done, total| stages.at(stage, done, total);
    let copied = store::restore(&settings, file, &told).await;
    stages.end();
    let copied = copied?;
    let file = file.display().to_string();
    report(&copied, &file, &settings.url.shown(), out)?;
    out.note("keys revoked after the backup was made work again: revoke them anew");
    Ok(())
}
