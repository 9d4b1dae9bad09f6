//! Every body of `bodies/` for some seconds, with seeds and cheap changes to them: what needs neither nightly
//! nor libFuzzer, so that it runs with the other tests. It follows no coverage; the real targets do.
//!
//! A failure prints the input; put into `seeds/` it is tried first from then on.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

#[path = "bodies/mod.rs"]
mod bodies;
#[path = "mutate.rs"]
mod mutate;

use mutate::Mutator;

/// For each of two rounds: one that is the same every time, and one that never was before.
const ROUND: Duration = Duration::from_millis(1500);
const FIXED: u64 = 0x10_c4ed;

fn smoke(target: &str, body: fn(&[u8])) {
    let seeds = seeds(target);
    for seed in &seeds {
        attempt(target, body, seed);
    }
    for start in [FIXED, RandomState::new().build_hasher().finish()] {
        let mut mutator = Mutator::new(start, &seeds);
        let (until, mut runs) = (Instant::now() + ROUND, 0u64);
        while Instant::now() < until {
            attempt(target, body, &mutator.next());
            runs += 1;
        }
        eprintln!("{target}: {runs} inputs from {start:#x}");
    }
}

fn attempt(target: &str, body: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(|| body(input)) {
        eprintln!("{target} fails on b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let files = std::fs::read_dir(&folder).expect("every target has a folder of seeds");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    assert!(paths.len() > 1, "no seeds for {target}");
    let read = |path| std::fs::read(path).expect("a seed can be read");
    paths.iter().map(read).collect()
}

macro_rules! smoke {
    ($($target:ident)*) => {$(
        #[test]
        fn $target() {
            smoke(stringify!($target), bodies::$target::run);
        }
    )*};
}

smoke!(answer blob config http1 ids key proxy_header push scan splice strict words);
