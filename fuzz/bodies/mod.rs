//! What is fuzzed: one function per target, which panics when a promise is broken. The targets of libFuzzer
//! (`fuzz_targets/`) and the smoke test on every run of the tests (`smoke.rs`) call the same ones.

#![allow(dead_code, reason = "a target of libFuzzer uses one of them")]

pub(crate) mod answer;
pub(crate) mod blob;
pub(crate) mod config;
mod edited;
pub(crate) mod http1;
pub(crate) mod ids;
pub(crate) mod key;
pub(crate) mod proxy_header;
pub(crate) mod push;
pub(crate) mod scan;
pub(crate) mod splice;
pub(crate) mod strict;
pub(crate) mod words;

/// `bytes` in pieces of these sizes and one, in turn.
fn pieces<'a>(sizes: &[u8], mut bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    sizes.iter().cycle().map_while(move |&size| {
        let (piece, later) = bytes.split_at(bytes.len().min(usize::from(size) + 1));
        bytes = later;
        (!piece.is_empty()).then_some(piece)
    })
}
