//! One progress after the other, as a copy goes from stage to stage.

use std::sync::{Mutex, PoisonError};

use super::super::Output;
use super::super::progress::Progress;
use crate::store::Stage;

/// The progress of whatever stage it is in.
pub(super) struct Stages<'a> {
    out: &'a Output,
    /// What is counted, unless it is records.
    unit: &'static str,
    now: Mutex<Option<(Stage, Progress<'a>)>>,
}

impl<'a> Stages<'a> {
    pub(super) fn new(out: &'a Output) -> Self {
        Self::of(out, "")
    }

    /// With what is counted in words.
    pub(super) fn of(out: &'a Output, unit: &'static str) -> Self {
        let now = Mutex::new(None);
        Self { out, unit, now }
    }

    pub(super) fn at(&self, stage: Stage, done: u64, total: u64) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        // A pass that walks anew begins at the front again: the same words, from the front.
        if let Some((_, progress)) = now.take_if(|(before, _)| *before != stage) {
            progress.end();
        }
        let (_, progress) = now.get_or_insert_with(|| {
            let what = format!("{} {}", word(stage), self.unit);
            (stage, Progress::new(self.out, what.trim_end()))
        });
        progress.at(done, total);
    }

    pub(super) fn end(self) {
        let now = self
            .now
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, progress)) = now {
            progress.end();
        }
    }
}

fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Comparing => "comparing",
        Stage::Copying => "copying",
        Stage::Verifying => "verifying",
    }
}
