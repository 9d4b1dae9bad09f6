//! Strings and words on their way: where they end, and what those say that are of interest.

use memchr::memchr2;

use super::place::MAX_TEXT;
use crate::mcp::scan::plain_in_word;

/// A string that passes and whose content is of interest: a key, or the method.
#[derive(Default)]
pub(super) struct Text {
    wanted: bool,
    /// Whether there is a backslash in it.
    pub(super) escaped: bool,
    /// What of it came in earlier pieces.
    earlier: Vec<u8>,
    /// Where it goes on in this piece.
    pub(super) from: usize,
}

impl Text {
    pub(super) fn begin(&mut self, at: usize) {
        self.wanted = true;
        self.escaped = false;
        self.earlier.clear();
        self.from = at;
    }

    pub(super) fn put_aside(&mut self, piece: &[u8]) {
        if self.wanted {
            let part = &piece[self.from..];
            self.wanted = self.earlier.len() + part.len() <= MAX_TEXT;
            if self.wanted {
                self.earlier.extend_from_slice(part);
            }
        }
    }

    /// The text, which ends with the piece; `None` if nobody wants it or it is no text we know.
    pub(super) fn end<'a>(&'a mut self, piece: &'a [u8]) -> Option<&'a [u8]> {
        if !std::mem::take(&mut self.wanted) {
            return None;
        }
        let part = &piece[self.from..];
        if self.earlier.is_empty() {
            return (part.len() <= MAX_TEXT).then_some(part);
        }
        self.earlier.extend_from_slice(part);
        (self.earlier.len() <= MAX_TEXT).then_some(&self.earlier)
    }
}

/// Where the first quote or backslash is from `at` on.
#[inline]
pub(super) fn quote_or_backslash(piece: &[u8], at: usize) -> Option<usize> {
    let rest = piece.get(at..)?;
    // Most strings are keys, which end in their first word. A control character stops no string here.
    let length = match rest.first_chunk().and_then(plain_in_word) {
        Some(length) if rest[length] >= b' ' => length,
        _ => memchr2(b'"', b'\\', rest)?,
    };
    Some(at + length)
}

pub(super) fn may_be_in_word(byte: u8) -> bool {
    IN_WORD[usize::from(byte)]
}

/// The bytes of words: Python and JavaScript write `NaN` and `-Infinity`. Nothing else is let in: what
/// one parser takes for a comment or a quote must not be a word here.
const IN_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] =
            matches!(byte as u8, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'+' | b'.');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_endless_key_little_is_kept() {
        let mut text = Text::default();
        text.begin(0);
        for _ in 0..100 {
            text.put_aside(&[b'a'; 100]);
            assert!(text.earlier.len() <= MAX_TEXT);
        }
        assert_eq!(text.end(b"a"), None);
    }
}
