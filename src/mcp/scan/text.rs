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

    /// Where the content begins.
    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    /// The offset after the closing quote.
    pub(super) fn after(self) -> usize {
        self.start as usize + (self.len_escaped >> 1) as usize + 1
    }

    /// The content, escapes decoded.
    pub(super) fn decode(self, text: &str) -> Cow<'_, str> {
        let raw = self.raw(text);
        if self.escaped() {
            Cow::Owned(Unescape::new(raw).collect())
        } else {
            Cow::Borrowed(raw)
        }
    }
}

/// Reads a string whose opening quote is at `open`.
#[inline]
pub(super) fn string(bytes: &[u8], open: usize) -> Result<Str, ScanError> {
    let start = open + 1;
    let mut at = start;
    let mut escaped = false;
    loop {
        at = plain(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok(Str::new(start, at, escaped)),
            Some(b'\\') => {
                escaped = true;
                at = escape(bytes, at)?;
            }
            _ => return Err(ScanError::new(ScanErrorKind::NotJson, at)),
        }
    }
}

/// The first byte from `at` on that cannot simply stand in a string: a quote, a backslash, a
/// control character, or the end.
#[inline]
fn plain(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    // Eight at a time. Borrows can make a false alarm in a byte above a true one, never hide one,
    // and the lowest alarm is always true.
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = word ^ (ONES * 0x22);
        let slash = word ^ (ONES * 0x5c);
        let hits =
            (control | (quote.wrapping_sub(ONES) & !quote) | (slash.wrapping_sub(ONES) & !slash))
                & TOPS;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes
        .get(at)
        .is_some_and(|b| !matches!(b, b'"' | b'\\' | 0..=0x1f))
    {
        at += 1;
    }
    at
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
