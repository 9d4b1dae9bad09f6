//! Copying one store into another: records as they are, never opened.
//!
//! A copy is a series of passes. Each walks both stores side by side and compares every id, version
//! and blob. The first only looks, and [`Rule::admit`] refuses before anything is written. Those
//! after it write what is missing or older at the destination and delete there what is gone at the
//! source. The copy is done when a whole pass finds nothing to do: that pass is its verification.
//! So whatever was written or deleted at the source meanwhile is caught by the next pass, and a copy
//! that was cut short goes on where it was when it is run again.
//!
//! The check values, by which a store is told from another installation's, are written last: until a
//! copy is whole, a proxy refuses to start on it. So whoever deletes something at a destination does so
//! when it has check values, and a copy that was cut short has none: what is missing beside them may
//! have been deleted there, and is written only when told to ([`Rule::Follow`]).

mod error;
mod judge;
mod serving;
mod walk;

use std::collections::BTreeMap;

use futures_util::future::join_all;

use self::judge::{Found, Verdict, judge};
use self::serving::serving;
use self::walk::{MEANWHILE, Pair, Walk, kinds};
use super::{Record, RecordId, Settled, Store, StoreError, WriteError};

pub use self::error::CopyError;
pub use self::judge::Rule;

/// Records compared before writing, and so writes at once. Bounds the memory a copy takes.
const BATCH: usize = 64;
/// Passes that write. With nobody writing at the source the second finds nothing to do.
const PASSES: usize = 10;

/// What a copy is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Looking, before anything is written.
    Comparing,
    /// Writing.
    Copying,
    /// Comparing again, and writing what changed meanwhile.
    Verifying,
}

/// Hears how far a copy is: so many records of so many, 0 when nobody knows yet.
pub type Told<'a> = &'a (dyn Fn(Stage, u64, u64) + Sync);

/// What became of one kind of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records at the destination, each equal to the source's.
    pub records: u64,
    /// Bytes of their blobs.
    pub bytes: u64,
    /// Records written; one that changed meanwhile was written more than once.
    pub written: u64,
    /// Records deleted, because the source no longer has them.
    pub deleted: u64,
}

/// A copy that was found equal.
pub struct Copied {
    /// By kind: the first letter of the ids.
    pub kinds: BTreeMap<char, Tally>,
    /// Whether the destination's own copies have it.
    pub settled: Settled,
}

/// Copies every record of `from` to `to`, but for the heartbeats of proxies.
///
/// Returns when a whole pass found both equal. What is written at the source behind the last pass is
/// not in the copy: for the last run, nobody may write there.
///
/// # Errors
/// See [`CopyError`]. What was written until then stays, and running it again goes on.
pub async fn copy(
    from: &dyn Store,
    to: &dyn Store,
    rule: Rule,
    told: Told<'_>,
) -> Result<Copied, CopyError> {
    let mut run = Run {
        from,
        to,
        told,
        total: 0,
        newest: 0,
        done: BTreeMap::new(),
    };
    let mut found = run.pass(Stage::Comparing).await?;
    found.serving = serving(to).await.map_err(CopyError::Destination)?;
    rule.admit(&found)?;
    run.total = found.source();
    let verifying = std::iter::repeat_n(Stage::Verifying, PASSES - 1);
    let mut stages = std::iter::once(Stage::Copying).chain(verifying);
    while !found.is_equal() {
        let left = found.unequal();
        let stage = stages.next().ok_or(CopyError::KeepsChanging { left })?;
        found = run.pass(stage).await?;
        found.nobody_else_writes()?;
    }
    let settled = to.settle().await.map_err(CopyError::Destination)?;
    Ok(Copied {
        kinds: run.report(&found),
        settled,
    })
}

/// One copy while it runs.
struct Run<'a> {
    from: &'a dyn Store,
    to: &'a dyn Store,
    told: Told<'a>,
    /// Records of the source when it was looked at; 0 before.
    total: u64,
    /// The greatest version a copy of the source can hold: of all records seen there, and of what the
    /// destination held when the copy was admitted.
    newest: u64,
    /// What was written and deleted so far.
    done: BTreeMap<char, Tally>,
}

/// What happened to a record that was not equal.
enum Done {
    Written,
    Deleted,
    /// Somebody was faster, or nothing may be done: the next pass judges anew.
    Left,
}

impl Run<'_> {
    /// Compares everything; in all stages but the first, also does what is to be done.
    async fn pass(&mut self, stage: Stage) -> Result<Found, CopyError> {
        let mut found = Found::default();
        let mut walked = 0;
        for kind in kinds() {
            let mut walk = Walk::new(kind, self.from, self.to);
            loop {
                let pairs = walk.batch().await?;
                if pairs.is_empty() {
                    break;
                }
                walked += pairs.len() as u64;
                self.batch(stage, pairs, &mut found).await?;
                let grown = if self.total > 0 { walked } else { 0 };
                (self.told)(stage, walked, self.total.max(grown));
            }
        }
        Ok(found)
    }

    async fn batch(
        &mut self,
        stage: Stage,
        pairs: Vec<Pair>,
        found: &mut Found,
    ) -> Result<(), CopyError> {
        for pair in &pairs {
            self.saw(stage, pair);
        }
        let run = &*self;
        let looked = join_all(pairs.into_iter().map(|pair| run.looked_at(stage, pair))).await;
        let mut todo = Vec::new();
        for looked in looked {
            let (pair, verdict) = looked?;
            self.saw(stage, &pair);
            let verdict = if MEANWHILE.contains(&pair.kind()) {
                // Counted as it is: proxies that serve from either store write it all the time.
                found.count(&pair, Verdict::Equal);
                verdict.only_forward()
            } else {
                found.count(&pair, verdict);
                verdict
            };
            if stage != Stage::Comparing {
                todo.push((pair, verdict));
            }
        }
        let run = &*self;
        let done = join_all(
            todo.into_iter()
                .map(|(pair, verdict)| run.act(pair, verdict)),
        )
        .await;
        for done in done {
            let (kind, done) = done?;
            let tally = self.done.entry(kind).or_default();
            match done {
                Done::Written => tally.written += 1,
                Done::Deleted => tally.deleted += 1,
                Done::Left => {}
            }
        }
        Ok(())
    }

    fn saw(&mut self, stage: Stage, pair: &Pair) {
        let admitted = pair
            .destination
            .as_ref()
            .filter(|_| stage == Stage::Comparing);
        for record in pair.source.iter().chain(admitted) {
            self.newest = self.newest.max(record.version);
        }
    }

    /// The verdict; one that would refuse or delete is only given on a second look, since the walk
    /// read the two sides at two moments.
    async fn looked_at(&self, stage: Stage, pair: Pair) -> Result<(Pair, Verdict), CopyError> {
        let verdict = judge(pair.source.as_ref(), pair.destination.as_ref());
        if let Verdict::Equal | Verdict::Missing | Verdict::Older(_) = verdict {
            return Ok((pair, verdict));
        }
        // In this order: what the destination has was at the source before.
        let destination = one(self.to, &pair.id)
            .await
            .map_err(CopyError::Destination)?;
        let source = one(self.from, &pair.id).await.map_err(CopyError::Source)?;
        let verdict = match judge(source.as_ref(), destination.as_ref()) {
            // Made at the destination, during the copy: nothing that was copied is so new.
            Verdict::Extra(version) if stage != Stage::Comparing && version > self.newest => {
                Verdict::Newer
            }
            verdict => verdict,
        };
        let pair = Pair {
            id: pair.id,
            source,
            destination,
        };
        Ok((pair, verdict))
    }

    async fn act(&self, pair: Pair, verdict: Verdict) -> Result<(char, Done), CopyError> {
        let kind = pair.kind();
        let (did, done) = match (verdict, pair.source) {
            (Verdict::Missing, Some(record)) => (self.to.put_if(record, None).await, Done::Written),
            (Verdict::Older(version), Some(record)) => {
                (self.to.put_if(record, Some(version)).await, Done::Written)
            }
            (Verdict::Extra(version), _) => {
                (self.to.delete_if(&pair.id, version).await, Done::Deleted)
            }
            _ => (Ok(()), Done::Left),
        };
        match did {
            Ok(()) => Ok((kind, done)),
            Err(WriteError::Conflict) => Ok((kind, Done::Left)),
            Err(WriteError::Store(error)) => Err(CopyError::Destination(error)),
        }
    }

    fn report(&self, found: &Found) -> BTreeMap<char, Tally> {
        let mut kinds = self.done.clone();
        for (kind, count) in &found.kinds {
            let tally = kinds.entry(*kind).or_default();
            (tally.records, tally.bytes) = (count.equal, count.bytes);
        }
        kinds
    }
}

async fn one(store: &dyn Store, id: &RecordId) -> Result<Option<Record>, StoreError> {
    let mut found = store.get_many(std::slice::from_ref(id)).await?;
    Ok(found.pop().flatten())
}
