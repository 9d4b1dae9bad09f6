//! Any connection, cut into pieces of the sizes its first bytes say: the verdict is that on the whole, and
//! nothing that passes holds what two parsers read differently.

use cloakroom::proxy::strict::{Fault, Judge};

use super::pieces;

/// What passed, how many heads were in it, and what was wrong.
type Outcome = (Vec<u8>, u64, Option<Fault>);

fn judged<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut judge = Judge::new(512);
    let (mut held, mut passed) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let verdict = judge.judge(&held);
        passed.extend(held.drain(..verdict.pass));
        if verdict.fault.is_some() {
            return (passed, judge.requests(), verdict.fault);
        }
    }
    (passed, judge.requests(), None)
}

pub(crate) fn run(input: &[u8]) {
    let Some((sizes, bytes)) = input.split_at_checked(4) else {
        return;
    };
    let whole = judged([bytes].into_iter());
    assert_eq!(judged(pieces(sizes, bytes)), whole);
    assert_eq!(judged(bytes.chunks(1)), whole);
    let (passed, requests, _) = whole;
    if requests > 0 {
        let end = passed.windows(4).position(|four| four == b"\r\n\r\n");
        // The overlooked CRLF before a first line is no end of a head.
        let head = &passed[..end.expect("a head that passes is whole")];
        assert!(
            head.iter()
                .all(|b| matches!(b, b' '..=b'~' | b'\t' | b'\r' | b'\n'))
        );
    }
}
