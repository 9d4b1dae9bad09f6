//! Messages as lines (MCP, basic/transports "stdio"): one each, with no newline inside.

use std::io::{self, BufRead};

use bytes::Bytes;
use memchr::{memchr, memchr2};

/// Bytes a message may have, in either direction.
pub(super) const LONGEST: usize = 64 << 20;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line that is not empty, without its end.
    Message(Bytes),
    /// A line of more than [`LONGEST`] bytes, which was passed over.
    TooLong,
}

/// The next line that is not empty, of at most `longest` bytes; `None` at the end.
///
/// # Errors
/// Those of the reader.
pub(super) fn next(from: &mut impl BufRead, longest: usize) -> io::Result<Option<Line>> {
    let (mut line, mut too_long) = (Vec::new(), false);
    loop {
        let read = match from.fill_buf() {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let at_end = read.is_empty();
        let newline = memchr(b'\n', read);
        let part = &read[..newline.unwrap_or(read.len())];
        too_long |= line.len() + part.len() > longest;
        if too_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(newline.is_some());
        from.consume(used);
        if newline.is_none() && !at_end {
            continue;
        }
        if too_long {
            return Ok(Some(Line::TooLong));
        }
        if !line.trim_ascii().is_empty() {
            return Ok(Some(Line::Message(line.into())));
        }
        if at_end {
            return Ok(None);
        }
        line.clear();
    }
}

/// A JSON text as one line. Within it the ends of lines are white space: in strings they must be escaped
/// (RFC 8259 section 7), so every other byte stays.
pub(super) fn flat(json: Bytes) -> Bytes {
    if memchr2(b'\n', b'\r', &json).is_none() {
        return json;
    }
    let kept = json.iter().copied().filter(|b| !matches!(b, b'\n' | b'\r'));
    kept.collect()
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn read(input: &[u8], buffer: usize) -> Vec<String> {
        let mut reader = BufReader::with_capacity(buffer, input);
        let mut found = Vec::new();
        while let Some(line) = next(&mut reader, 8).unwrap() {
            found.push(match line {
                Line::Message(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                Line::TooLong => "too long".to_owned(),
            });
        }
        found
    }

    // Fails when the limit is `>=`, when what was read of a long line is not passed over, or when a last
    // line without an end is lost.
    #[test]
    fn lines_come_whole_whatever_the_pieces_and_long_ones_are_passed_over() {
        let input = b"12345678\n\n \r\n123456789\nab\r\n{}";
        for buffer in [1, 2, 3, 64] {
            assert_eq!(
                read(input, buffer),
                ["12345678", "too long", "ab\r", "{}"],
                "{buffer}"
            );
        }
        assert_eq!(read(b"123456789", 3), ["too long"]);
        assert_eq!(read(b"", 3), Vec::<String>::new());
        assert_eq!(read(b"\n\n", 3), Vec::<String>::new());
    }

    #[test]
    fn a_text_becomes_a_line_and_keeps_its_strings_and_numbers() {
        let pretty = b"{\r\n  \"a\": \"x\\ny\",\n\"n\": 12345678901234567890.10}\n";
        assert_eq!(
            flat(Bytes::from_static(pretty)),
            &b"{  \"a\": \"x\\ny\",\"n\": 12345678901234567890.10}"[..]
        );
        let one = Bytes::from_static(b"{}");
        assert_eq!(flat(one.clone()).as_ptr(), one.as_ptr(), "not copied");
    }
}
