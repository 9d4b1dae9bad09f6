//! Changing a few places of a JSON text, every other byte as it stands.
//!
//! [`members`] and [`elements`] find the places again in a text whose whole was judged before (a
//! request's) or never is (a backend's): they check the level they walk, skip what lies below it, and
//! give `None` where it is not JSON. [`Edits`] collects what is to stand there instead.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use zeroize::Zeroize as _;

use super::scan;

/// A member of an object. Ranges are of the text it was found in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its key, escapes decoded.
    pub key: Cow<'a, str>,
    /// From the key's opening quote to the end of the value.
    pub whole: Range<usize>,
    /// The value.
    pub value: Range<usize>,
}

/// The members of the object that is the value at `object`, in the order written; `None` if it is no
/// object.
#[must_use]
pub fn members<'a>(text: &'a str, object: &Range<usize>) -> Option<Vec<Member<'a>>> {
    let mut cursor = Cursor::open(text, object, b'{')?;
    let mut found = Vec::new();
    if cursor.closes(b'}', object)? {
        return Some(found);
    }
    loop {
        let start = cursor.at;
        let key = cursor.string()?;
        cursor.space();
        cursor.take(b':')?;
        cursor.space();
        let value = cursor.value()?;
        found.push(Member {
            key: unquoted(&text[key])?,
            whole: start..value.end,
            value,
        });
        if !cursor.another(b'}', object)? {
            return Some(found);
        }
    }
}

/// The elements of the array that is the value at `array`, in the order written; `None` if it is no
/// array.
#[must_use]
pub fn elements(text: &str, array: &Range<usize>) -> Option<Vec<Range<usize>>> {
    let mut cursor = Cursor::open(text, array, b'[')?;
    let mut found = Vec::new();
    if cursor.closes(b']', array)? {
        return Some(found);
    }
    loop {
        found.push(cursor.value()?);
        if !cursor.another(b']', array)? {
            return Some(found);
        }
    }
}

/// The value of the member `key` of an object; the last, where a careless server wrote it twice.
#[must_use]
pub fn member(text: &str, object: &Range<usize>, key: &str) -> Option<Range<usize>> {
    let found = members(text, object)?;
    found
        .into_iter()
        .rev()
        .find(|member| member.key == key)
        .map(|member| member.value)
}

/// What the string literal `literal` says, quotes and escapes undone; `None` if it is none.
#[must_use]
pub fn unquoted(literal: &str) -> Option<Cow<'_, str>> {
    scan::string_literal(literal)
}

/// Writes `text` as a string literal to the end of `out`: quotes and backslashes escaped, control
/// characters as `\u00XX`, everything else as it is (RFC 8259 section 7).
pub fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            0..=0x1f => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                out.extend(*b"\\u00");
                out.extend([digit(byte >> 4), digit(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// How many bytes [`quote`] writes.
#[must_use]
pub fn quoted_len(text: &str) -> usize {
    let byte = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    2 + text.bytes().map(byte).sum::<usize>()
}

/// Whether two names are one to a reader that ignores case. Such readers exist (Go's encoding/json,
/// Jackson and .NET when told to), and they fold by Unicode: to them the long s, the Kelvin sign and the
/// Turkish i's are letters of ASCII.
#[must_use]
pub fn same_ignoring_case(a: &str, b: &str) -> bool {
    let folded = |text: &str| -> Vec<char> { text.chars().flat_map(fold).collect() };
    a == b
        || a.eq_ignore_ascii_case(b)
        || (!(a.is_ascii() && b.is_ascii()) && folded(a) == folded(b))
}

fn fold(c: char) -> impl Iterator<Item = char> {
    let folded = match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        other => other,
    };
    folded.to_lowercase()
}

/// What is to stand in which place of a text. No `Debug`: it may hold secrets, so what it holds is
/// zeroed on drop.
#[derive(Default)]
pub struct Edits<'a> {
    list: Vec<(Range<usize>, Pieces<'a>)>,
}

/// What stands in one place: several pieces, so that none has to be copied into another.
type Pieces<'a> = Vec<Cow<'a, [u8]>>;

/// A part of the text with everything changed.
enum Part<'e, 'a> {
    /// As it stands in this range of the text.
    Kept(Range<usize>),
    Changed(&'e Pieces<'a>),
}

impl<'a> Edits<'a> {
    /// In how many places something changes.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Puts `pieces` in place of `range`, which overlaps no other edit's; of two insertions at one
    /// place the first stands first.
    pub fn replace(
        &mut self,
        range: Range<usize>,
        pieces: impl IntoIterator<Item = Cow<'a, [u8]>>,
    ) {
        self.list.push((range, pieces.into_iter().collect()));
    }

    /// Takes away the values `gone` says, of a list of members or elements at `whole`, with the
    /// commas that belonged to them.
    pub fn remove(&mut self, whole: &[Range<usize>], gone: &[bool]) {
        let kept = gone.iter().position(|gone| !gone);
        let first = kept.unwrap_or(whole.len());
        if first > 0 {
            let start = whole[0].start;
            let end = whole
                .get(first)
                .map_or(whole[first - 1].end, |kept| kept.start);
            self.list.push((start..end, Vec::new()));
        }
        for at in first + 1..whole.len() {
            if gone[at] {
                self.list
                    .push((whole[at - 1].end..whole[at].end, Vec::new()));
            }
        }
    }

    /// The text with everything changed, allocated once at its exact size.
    #[must_use]
    pub fn apply(self, text: &[u8]) -> Bytes {
        let changed = self.list.iter().flat_map(|(_, new)| new);
        let added: usize = changed.map(|piece| piece.len()).sum();
        let removed: usize = self.list.iter().map(|(range, _)| range.len()).sum();
        let mut out = Vec::with_capacity(text.len() + added - removed);
        self.walk(text.len(), |part| match part {
            Part::Kept(range) => out.extend_from_slice(&text[range]),
            Part::Changed(new) => new.iter().for_each(|piece| out.extend_from_slice(piece)),
        });
        out.into()
    }

    /// The same in pieces, of which those that stay as they are share the text: what is changed is copied
    /// alone.
    #[must_use]
    pub fn pieces(self, text: &Bytes) -> Vec<Bytes> {
        let mut pieces = Vec::with_capacity(2 * self.list.len() + 1);
        self.walk(text.len(), |part| {
            pieces.push(match part {
                Part::Kept(range) => text.slice(range),
                Part::Changed(new) => new.concat().into(),
            });
        });
        pieces
    }

    /// Shows every part of a text of so many bytes, in order.
    fn walk(mut self, length: usize, mut show: impl FnMut(Part<'_, 'a>)) {
        self.list.sort_by_key(|(range, _)| (range.start, range.end));
        let mut at = 0;
        for (range, new) in &self.list {
            show(Part::Kept(at..range.start));
            show(Part::Changed(new));
            at = range.end;
        }
        show(Part::Kept(at..length));
    }
}

impl Drop for Edits<'_> {
    fn drop(&mut self) {
        for piece in self.list.iter_mut().flat_map(|(_, pieces)| pieces) {
            if let Cow::Owned(bytes) = piece {
                bytes.zeroize();
            }
        }
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Steps into the value at `range`, which must begin with `bracket`.
    fn open(text: &'a str, range: &Range<usize>, bracket: u8) -> Option<Self> {
        let mut cursor = Self {
            text: text.get(..range.end)?,
            at: range.start,
        };
        cursor.take(bracket)?;
        cursor.space();
        Some(cursor)
    }

    /// Whether the value ends here, at its own end.
    fn closes(&mut self, bracket: u8, range: &Range<usize>) -> Option<bool> {
        if self.peek()? != bracket {
            return Some(false);
        }
        (self.at + 1 == range.end).then_some(true)
    }

    /// After a value: whether another follows.
    fn another(&mut self, bracket: u8, range: &Range<usize>) -> Option<bool> {
        self.space();
        if self.closes(bracket, range)? {
            return Some(false);
        }
        self.take(b',')?;
        self.space();
        Some(true)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Steps over a string; its range, quotes included.
    fn string(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        self.take(b'"')?;
        let bytes = self.text.as_bytes();
        loop {
            let skip = memchr::memchr2(b'"', b'\\', bytes.get(self.at..)?)?;
            self.at += skip + 1;
            if bytes[self.at - 1] == b'"' {
                return Some(start..self.at);
            }
            self.at += 1;
        }
    }

    /// Steps over a value, whatever it is.
    fn value(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth == 0 => return None,
                b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                _ => self.word()?,
            }
            if depth == 0 {
                return Some(start..self.at);
            }
        }
    }

    /// Steps over a number, `true`, `false`, `null`, or whatever a careless server wrote in its place.
    fn word(&mut self) -> Option<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let ends = |b: &u8| {
            matches!(
                b,
                b',' | b':' | b'}' | b']' | b'{' | b'[' | b'"' | b' ' | b'\n' | b'\r' | b'\t'
            )
        };
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        self.at += length;
        (length > 0).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(text: &str) -> Option<Vec<(String, String)>> {
        let found = members(text, &(0..text.len()))?;
        let pair = |m: &Member<'_>| (m.key.to_string(), text[m.value.clone()].to_owned());
        Some(found.iter().map(pair).collect())
    }

    #[test]
    fn members_and_elements_are_found_where_they_stand() {
        let text = r#"{ "a" : [1, {"b": "]}"}] ,"\u0063":"\"," , "d":{}, "":-1e5}"#;
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let expected = vec![
            pair("a", r#"[1, {"b": "]}"}]"#),
            pair("c", r#""\",""#),
            pair("d", "{}"),
            pair("", "-1e5"),
        ];
        assert_eq!(keys(text), Some(expected));
        assert_eq!(keys(" {}".trim()), Some(Vec::new()));
        let list = r#"[ "a" , 2,[ ] ]"#;
        let found = elements(list, &(0..list.len())).unwrap();
        let texts: Vec<_> = found.into_iter().map(|range| &list[range]).collect();
        assert_eq!(texts, ["\"a\"", "2", "[ ]"]);
        for bad in [
            "",
            "{",
            "[]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1]",
            "{\"a\" 1}",
            "{a:1}",
            "{}x",
            "{\"a\":1 2}",
            "{\"a",
        ] {
            assert_eq!(keys(bad), None, "{bad}");
        }
    }

    #[test]
    fn values_go_with_their_commas() {
        let text = r#"{"a":1, "b":2 ,"c":3}"#;
        for (gone, left) in [
            ([true, false, false], r#"{"b":2 ,"c":3}"#),
            ([false, true, false], r#"{"a":1 ,"c":3}"#),
            ([false, false, true], r#"{"a":1, "b":2 }"#),
            ([true, true, false], r#"{"c":3}"#),
            ([true, false, true], r#"{"b":2 }"#),
            ([false, true, true], r#"{"a":1 }"#),
            ([true, true, true], "{}"),
            ([false, false, false], text),
        ] {
            let whole: Vec<_> = members(text, &(0..text.len()))
                .unwrap()
                .into_iter()
                .map(|m| m.whole)
                .collect();
            let edits = || {
                let mut edits = Edits::default();
                edits.remove(&whole, &gone);
                edits.replace(0..0, [Cow::Borrowed(&b" "[..]), Cow::Owned(vec![b'\n'])]);
                edits
            };
            let result = edits().apply(text.as_bytes());
            assert_eq!(edits().pieces(&Bytes::from(text)).concat(), result);
            let parse = serde_json::from_slice::<serde_json::Value>;
            assert_eq!(
                parse(&result).unwrap(),
                parse(left.as_bytes()).unwrap(),
                "{result:?}"
            );
        }
    }

    #[test]
    fn names_that_a_careless_reader_takes_for_one_are_one() {
        for (a, b) in [
            ("token", "token"),
            ("token", "ToKen"),
            ("token", "to\u{212a}en"),
            ("secret", "\u{17f}ecret"),
            ("api", "ap\u{131}"),
            ("größe", "GRÖSSE".to_lowercase().replace("ss", "ß").as_str()),
        ] {
            assert!(
                same_ignoring_case(a, b) && same_ignoring_case(b, a),
                "{a} {b}"
            );
        }
        assert!(!same_ignoring_case("token", "tokens") && !same_ignoring_case("é", "e"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_quoted_text_is_read_back_by_another_parser(text in any::<String>()) {
            let mut out = Vec::new();
            quote(&text, &mut out);
            prop_assert_eq!(out.len(), quoted_len(&text));
            prop_assert_eq!(&serde_json::from_slice::<String>(&out).unwrap(), &text);
            let literal = String::from_utf8(out).unwrap();
            prop_assert_eq!(unquoted(&literal).unwrap(), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}\",:a1\\\\ ué]{0,24}") {
            let _ = members(&text, &(0..text.len()));
            let _ = elements(&text, &(0..text.len()));
            let _ = unquoted(&text);
        }
    }
}
