//! The forms in which programs write a text: as it is, in JSON, in URLs, in base64, in hex.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// How one form of a text is written, and which of its neighbours hold bits of it too.
pub(super) struct Form<'a> {
    pub(super) text: &'a [u8],
    /// Whether the character before it holds some of the text's first bits.
    pub(super) before: bool,
    /// Whether the character after it holds some of the text's last bits.
    pub(super) after: bool,
}

/// Calls `each` with every form of `text`, some of them more than once.
pub(super) fn each(text: &[u8], mut each: impl FnMut(Form<'_>)) {
    let mut whole = |text: &[u8]| {
        each(Form {
            text,
            before: false,
            after: false,
        });
    };
    whole(text);
    if let Ok(text) = std::str::from_utf8(text) {
        for escapes in JSON {
            whole(&json(text, escapes));
        }
    }
    for unreserved in PERCENT {
        for digits in [UPPER, LOWER] {
            whole(&percent(text, unreserved, digits));
        }
    }
    whole(&hex(text, UPPER));
    whole(&hex(text, LOWER));
    for behind in 0..3 {
        base64(text, behind, &mut each);
    }
}

const UPPER: &[u8; 16] = b"0123456789ABCDEF";
const LOWER: &[u8; 16] = b"0123456789abcdef";

fn push_hex(out: &mut Vec<u8>, byte: u8, digits: &[u8; 16]) {
    out.push(digits[usize::from(byte >> 4)]);
    out.push(digits[usize::from(byte & 15)]);
}

fn hex(text: &[u8], digits: &[u8; 16]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() * 2));
    for &byte in text {
        push_hex(&mut out, byte, digits);
    }
    out
}

/// Which bytes beside letters and digits stand for themselves: RFC 3986, `encodeURIComponent`, Python's
/// `quote`, and forms (where `+` is a space).
const PERCENT: [&[u8]; 4] = [b"-._~", b"-._~!*'()", b"-._~/", b"-._* "];

fn percent(text: &[u8], unreserved: &[u8], digits: &[u8; 16]) -> Zeroizing<Vec<u8>> {
    // No growing: what is left behind would not be zeroed.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() * 3));
    for &byte in text {
        if byte.is_ascii_alphanumeric() || unreserved.contains(&byte) {
            out.push(if byte == b' ' { b'+' } else { byte });
        } else {
            out.push(b'%');
            push_hex(&mut out, byte, digits);
        }
    }
    out
}

/// What is escaped in a JSON string beside what has to be.
#[derive(Clone, Copy)]
struct Escapes {
    not_ascii: bool,
    slash: bool,
    html: bool,
}

/// JavaScript, Python, PHP and Go.
const JSON: [Escapes; 4] = [
    Escapes {
        not_ascii: false,
        slash: false,
        html: false,
    },
    Escapes {
        not_ascii: true,
        slash: false,
        html: false,
    },
    Escapes {
        not_ascii: true,
        slash: true,
        html: false,
    },
    Escapes {
        not_ascii: false,
        slash: false,
        html: true,
    },
];

fn json(text: &str, escapes: Escapes) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() * 6));
    for c in text.chars() {
        match c {
            '"' => out.extend(b"\\\""),
            '\\' => out.extend(b"\\\\"),
            '\n' => out.extend(b"\\n"),
            '\r' => out.extend(b"\\r"),
            '\t' => out.extend(b"\\t"),
            '\u{8}' => out.extend(b"\\b"),
            '\u{c}' => out.extend(b"\\f"),
            '/' if escapes.slash => out.extend(b"\\/"),
            '\0'..' ' => push_unit(&mut out, c as u16),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if escapes.html => {
                push_unit(&mut out, c as u16);
            }
            '\u{7f}'.. if escapes.not_ascii => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    push_unit(&mut out, *unit);
                }
            }
            _ => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    out
}

fn push_unit(out: &mut Vec<u8>, unit: u16) {
    out.extend(b"\\u");
    for byte in unit.to_be_bytes() {
        push_hex(out, byte, LOWER);
    }
}

/// The characters that stand for `text` alone when so many bytes come before it in their group of three.
fn base64(text: &[u8], behind: usize, mut each: impl FnMut(Form<'_>)) {
    let mut group = Zeroizing::new(Vec::with_capacity(behind + text.len()));
    group.resize(behind, 0);
    group.extend_from_slice(text);
    let first = (behind * 8).div_ceil(6);
    let end = group.len() * 8 / 6;
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        let written = Zeroizing::new(engine.encode(&*group));
        each(Form {
            text: &written.as_bytes()[first..end],
            before: behind > 0,
            after: group.len() % 3 > 0,
        });
    }
}
