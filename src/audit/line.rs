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

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::vault::{TrailMac, WriterId};

/// What every record begins with, and nothing within one.
pub(super) const MARK: &str = "{\"v\":1,\"writer\":\"";
const SEQ: &str = "\",\"seq\":";
const AT: &str = ",\"at\":\"";
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
    /// What every line begins with.
    beginning: Vec<u8>,
    clock: Clock,
}

impl Chain {
    pub(super) fn new(writer: WriterId, mac: TrailMac) -> Self {
        Self {
            writer,
            mac,
            head: None,
            beginning: format!("{MARK}{writer}{SEQ}").into_bytes(),
            clock: Clock::default(),
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

    /// Appends the line of a record to `out`. `members` writes what it says, an `event` first, each after a
    /// comma.
    pub(super) fn append(
        &mut self,
        at: SystemTime,
        members: impl FnOnce(&mut Vec<u8>),
        out: &mut Vec<u8>,
    ) {
        let seq = self.head.map_or(0, |head| head.seq + 1);
        let start = out.len();
        out.extend_from_slice(&self.beginning);
        decimal(seq, 1, out);
        out.extend_from_slice(AT.as_bytes());
        self.clock.write(at, out);
        out.push(b'"');
        members(out);
        let previous = self.head.map_or(NOTHING, |head| head.mac);
        let mac = self.mac.link(&previous, &out[start..]);
        out.extend_from_slice(MAC.as_bytes());
        write_hex(&mac, out);
        out.extend_from_slice(END.as_bytes());
        out.push(b'\n');
        self.head = Some(Head { seq, mac });
    }
}

/// Writes moments as RFC 3339 has them, in UTC and with microseconds. Most fall into the second of the one
/// before, whose text is kept.
struct Clock {
    /// Since 1970.
    second: u64,
    /// Up to its seconds: `2026-11-22T00:30:02`.
    text: String,
}

impl Default for Clock {
    fn default() -> Self {
        Self::of(0)
    }
}

impl Clock {
    fn of(second: u64) -> Self {
        let at = UNIX_EPOCH + Duration::from_secs(second);
        let mut text = humantime::format_rfc3339_seconds(at).to_string();
        // A fraction goes before it.
        text.pop();
        Self { second, text }
    }

    fn write(&mut self, at: SystemTime, out: &mut Vec<u8>) {
        // A clock before 1970 is wrong whatever is made of it.
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        if since.as_secs() != self.second {
            *self = Self::of(since.as_secs());
        }
        out.extend_from_slice(self.text.as_bytes());
        out.push(b'.');
        decimal(u64::from(since.subsec_micros()), 6, out);
        out.push(b'Z');
    }
}

/// Writes a number with `least` digits at least.
pub(super) fn decimal(number: u64, least: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number).as_bytes();
    for _ in digits.len()..least {
        out.push(b'0');
    }
    out.extend_from_slice(digits);
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

/// Writes bytes as hexadecimal digits: room for all of them is made once.
pub(super) fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    let (fours, rest) = bytes.as_chunks();
    out.reserve(2 * bytes.len());
    for four in fours {
        out.extend_from_slice(&eight_digits(*four));
    }
    for byte in rest {
        out.extend_from_slice(&hex_digits(*byte));
    }
}

/// The digits of four bytes, all at once.
fn eight_digits(bytes: [u8; 4]) -> [u8; 8] {
    const ONES: u64 = u64::from_be_bytes([1; 8]);
    let mut digits = u64::from(u32::from_be_bytes(bytes));
    // First the halves are drawn apart, then theirs, until each byte is one digit.
    digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | digits << 4) & (ONES * 0x0f);
    // From 10 on, 6 more is 16 or more.
    let letters = (digits + ONES * 6) >> 4 & ONES;
    let above = u64::from(b'a' - b'0' - 10);
    (digits + ONES * u64::from(b'0') + letters * above).to_be_bytes()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| hex_digits(*byte));
    digits.map(char::from).collect()
}

pub(super) fn hex_digits(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
    [digit(byte >> 4), digit(byte & 15)]
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::*;
    use crate::audit::members;
    use crate::audit::{Called, End, Event, Owner, SecretUsed, Start};
    use crate::identity::KeyDigest;
    use crate::names::{ProfileName, SecretName, ServerName};
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
        let members = |value: Value| move |out: &mut Vec<u8>| members::any(&value, out);
        chain.append(at, members(json!({ "event": "x", "n": 1 })), &mut out);
        let first = chain.head().unwrap();
        let end = out.len();
        chain.append(at, members(json!({ "event": "y" })), &mut out);
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
        let record = json!({ "event": "x", "tool": odd });
        chain.append(UNIX_EPOCH, |out| members::any(&record, out), &mut out);
        assert!(
            out[..out.len() - 1]
                .iter()
                .all(|b| (0x20..0x7f).contains(b))
        );
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["tool"], odd);
    }

    // What is in trails already must go on being checked, so a line never changes. Computed by other means
    // (Python's hmac).
    #[test]
    fn lines_and_their_tags_are_what_they_always_were() {
        let keys = [("r1 realm house", 0x11), ("i1 index house", 0x22)];
        let keys = keys
            .into_iter()
            .chain([("s1 server *", 0x33), ("g1 sign house", 0x44)]);
        let keys = keys.map(|(line, byte)| format!("{line} {}\n", STANDARD.encode([byte; 32])));
        let ring = Keyring::parse(&keys.collect::<String>()).unwrap();
        let writer = WriterId::parse("000102030405060708090a0b0c0d0e0f").unwrap();
        let mut chain = Chain::new(writer, TrailMac::new(&ring, &writer));
        let start = Start {
            request: 7,
            user: "alice".into(),
            user_id: serde_json::from_value(json!("11".repeat(16))).unwrap(),
            by: None,
            key: Some(KeyDigest::of_nothing().key_id()),
            server: &ServerName::parse("github").unwrap(),
            profile: &ProfileName::default_profile(),
            called: Called::new(vec!["tools/call"], &["café \u{7f}\u{1f600}"]),
            secrets: vec![SecretUsed {
                name: SecretName::parse("TOKEN").unwrap(),
                version: 3,
                from: Owner::Group("build".into()),
            }],
            address: Some([127, 0, 0, 1].into()),
            client: None,
        };
        let end = End {
            request: 7,
            status: Some(200),
            rejection: None,
            bytes_out: 12,
            duration_us: 3456,
            complete: true,
        };
        let mut out = Vec::new();
        let at = |micros: u64| UNIX_EPOCH + Duration::from_micros(1_795_307_402_000_000 + micros);
        let mut append = |at, event: Event<'_>| {
            let mut packed = Vec::new();
            members::put_down(&event, &mut packed);
            chain.append(at, |out| members::write(&packed, out), &mut out);
        };
        append(at(456), Event::Start(start));
        append(at(1_100_000), Event::End(end));
        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            include_str!("pinned.jsonl")
        );
    }

    #[test]
    fn every_byte_has_its_two_digits_wherever_it_stands() {
        for length in 0..=9 {
            for byte in 0..=u8::MAX {
                let bytes: Vec<_> = (0..length).map(|at| byte.wrapping_add(at * 31)).collect();
                let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                let mut written = b"before".to_vec();
                write_hex(&bytes, &mut written);
                assert_eq!(
                    String::from_utf8(written).unwrap(),
                    format!("before{expected}")
                );
            }
        }
    }

    #[test]
    fn numbers_are_written_whole() {
        let written = |number, least| {
            let mut out = Vec::new();
            decimal(number, least, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            (written(0, 1), written(0, 6)),
            ("0".into(), "000000".into())
        );
        assert_eq!(
            (written(1_234_567, 6), written(90, 6)),
            ("1234567".into(), "000090".into())
        );
        assert_eq!(written(u64::MAX, 1), u64::MAX.to_string());
    }
}
