//! Makes what a child wrote safe to show: to an operator's terminal, in a log, in an error's text.

use std::fmt::Write as _;

/// Appends `bytes` to `out` as text. What is not UTF-8 comes out as `\xff`, control characters as `\x1b`,
/// and what cannot be seen but changes how its neighbours are read (direction marks, joiners, tags) as
/// `\u{202e}`.
pub(super) fn escape(bytes: &[u8], out: &mut String) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                c if c.is_ascii_control() => hex(c as u8, out),
                c if c.is_control() || is_format(c) => out.extend(c.escape_unicode()),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            hex(*byte, out);
        }
    }
}

fn hex(byte: u8, out: &mut String) {
    let _ = write!(out, "\\x{byte:02x}");
}

/// Characters of the category Cf, and the two that break lines (Unicode 17).
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
        | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when any arm lets its characters through.
    #[test]
    fn nothing_moves_a_cursor_or_hides() {
        for (bytes, text) in [
            (&b"plain {\"a\": 1} \\n"[..], "plain {\"a\": 1} \\n"),
            ("Grüße, 東京 🦀".as_bytes(), "Grüße, 東京 🦀"),
            (
                b"\x1b[2J\x07\x7f\0a\tb\r",
                "\\x1b[2J\\x07\\x7f\\x00a\\tb\\r",
            ),
            ("\u{9b}x".as_bytes(), "\\u{9b}x"),
            (
                "a\u{202e}b\u{200b}\u{2066}\u{2028}\u{feff}\u{e0041}".as_bytes(),
                "a\\u{202e}b\\u{200b}\\u{2066}\\u{2028}\\u{feff}\\u{e0041}",
            ),
            (b"\xff\xc3(\xe2\x82", "\\xff\\xc3(\\xe2\\x82"),
        ] {
            let mut out = String::new();
            escape(bytes, &mut out);
            assert_eq!(out, text);
        }
    }
}
