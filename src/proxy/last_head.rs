//! The last head of a connection, which the next is likely to repeat.
//!
//! Most clients send the same head with every request, and most backends with every answer; only the digits of its
//! Content-Length differ. What was made of one head, by a pure function of its bytes, need not be made again of the next.

use std::ops::Range;

use bytes::Bytes;
use zeroize::Zeroizing;

/// Bytes, and lines, a head may have to be remembered: a connection that is idle keeps it, and what was made of
/// it, also that of a client without a key.
const BYTES: usize = 2048;
const LINES: usize = 32;
/// Heads in a row of which none came again, after which no more are remembered: who says something else each time,
/// the hour or the number of the request, is to pay nothing for it.
const TRIES: u8 = 8;
const NAME: &[u8] = b"content-length:";

/// A head, and where in it the digits of its Content-Length are. No `Debug`, and wiped when nobody holds it any
/// more: a client's key is in it.
#[derive(Default)]
pub(super) struct LastHead {
    bytes: Bytes,
    digits: Range<usize>,
    /// Heads that were remembered since one came again.
    tries: u8,
}

impl LastHead {
    /// Remembers a head that was accepted, with the empty line at its end: it has one Content-Length at most.
    /// One without, or a large one, is none to remember.
    pub(super) fn note(&mut self, head: &[u8]) {
        let tries = self.tries.saturating_add(1);
        if tries > TRIES {
            return self.forget();
        }
        let is_small = head.len() <= BYTES && memchr::memchr_iter(b'\n', head).count() <= LINES;
        *self = match digits(head).filter(|_| is_small) {
            // Of its own, not a part of what was read, which would be held with it.
            Some(digits) => Self {
                bytes: Bytes::from_owner(Zeroizing::new(head.to_vec())),
                digits,
                tries,
            },
            None => Self {
                tries,
                ..Self::default()
            },
        };
    }

    /// Holds no head any more.
    pub(super) fn forget(&mut self) {
        (self.bytes, self.digits) = Default::default();
    }

    /// The digits of the Content-Length in `read`, if this head stands at its beginning but for them, of which
    /// there are as many.
    pub(super) fn again<'b>(&mut self, read: &'b [u8]) -> Option<&'b [u8]> {
        let head = read.get(..self.bytes.len())?;
        let Range { start, end } = self.digits;
        let digits = &head[start..end];
        let is_same = !digits.is_empty()
            && digits.iter().all(u8::is_ascii_digit)
            && head[end..] == self.bytes[end..]
            && head[..start] == self.bytes[..start];
        if is_same {
            self.tries = 0;
        }
        is_same.then_some(digits)
    }

    /// The head as it was; empty when there is none.
    pub(super) fn expose_bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Where the digits of the Content-Length are; `None` where there is none.
fn digits(head: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    for end in memchr::memchr_iter(b'\n', head) {
        let line = &head[at..end];
        let (name, value) = line.split_at(line.len().min(NAME.len()));
        if name.eq_ignore_ascii_case(NAME) {
            let spaces = value.iter().take_while(|&&b| b == b' ').count();
            let digits = value[spaces..].iter().take_while(|b| b.is_ascii_digit());
            let start = at + name.len() + spaces;
            return Some(start..start + digits.count());
        }
        at = end + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nX: 34\r\n\r\n";

    fn again(read: &str) -> Option<&str> {
        let mut last = LastHead::default();
        last.note(HEAD.as_bytes());
        last.again(read.as_bytes())
            .map(|digits| std::str::from_utf8(digits).unwrap())
    }

    // Fails when one of the conditions of `again` is taken out.
    #[test]
    fn only_the_digits_may_differ() {
        assert_eq!(again(HEAD), Some("12"));
        assert_eq!(again(&format!("{HEAD}more")), Some("12"));
        assert_eq!(again(&HEAD.replace("12", "99")), Some("99"));
        for (from, to) in [
            ("12", "1"),
            ("12", "123"),
            ("12", "+2"),
            ("12", "1 "),
            ("34", "35"),
            ("POST", "POSS"),
            ("Host", "host"),
            ("\r\n\r\n", "\r\n"),
        ] {
            assert_eq!(again(&HEAD.replace(from, to)), None, "{to}");
        }
        assert_eq!(again(""), None);
    }

    // Fails when the tries are not counted, or not from the last head on that came again.
    #[test]
    fn who_never_says_the_same_is_not_remembered_for_long() {
        let other = |number: u8| HEAD.replace("34", &format!("{number:02}"));
        let mut last = LastHead::default();
        for _ in 0..3 {
            for number in 0..TRIES {
                last.note(other(number).as_bytes());
            }
            assert!(last.again(other(TRIES - 1).as_bytes()).is_some());
        }
        for number in 0..=TRIES {
            last.note(other(number).as_bytes());
        }
        assert!(last.again(other(TRIES).as_bytes()).is_none());
        assert!(last.expose_bytes().is_empty());
    }

    #[test]
    fn what_has_no_length_or_is_large_is_not_remembered() {
        let mut last = LastHead::default();
        assert_eq!(last.again(b""), None);
        let long = |bytes| HEAD.replace("34", &"3".repeat(bytes + 2 - HEAD.len()));
        let many = |lines| HEAD.replace("X: 34\r\n", &"X: 34\r\n".repeat(lines + 1 - 5));
        let bare = HEAD.replace("Content-Length", "Length");
        for (head, is_kept) in [
            (long(BYTES), true),
            (long(BYTES + 1), false),
            (many(LINES), true),
            (many(LINES + 1), false),
            (bare, false),
            (String::new(), false),
        ] {
            last.note(HEAD.as_bytes());
            last.note(head.as_bytes());
            assert_eq!(last.again(head.as_bytes()).is_some(), is_kept, "{head}");
            assert_eq!(last.again(HEAD.as_bytes()), None);
        }
    }
}
