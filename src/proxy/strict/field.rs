//! One line of a head after the first.

use super::fault::Fault;

/// Judges a header line without its CRLF: its name and its value without the spaces around it.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    if matches!(line[0], b' ' | b'\t') {
        return Err(Fault::Folded);
    }
    let in_name = |b: &u8| IN_NAME[usize::from(*b)];
    let mut end = line.iter().position(|b| !in_name(b)).unwrap_or(line.len());
    if line.get(end) == Some(&b'_') {
        // The part of `Mcp-Param-*` that a server chose (MCP 2026-07-28) may be any token.
        if end < PARAMETER.len() || !line[..PARAMETER.len()].eq_ignore_ascii_case(PARAMETER) {
            return Err(Fault::Underscore);
        }
        let rest = line[end..].iter().position(|b| !in_name(b) && *b != b'_');
        end = rest.map_or(line.len(), |rest| end + rest);
    }
    match line.get(end) {
        Some(b':') if end > 0 => Ok((&line[..end], trim(&line[end + 1..]))),
        Some(b' ' | b'\t') if end > 0 => Err(Fault::SpaceBeforeColon),
        _ => Err(Fault::FieldName),
    }
}

/// Before the name that a server gave a parameter.
const PARAMETER: &[u8] = b"mcp-param-";

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' '] = value {
        value = rest;
    }
    value
}

/// Whether a line is of visible ASCII, spaces and tabs only.
pub(super) fn characters(line: &[u8]) -> Result<(), Fault> {
    // Without a way out of the loop, so that it becomes a few instructions for many bytes.
    let bad = |b: u8| (b < b' ' && b != b'\t') | (b > b'~');
    if !line.iter().fold(false, |any, &b| any | bad(b)) {
        return Ok(());
    }
    let first = line.iter().find(|&&b| bad(b));
    Err(match first {
        Some(128..) => Fault::NotAscii,
        _ => Fault::Control,
    })
}

/// RFC 9110, 5.6.2: `token`, but for `_`.
const IN_NAME: [bool; 256] = of(b"!#$%&'*+-.^`|~");

/// Which bytes are letters, digits or one of `marks`.
pub(super) const fn of(marks: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 128_u8 {
        table[b as usize] = b.is_ascii_alphanumeric();
        b += 1;
    }
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
}
