//! `store …`

mod backup;
mod copy;
mod ends;
mod stages;
mod stats;
mod tallies;

pub(super) use backup::{backup, restore};

use super::acts::Record;
use super::args::StoreCommand;
use super::open::Source;
use super::{Failure, Output};
use crate::audit::{Act, Deed};
use crate::store::Rule;

pub(super) async fn run(
    command: &StoreCommand,
    from: &Source,
    record: &mut Record<'_>,
    out: &Output,
) -> Result<(), Failure> {
    match command {
        StoreCommand::Copy {
            from: source,
            to,
            delete,
            again,
            rest,
        } => {
            if !rest.is_empty() {
                return Err(Failure::usage(
                    "name the stores with --from and --to, by a configuration's file or a URL \
                     without a password",
                ));
            }
            let ends = ends::ends(source.as_deref(), to.as_deref(), from)?;
            let deed = Deed::new(Act::StoreCopy, ends.to.url.shown())
                .with("from", ends.from.url.shown())
                .with("delete", *delete)
                .with("again", *again);
            record.begin(deed).await?;
            let rule = Rule::Follow {
                delete: *delete,
                again: *again,
            };
            copy::run(&ends, rule, out).await
        }
        StoreCommand::Backup { file } => backup(file, from, out).await,
        StoreCommand::Restore { file } => restore(file, from, record, out).await,
        StoreCommand::Stats => stats::run(from, out).await,
    }
}
