//! One record, one line; and the chain that links them. Pure.
//!
//! ```text
//! {"v":1,"writer":"<32 hex>","seq":17,"at":"2026-11-22T00:30:02.123456Z","event":"start",…,"mac":"<64 hex>"}
//! ```
//!
//! `mac` = HMAC-SHA-256(key of the writer, mac of the record before (32 bytes; of the first one zeros) ||
//! every byte of the line before `,"mac":"`). It is checked on the bytes as they are, never on what some
//! parser makes of them. Lines are ASCII: everything else is escaped, so that no terminal and no tool
//! that reads lines is led astray by what somebody called a tool.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::SystemTime;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::vault::{TrailMac, WriterId};

/// What every record begins with, and nothing within one.
pub(super) const MARK: &str = "{\"v\":1,\"writer\":\"";
const SEQ: &str = "\",\"seq\":";
const MAC: &str = ",\"mac\":\"";
const END: &str = "\"}";
/// What stands before the name of the event: it comes right after the time.
const EVENT: &str = "\"event\":\"";

/// The tag of a record.
pub(super) type Mac = [u8; 32];

/// What comes before the first record.
pub(super) const NOTHING: Mac = [0; 32];

/// The last record of a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) mac: Mac,
}

/// A chain that is being written.
pub(super) struct Chain {
    writer: WriterId,
    mac: TrailMac,
    head: Option<Head>,
}

impl Chain {
    pub(super) fn new(writer: WriterId, mac: TrailMac) -> Self {
        Self {
            writer,
            mac,
            head: None,
        }
    }

    pub(super) fn writer(&self) -> WriterId {
        self.writer
    }

    /// The last record; none before the first.
    pub(super) fn head(&self) -> Option<Head> {
        self.head
    }

    /// Takes back the records after `head`, of which no whole line was written.
    pub(super) fn rewind(&mut self, head: Option<Head>) {
        self.head = head;
    }

    /// Appends the line of `record`, which is a JSON object with an `event`, to `out`.
    pub(super) fn append(&mut self, at: SystemTime, record: &impl Serialize, out: &mut Vec<u8>) {
        let seq = self.head.map_or(0, |head| head.seq + 1);
        let start = out.len();
        let at = humantime::format_rfc3339_micros(at);
        let _ = write!(out, "{MARK}{}{SEQ}{seq},\"at\":\"{at}\"", self.writer);
        let object = out.len();
        record
            .serialize(&mut Serializer::with_formatter(&mut *out, Ascii))
            .expect("records have text keys, and memory takes every byte");
        // The record's members go on where ours end.
        out[object] = b',';
        out.pop();
        let previous = self.head.map_or(NOTHING, |head| head.mac);
        let mac = self.mac.link(&previous, &out[start..]);
        let _ = writeln!(out, "{MAC}{}{END}", hex(&mac));
        self.head = Some(Head { seq, mac });
    }
}

/// A line that has the form of a record; whether it is one, its chain tells.
pub(super) struct Line<'a> {
    pub(super) writer: WriterId,
    pub(super) seq: u64,
    /// What the tag is over.
    pub(super) body: &'a [u8],
    pub(super) mac: Mac,
    whole: &'a [u8],
}

impl<'a> Line<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let (writer, seq, rest) = start(line)?;
        rest.starts_with(b",").then_some(())?;
        let mac_at = line.len().checked_sub(MAC.len() + 64 + END.len())?;
        let (body, tail) = line.split_at(mac_at);
        let digits = tail
            .strip_prefix(MAC.as_bytes())?
            .strip_suffix(END.as_bytes())?;
        Some(Self {
            writer,
            seq,
            body,
            mac: unhex(digits)?,
            whole: line,
        })
    }

    /// Whether it comes right after the record with the tag `previous`.
    pub(super) fn follows(&self, previous: &Mac, mac: &TrailMac) -> bool {
        mac.link(previous, self.body) == self.mac
    }

    /// The name of its event.
    pub(super) fn event(&self) -> &'a [u8] {
        let Some(at) = memchr::memmem::find(self.body, EVENT.as_bytes()) else {
            return b"";
        };
        let rest = &self.body[at + EVENT.len()..];
        let end = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        &rest[..end]
    }

    /// What it says.
    pub(super) fn read<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(self.whole).ok()
    }
}

/// What can be told of a record of which only the beginning is there.
pub(super) struct Stump {
    pub(super) writer: Option<WriterId>,
    pub(super) seq: Option<u64>,
}

impl Stump {
    /// `None` when it does not begin as a record does.
    pub(super) fn parse(piece: &[u8]) -> Option<Self> {
        let mark = MARK.as_bytes();
        let shared = piece.len().min(mark.len());
        (piece[..shared] == mark[..shared]).then_some(())?;
        if let Some((writer, seq, _)) = start(piece) {
            return Some(Self {
                writer: Some(writer),
                seq: Some(seq),
            });
        }
        let digits = piece.get(mark.len()..mark.len() + 32);
        let text = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        Some(Self {
            writer: text.and_then(WriterId::parse),
            seq: None,
        })
    }
}

/// Writer and number, and what comes after them.
fn start(line: &[u8]) -> Option<(WriterId, u64, &[u8])> {
    let (writer, rest) = line.strip_prefix(MARK.as_bytes())?.split_at_checked(32)?;
    let writer = WriterId::parse(std::str::from_utf8(writer).ok()?)?;
    let rest = rest.strip_prefix(SEQ.as_bytes())?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, rest) = rest.split_at(digits);
    let seq = std::str::from_utf8(number).ok()?.parse().ok()?;
    // A number that was cut off is another number.
    (!rest.is_empty()).then_some((writer, seq, rest))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn unhex(digits: &[u8]) -> Option<Mac> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut out = [0; 32];
    (digits.len() == 64).then_some(())?;
    for (byte, pair) in out.iter_mut().zip(digits.chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// Compact JSON of nothing but printable ASCII.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(|c: char| !c.is_ascii() || c == '\u{7f}') {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut chars = rest[at..].chars();
            if let Some(c) = chars.next() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::{Value, json};

    use super::*;
    use crate::vault::Keyring;

    fn chain() -> (Chain, TrailMac) {
        let (ring, writer) = (Keyring::generate(), WriterId::generate());
        let mac = || TrailMac::new(&ring, &writer);
        (Chain::new(writer, mac()), mac())
    }

    #[test]
    fn a_line_is_json_that_ends_with_its_tag() {
        let (mut chain, mac) = chain();
        let at = UNIX_EPOCH + Duration::from_micros(1_795_307_402_123_456);
        let mut out = Vec::new();
        chain.append(at, &json!({ "event": "x", "n": 1 }), &mut out);
        let first = chain.head().unwrap();
        let end = out.len();
        chain.append(at, &json!({ "event": "y" }), &mut out);
        let text = std::str::from_utf8(&out[..end]).unwrap();
        let writer = chain.writer();
        let tag = hex(&first.mac);
        assert_eq!(
            text,
            format!(
                "{{\"v\":1,\"writer\":\"{writer}\",\"seq\":0,\"at\":\"2026-11-22T00:30:02.123456Z\",\
                 \"event\":\"x\",\"n\":1,\"mac\":\"{tag}\"}}\n"
            )
        );
        let line = Line::parse(text.trim_end().as_bytes()).unwrap();
        assert!(line.follows(&NOTHING, &mac) && line.event() == b"x");
        let second = Line::parse(&out[end..out.len() - 1]).unwrap();
        assert_eq!((second.seq, second.event()), (1, &b"y"[..]));
        assert!(second.follows(&first.mac, &mac) && !second.follows(&NOTHING, &mac));
    }

    // Fails when a character beyond ASCII, or DEL, is written as it is.
    #[test]
    fn nothing_but_printable_ascii_is_written() {
        let (mut chain, _) = chain();
        let odd = "a\nb\u{7f}c\u{9b}2J\u{2028}\u{202e}\u{1f600}é\"\\";
        let mut out = Vec::new();
        chain.append(UNIX_EPOCH, &json!({ "event": "x", "tool": odd }), &mut out);
        assert!(
            out[..out.len() - 1]
                .iter()
                .all(|b| (0x20..0x7f).contains(b))
        );
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["tool"], odd);
    }
}
