//! JSON strings: where they end, whether they are well formed, and what they say.

use std::borrow::Cow;

use super::error::{ScanError, ScanErrorKind};

/// A string's content without its quotes: half a mebi-entry per body fits a u32, and eight bytes
/// per key is what keeps the memory of a body full of keys under four times its size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Str {
    start: u32,
    /// Length in bytes, shifted left by one; the lowest bit says that there is a backslash in it.
    len_escaped: u32,
}

impl Str {
    fn new(start: usize, end: usize, escaped: bool) -> Self {
        // MAX_BODY is 2^30, so both fit.
        Self {
            start: start as u32,
            len_escaped: ((end - start) as u32) << 1 | u32::from(escaped),
        }
    }

    /// The content as written, escapes and all.
    pub(super) fn raw(self, text: &str) -> &str {
        let start = self.start as usize;
        &text[start..start + (self.len_escaped >> 1) as usize]
    }

    /// The same as bytes, which need no look at where characters begin.
    pub(super) fn raw_bytes(self, text: &str) -> &[u8] {
        let start = self.start as usize;
        &text.as_bytes()[start..start + (self.len_escaped >> 1) as usize]
    }

    /// Whether the content has escapes.
    pub(super) fn escaped(self) -> bool {
        self.len_escaped & 1 == 1
    }

    /// Whether it has as many bytes as `other`, and an escape if that has: else they cannot be written
    /// alike.
    pub(super) fn is_as_long_as(self, other: Self) -> bool {
        self.len_escaped == other.len_escaped
    }

    /// Where the content begins.
    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    /// The offset after the closing quote.
    pub(super) fn after(self) -> usize {
        self.start as usize + (self.len_escaped >> 1) as usize + 1
    }

    /// The content, escapes decoded.
    #[inline]
    pub(super) fn decode(self, text: &str) -> Cow<'_, str> {
        if self.escaped() {
            Cow::Owned(self.unescape(text))
        } else {
            Cow::Borrowed(self.raw(text))
        }
    }

    #[cold]
    fn unescape(self, text: &str) -> String {
        Unescape::new(self.raw(text)).collect()
    }
}

/// Reads a string whose opening quote is at `open`.
#[inline(always)]
pub(super) fn string(bytes: &[u8], open: usize) -> Result<Str, ScanError> {
    let start = open + 1;
    let end = plain(bytes, start);
    match bytes.get(end) {
        Some(b'"') => Ok(Str::new(start, end, false)),
        _ => escaped_string(bytes, start, end),
    }
}

/// The same for a string that begins at `start` and is plain up to `at`, where it does not end.
#[inline(never)]
fn escaped_string(bytes: &[u8], start: usize, mut at: usize) -> Result<Str, ScanError> {
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok(Str::new(start, at, true)),
            // Where one escape is more are, so that blocks would rarely be plain.
            Some(b'\\') => at = after_plain_words(bytes, escape(bytes, at)?),
            _ => return Err(ScanError::new(ScanErrorKind::NotJson, at)),
        }
    }
}

/// The first byte from `at` on that cannot simply stand in a string: a quote, a backslash, a
/// control character, or the end.
#[inline]
fn plain(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(word) => match plain_in_word(word) {
            Some(length) => at + length,
            None => after_plain(bytes, at + word.len()),
        },
        None => after_plain(bytes, at),
    }
}

/// The same after a first word. Not inlined: most strings are keys and names, which end in that.
#[inline(never)]
fn after_plain(bytes: &[u8], mut at: usize) -> usize {
    if let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        match plain_in_word(word) {
            Some(length) => return at + length,
            None => at += word.len(),
        }
    }
    // What is longer than two words is mostly a text, and long.
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk::<32>) {
        // No early end: that is what lets the compiler look at many bytes at once.
        if !block.iter().fold(true, |all, &byte| all & is_plain(byte)) {
            break;
        }
        at += block.len();
    }
    after_plain_words(bytes, at)
}

/// The same, word by word.
#[inline]
fn after_plain_words(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        match plain_in_word(word) {
            Some(length) => return at + length,
            None => at += word.len(),
        }
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|&&byte| is_plain(byte)).count()
}

/// Whether a byte can simply stand in a string. With the bit turned, the quote is next to the control
/// characters, at 0x20, and a space is 0x22: one comparison less.
fn is_plain(byte: u8) -> bool {
    (byte ^ 0x02 > 0x20) & (byte != b'\\')
}

/// How many of eight bytes are plain before the first that is not; `None` if all are.
#[inline]
pub(in crate::mcp) fn plain_in_word(word: &[u8; 8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(*word);
    // As in `is_plain`, eight at a time: a subtraction sets the top bit of what is too small. Borrows
    // can make a false alarm in a byte above a true one, never hide one, and the lowest alarm is
    // always true.
    let quote_or_control = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
    let backslash = (word ^ (ONES * 0x5c)).wrapping_sub(ONES);
    let alarms = (quote_or_control | backslash) & !word & TOPS;
    (alarms != 0).then(|| (alarms.trailing_zeros() / 8) as usize)
}

/// Checks the escape whose backslash is at `at`; returns the offset after it (after both halves of
/// a surrogate pair).
fn escape(bytes: &[u8], at: usize) -> Result<usize, ScanError> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let unit = |at: usize| bytes.get(at + 2..at + 6).and_then(hex4);
            let first = unit(at).ok_or(ScanError::new(ScanErrorKind::NotJson, at))?;
            if !(0xd800..=0xdfff).contains(&first) {
                return Ok(at + 6);
            }
            let paired = first < 0xdc00
                && bytes.get(at + 6..at + 8) == Some(b"\\u")
                && unit(at + 6).is_some_and(|second| (0xdc00..=0xdfff).contains(&second));
            if paired {
                Ok(at + 12)
            } else {
                Err(ScanError::new(ScanErrorKind::LoneSurrogate, at))
            }
        }
        _ => Err(ScanError::new(ScanErrorKind::NotJson, at)),
    }
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |value, &b| Some(value << 4 | (b as char).to_digit(16)?))
}

/// The characters of a checked string, escapes decoded.
pub(super) struct Unescape<'a> {
    rest: &'a str,
}

impl<'a> Unescape<'a> {
    pub(super) fn new(raw: &'a str) -> Self {
        Self { rest: raw }
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest.as_bytes().get(..4)?;
        let value = hex4(digits)?;
        self.rest = self.rest.get(4..)?;
        Some(value)
    }
}

impl Iterator for Unescape<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let first = chars.next()?;
        if first != '\\' {
            self.rest = chars.as_str();
            return Some(first);
        }
        let kind = chars.next()?;
        self.rest = chars.as_str();
        Some(match kind {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = self.unit()?;
                let code = if (0xd800..0xdc00).contains(&high) {
                    self.rest = self.rest.strip_prefix("\\u")?;
                    let low = self.unit()?;
                    0x10000 + ((high - 0xd800) << 10) + low.checked_sub(0xdc00)?
                } else {
                    high
                };
                char::from_u32(code)?
            }
            other => other,
        })
    }
}

/// Whether `key` is `known` to a reader that ignores case.
///
/// Such readers exist (Go's encoding/json, Jackson and .NET when told to), and they fold by
/// Unicode, not by ASCII: the long s, the Kelvin sign and the Turkish i's are letters to them.
pub(super) fn equals_ignoring_case(key: &str, known: &str) -> bool {
    if key.len() == known.len() {
        return key.eq_ignore_ascii_case(known);
    }
    // The letters meant below are longer than those they fold to.
    if key.len() < known.len() || key.is_ascii() {
        return false;
    }
    let folded = key.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        other => other.to_ascii_lowercase(),
    });
    folded.eq(known.chars().map(|c| c.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a byte hides behind those before it in a word or a block, or is taken for another.
    #[test]
    fn a_plain_text_ends_where_its_first_other_byte_is() {
        // Those next to the bytes that end it, with and without the bit turned and the top bit.
        const PLAIN: &[u8] = b" !#Z[]^\x7f\x80\x82\xa0\xa2\xa3\xdc\xff";
        const OTHER: &[u8] = b"\"\\\0\x01\x02\x1e\x1f";
        assert!(PLAIN.iter().all(|&byte| is_plain(byte)));
        assert!(!OTHER.iter().any(|&byte| is_plain(byte)));
        for length in 0..90 {
            for (from, &filling) in PLAIN.iter().enumerate() {
                let mut bytes = vec![filling; from + length];
                assert_eq!(plain(&bytes, from), from + length);
                assert_eq!(after_plain_words(&bytes, from), from + length);
                for at in from..from + length {
                    for &other in OTHER {
                        bytes[at] = other;
                        assert_eq!(plain(&bytes, from), at, "{other} in {filling}");
                        assert_eq!(after_plain_words(&bytes, from), at, "{other} in {filling}");
                    }
                    bytes[at] = filling;
                }
            }
        }
    }
}
