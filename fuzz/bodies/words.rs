//! What a child writes to its standard error: the same however it is cut, its secret never in it, nothing
//! in it that moves a cursor, and all of it bounded.

use std::time::Instant;

use cloakroom::stdio::{Lines, Mask, Said};

/// Bytes of a line before its cut, at four characters each, and the mark.
const LONGEST: usize = 4 * 4096 + " [cut]".len();

/// The length of the secret, how much is pushed at once, the secret, and what is written.
pub(crate) fn run(input: &[u8]) {
    let &[length, piece, ref rest @ ..] = input else {
        return;
    };
    let (secret, text) = rest.split_at(rest.len().min(length.into()));
    let whole = shown(secret, text, usize::MAX);
    assert_eq!(shown(secret, text, usize::from(piece).max(1)), whole);
    let (lines, _, tail) = &whole;
    assert!(tail.len() <= 1024 && lines.iter().all(|line| line.len() <= LONGEST));
    let secret = secret.trim_ascii();
    // What we write ourselves (stars, escapes, marks) may happen to spell it.
    let odd = secret.len() < 4 || secret.iter().any(|byte| b"*[] |".contains(byte));
    let shows = |line: &str| {
        let mut here = line.as_bytes().windows(secret.len().max(1));
        !odd && !line.contains('\\') && here.any(|here| here == secret)
    };
    for line in lines.iter().chain([tail]) {
        assert!(!line.contains(char::is_control));
        assert!(!shows(line), "{line}");
    }
}

/// The lines, how many were left out, and the tail.
fn shown(secret: &[u8], text: &[u8], piece: usize) -> (Vec<String>, u64, String) {
    let now = Instant::now();
    let mut lines = Lines::new(Mask::of([secret]), now);
    let (mut out, mut left_out) = (Vec::new(), 0);
    let mut said = |said: Said<'_>| match said {
        Said::Line(line) => out.push(line.to_owned()),
        Said::LeftOut(lines) => left_out += lines,
    };
    for piece in text.chunks(piece) {
        lines.push(piece, now, &mut said);
    }
    lines.end(now, &mut said);
    (out, left_out, lines.tail())
}
