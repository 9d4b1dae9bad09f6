//! The table, judged.

use proptest::prelude::*;

use super::*;

// Fails when any one condition of `head`, `field`, `target` or `chunked` is taken out: each has a vector
// whose bytes nothing else is wrong with.
#[test]
fn every_vector_gets_its_verdict() {
    let vectors = all();
    assert!(vectors.len() >= 150, "{}", vectors.len());
    for vector in &vectors {
        let outcome = judged(&vector.bytes, []);
        let (requests, fault) = match vector.expect {
            Expect::Accept(requests) => (Some(requests), None),
            Expect::Later(_) => (Some(1), None),
            Expect::Refuse(requests, fault) => (Some(requests), Some(fault)),
            Expect::Cut => (None, None),
        };
        assert_eq!(outcome.fault, fault, "{}", vector.name);
        if let Some(requests) = requests {
            assert_eq!(outcome.requests, requests as u64, "{}", vector.name);
        }
        // A CRLF behind a body and a length nobody waits for are the two ways not to be finished.
        match vector.expect {
            Expect::Accept(_) if !vector.name.starts_with("one more") => {
                assert!(!outcome.unfinished, "{}", vector.name);
            }
            Expect::Cut if vector.name != "nothing" => {
                assert!(outcome.unfinished, "{}", vector.name);
            }
            _ => {}
        }
    }
}

#[test]
fn a_vector_has_its_name_alone() {
    let mut seen = std::collections::HashSet::new();
    for vector in all() {
        assert!(seen.insert(vector.bytes), "{} is there twice", vector.name);
    }
}

// Fails when a head's state forgets what it has judged, or looks at a line before its end.
#[test]
fn no_cut_changes_a_verdict() {
    for vector in all() {
        let whole = judged(&vector.bytes, []);
        // In single bytes; and in two pieces, for vectors short enough to try each place.
        let single = judged(&vector.bytes, 1..vector.bytes.len().max(1));
        assert_eq!(single, whole, "{}, in single bytes", vector.name);
        if vector.bytes.len() < 2000 {
            for cut in 0..vector.bytes.len() {
                let cut_there = judged(&vector.bytes, [cut]);
                assert_eq!(cut_there, whole, "{}, cut at {cut}", vector.name);
            }
        }
    }
}

#[test]
fn heads_are_held_to_the_limit_exactly() {
    let head = |length: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
        let fill = "x".repeat(length - frame.len());
        frame.replace("X: ", &format!("X: {fill}"))
    };
    assert_eq!(judged(head(HEAD_MAX).as_bytes(), []).fault, None);
    let over = head(HEAD_MAX + 1);
    for cuts in [vec![], vec![HEAD_MAX], vec![HEAD_MAX - 2, HEAD_MAX]] {
        let fault = judged(over.as_bytes(), cuts).fault;
        assert_eq!(fault, Some(Fault::HeadTooLarge));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_cut_changes_the_verdict_on_anything(
        bytes in super::against_hyper::mutated(),
        mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut cuts: Vec<_> = cuts.drain(..).map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(judged(&bytes, cuts), judged(&bytes, []));
    }

    // Fails when a head that is like the one before it is taken for that one too easily.
    #[test]
    fn what_came_before_changes_no_verdict(
        one in prop::sample::select(whole()),
        is_number in any::<bool>(),
        at in any::<prop::sample::Index>(),
        byte in prop::sample::select(&b"0019+ a\r\n"[..]),
    ) {
        let mut judge = Judge::new(HEAD_MAX);
        prop_assert_eq!(judge.judge(&one).pass, one.len());
        let before = judge.requests();
        let mut next = one;
        let places: Vec<_> = (0..next.len())
            .filter(|&at| !is_number || next[at].is_ascii_digit())
            .collect();
        next[places[at.index(places.len())]] = byte;
        let (verdict, alone) = (judge.judge(&next), judged(&next, []));
        prop_assert_eq!(&next[..verdict.pass], &alone.passed[..]);
        prop_assert_eq!(judge.requests() - before, alone.requests);
        prop_assert_eq!(verdict.fault, alone.fault);
        let unfinished = judge.in_body() || verdict.pass < next.len();
        prop_assert_eq!(verdict.fault.is_none() && unfinished, alone.unfinished);
    }
}

/// Vectors with which nothing is wrong, and nothing is left to come.
fn whole() -> Vec<Vec<u8>> {
    let all = all().into_iter().map(|vector| vector.bytes);
    let whole = all.filter(|bytes| {
        let outcome = judged(bytes, []);
        !bytes.is_empty() && outcome.fault.is_none() && !outcome.unfinished
    });
    whole.collect()
}
