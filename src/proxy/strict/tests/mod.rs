#[path = "../../../../tests/desync/vectors.rs"]
pub(in crate::proxy) mod vectors;

pub(in crate::proxy) mod against_hyper;
pub(in crate::proxy) mod reader;
mod verdicts;

use super::judge::Judge;
use super::{Fault, Settings};
use vectors::{Expect, all};

const HEAD_MAX: usize = 64 << 10;

/// What became of a connection's bytes.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    passed: Vec<u8>,
    requests: u64,
    fault: Option<Fault>,
    /// Something was begun and not finished.
    unfinished: bool,
}

/// Shows bytes to a judge in pieces that end where `cuts` says, as a reader does.
fn judged(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Outcome {
    let mut judge = Judge::new(HEAD_MAX);
    let (mut held, mut passed, mut fault, mut from) = (Vec::new(), Vec::new(), None, 0);
    for to in cuts.into_iter().chain([bytes.len()]) {
        held.extend_from_slice(&bytes[from..to]);
        from = to;
        let verdict = judge.judge(&held);
        passed.extend(held.drain(..verdict.pass));
        fault = verdict.fault;
        if fault.is_some() {
            break;
        }
    }
    let unfinished = fault.is_none() && (judge.in_body() || !held.is_empty());
    Outcome {
        passed,
        requests: judge.requests(),
        fault,
        unfinished,
    }
}
