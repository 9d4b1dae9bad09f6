//! What a record says, as members of a JSON object.
//!
//! There are two records for each request, which nearly always say short and plain texts. Going through a
//! general serializer for these took three times what it takes to write them down, so these two are written
//! here; everything else, and every text that needs escapes, is the serializer's.
//!
//! They are written by the thread that writes all of them, one after the other, and not by who is in the middle
//! of a request: he has other things in his processor's caches, and takes three times as long for as many
//! instructions. What he has to say he puts down as it is ([`put_down`]), but for texts: those may be of nothing but
//! escapes, and whoever sends such texts is not to take the time of the thread that all have in common.

use std::io::{self, Write as _};
use std::net::IpAddr;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::event::{Called, End, Event, Owner, SecretUsed, Start};
use super::line::{decimal, hex_digits, write_hex};
use super::packed::{Put, Take};

// Which event was put down.
const WRITTEN: [u8; 1] = [0];
const START: [u8; 1] = [1];
const END: [u8; 1] = [2];

/// Puts down what an event says.
pub(super) fn put_down(event: &Event, out: &mut Vec<u8>) {
    let mut put = Put(out);
    match event {
        Event::Start(record) => {
            put.bytes(START);
            put_start(record, &mut put);
        }
        Event::End(record) => {
            put.bytes(END);
            put_end(record, &mut put);
        }
        Event::Admin(_) => {
            put.bytes(WRITTEN);
            any(event, out);
        }
    }
}

/// Writes the members of an event that was put down, each after a comma.
pub(super) fn write(packed: &[u8], out: &mut Vec<u8>) {
    let mut take = Take(packed);
    match take.bytes() {
        START => start(&mut take, out),
        END => end(&mut take, out),
        _ => out.extend_from_slice(take.0),
    }
}

/// Puts down a text as JSON has it.
fn put_quoted(put: &mut Put<'_>, text: &str) {
    put.written(|out| {
        if is_plain(text.as_bytes()) {
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        } else {
            json(&text, out);
        }
    });
}

/// Writes the members of any JSON object, each after a comma.
pub(super) fn any(record: &impl Serialize, out: &mut Vec<u8>) {
    let object = out.len();
    json(record, out);
    // They go on where others end.
    out[object] = b',';
    out.pop();
}

fn put_start(record: &Start, put: &mut Put<'_>) {
    let Start {
        request,
        user,
        user_id,
        by,
        key,
        server,
        profile,
        called,
        secrets,
        address,
        client,
    } = record;
    put.number(*request);
    put_quoted(put, user.as_str());
    put.bytes(*user_id.as_bytes());
    put.any(by.as_ref(), |put, by| put_quoted(put, by.as_str()));
    put.any(key.as_ref(), |put, key| put.bytes(*key.as_bytes()));
    put.text(server.as_str());
    put.text(profile.as_str());
    let Called {
        methods,
        tools,
        unlisted,
    } = called;
    put.list(methods, |put, method| put_quoted(put, method));
    put.list(tools, |put, tool| put_quoted(put, tool.as_str()));
    put.count(*unlisted);
    put.list(secrets, |put, used| {
        let SecretUsed {
            name,
            version,
            from,
        } = used;
        put.text(name.as_str());
        put.number(*version);
        let group = match from {
            Owner::User => None,
            Owner::Group(name) => Some(format!("group:{name}")),
        };
        put.any(group, |put, group| put_quoted(put, &group));
    });
    put.any(*address, |put, address| match address {
        IpAddr::V4(address) => {
            put.flag(true);
            put.bytes(address.octets());
        }
        IpAddr::V6(address) => {
            put.flag(false);
            put.bytes(address.octets());
        }
    });
    put.any(client.as_ref(), |put, client| {
        put_quoted(put, client.as_str());
    });
}

fn start(record: &mut Take<'_>, out: &mut Vec<u8>) {
    number(br#","event":"start","request":"#, record.number(), out);
    written(br#","user":"#, record.text(), out);
    out.extend_from_slice(br#","user_id":""#);
    write_hex(&record.bytes::<16>(), out);
    out.push(b'"');
    if let Some(by) = record.any(Take::text) {
        written(br#","by":"#, by, out);
    }
    match record.any(Take::bytes::<16>) {
        Some(key) => plain(br#","key":""#, &key, out),
        None => out.extend_from_slice(br#","key":null"#),
    }
    plain(br#","server":""#, record.text(), out);
    plain(br#","profile":""#, record.text(), out);
    out.extend_from_slice(br#","methods":"#);
    list(record, out, |method, out| written(b"", method.text(), out));
    out.extend_from_slice(br#","tools":"#);
    list(record, out, |tool, out| written(b"", tool.text(), out));
    let unlisted = record.number();
    if unlisted > 0 {
        number(br#","unlisted":"#, unlisted, out);
    }
    out.extend_from_slice(br#","secrets":"#);
    list(record, out, secret);
    out.extend_from_slice(br#","address":"#);
    match record.any(address) {
        Some(address) => write_address(address, out),
        None => out.extend_from_slice(b"null"),
    }
    match record.any(Take::text) {
        Some(client) => written(br#","client":"#, client, out),
        None => out.extend_from_slice(br#","client":null"#),
    }
}

fn secret(used: &mut Take<'_>, out: &mut Vec<u8>) {
    plain(br#"{"name":""#, used.text(), out);
    number(br#","version":"#, used.number(), out);
    match used.any(Take::text) {
        None => out.extend_from_slice(br#","from":"user"}"#),
        Some(group) => {
            written(br#","from":"#, group, out);
            out.push(b'}');
        }
    }
}

fn address(put: &mut Take<'_>) -> IpAddr {
    if put.flag() {
        put.bytes::<4>().into()
    } else {
        put.bytes::<16>().into()
    }
}

fn put_end(record: &End, put: &mut Put<'_>) {
    let End {
        request,
        status,
        rejection,
        bytes_out,
        duration_us,
        complete,
    } = record;
    put.number(*request);
    put.any(*status, |put, status| put.number(status.into()));
    put.any(*rejection, put_quoted);
    put.number(*bytes_out);
    put.number(*duration_us);
    put.flag(*complete);
}

fn end(record: &mut Take<'_>, out: &mut Vec<u8>) {
    number(br#","event":"end","request":"#, record.number(), out);
    match record.any(Take::number) {
        Some(status) => number(br#","status":"#, status, out),
        None => out.extend_from_slice(br#","status":null"#),
    }
    if let Some(rejection) = record.any(Take::text) {
        written(br#","rejection":"#, rejection, out);
    }
    number(br#","bytes_out":"#, record.number(), out);
    number(br#","duration_us":"#, record.number(), out);
    let complete: &[u8] = if record.flag() { b"true" } else { b"false" };
    out.extend_from_slice(br#","complete":"#);
    out.extend_from_slice(complete);
}

fn list(record: &mut Take<'_>, out: &mut Vec<u8>, write: impl Fn(&mut Take<'_>, &mut Vec<u8>)) {
    out.push(b'[');
    for at in 0..record.count() {
        if at > 0 {
            out.push(b',');
        }
        write(record, out);
    }
    out.push(b']');
}

fn number(name: &[u8], number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    decimal(number, 1, out);
}

/// A text that needs no escapes, as no name does; `name` ends with its opening quote.
fn plain(name: &[u8], text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(text);
    out.push(b'"');
}

/// What was written as JSON before.
fn written(name: &[u8], json: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(json);
}

/// Whether a text is printable ASCII without quotes and backslashes, which needs no escapes. Most are short.
fn is_plain(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    let needs_escapes = |word: &[u8; 8]| {
        const ONES: u64 = u64::from_le_bytes([1; 8]);
        const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
        let word = u64::from_le_bytes(*word);
        // The top bit of each byte that is it, or above the first that is.
        let below = |least: u8| word.wrapping_sub(ONES * u64::from(least)) & !word;
        let is = |byte: u8| {
            let differs = word ^ (ONES * u64::from(byte));
            differs.wrapping_sub(ONES) & !differs
        };
        (word | below(b' ') | is(b'"') | is(b'\\') | is(0x7f)) & TOPS != 0
    };
    !words.iter().chain([&last]).any(needs_escapes)
}

fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            let mut before = b'"';
            for part in address.octets() {
                out.push(before);
                decimal(part.into(), 1, out);
                before = b'.';
            }
            out.push(b'"');
        }
        IpAddr::V6(address) => {
            write!(out, "\"{address}\"").expect("memory takes every byte");
        }
    }
}

/// Anything, as compact JSON of nothing but printable ASCII.
fn json(value: &impl Serialize, out: &mut Vec<u8>) {
    value
        .serialize(&mut Serializer::with_formatter(out, Ascii))
        .expect("records have text keys, and memory takes every byte");
}

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
                    let [[a, b], [c, d]] = unit.to_be_bytes().map(hex_digits);
                    writer.write_all(&[b'\\', b'u', a, b, c, d])?;
                }
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
    use serde_json::json;

    use super::{Called, End, Event, IpAddr, Owner, SecretUsed, Start};
    use crate::identity::KeyDigest;
    use crate::names::{ProfileName, SecretName, ServerName};

    static SERVER: LazyLock<ServerName> = LazyLock::new(|| ServerName::parse("github").unwrap());
    static PROFILE: LazyLock<ProfileName> = LazyLock::new(ProfileName::default_profile);

    fn maybe_text() -> impl Strategy<Value = Option<String>> {
        proptest::option::of(words())
    }

    /// What somebody may call something: mostly plain, and anything else.
    fn words() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -~]{0,20}",
            "\\PC{0,12}",
            Just("\u{7f}\u{1f600}\"\\\n\u{0}é".to_owned())
        ]
    }

    fn starts() -> impl Strategy<Value = Event<'static>> {
        let who = (any::<u64>(), words(), any::<[u8; 16]>(), maybe_text());
        let key = any::<bool>();
        let secrets = proptest::collection::vec((any::<u64>(), maybe_text()), 0..3);
        let asked = (0..40_usize, proptest::collection::vec(words(), 0..40));
        let from = (proptest::option::of(any::<IpAddr>()), maybe_text());
        (who, key, asked, secrets, from).prop_map(|(who, key, asked, secrets, from)| {
            let (request, user, id, by) = who;
            let (methods, tools) = asked;
            let mut called = Called::new(vec!["tools/call"; methods], &[]);
            called.unlisted += tools.len().saturating_sub(32);
            called.tools = tools.into_iter().map(Into::into).collect();
            let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            let used = |(version, group): (u64, Option<String>)| SecretUsed {
                name: SecretName::parse("TOKEN").unwrap(),
                version,
                from: group.map_or(Owner::User, |group| Owner::Group(group.into())),
            };
            Event::Start(Start {
                request,
                user: user.into(),
                user_id: serde_json::from_value(json!(id)).unwrap(),
                by: by.map(Into::into),
                key: key.then(|| KeyDigest::of_nothing().key_id()),
                server: &SERVER,
                profile: &PROFILE,
                called,
                secrets: secrets.into_iter().map(used).collect(),
                address: from.0,
                client: from.1.map(Into::into),
            })
        })
    }

    fn ends() -> impl Strategy<Value = Event<'static>> {
        let counts = (any::<u64>(), any::<u64>(), any::<u64>());
        let outcome = (proptest::option::of(any::<u16>()), any::<bool>());
        (counts, outcome, any::<bool>()).prop_map(|(counts, outcome, complete)| {
            let (request, bytes_out, duration_us) = counts;
            let (status, is_refused) = outcome;
            Event::End(End {
                request,
                status,
                rejection: is_refused.then_some("unknown_server"),
                bytes_out,
                duration_us,
                complete,
            })
        })
    }

    // Fails when texts are escaped by the thread that all have in common: whoever sends such texts would have its time.
    #[test]
    fn what_a_client_chose_is_escaped_where_it_came_in() {
        let end = End {
            request: 1,
            status: None,
            rejection: None,
            bytes_out: 0,
            duration_us: 0,
            complete: false,
        };
        let odd = "\u{7f}".repeat(256);
        let mut start = start_of_nothing();
        start.called = Called::new(Vec::new(), &[&*odd; 32]);
        start.client = Some((&*odd).into());
        let (mut packed, mut json) = (Vec::new(), Vec::new());
        super::put_down(&Event::Start(start), &mut packed);
        assert_eq!(
            memchr::memmem::find_iter(&packed, b"\\u007f").count(),
            33 * 256
        );
        super::write(&packed, &mut json);
        assert_eq!(
            memchr::memmem::find_iter(&json, b"\\u007f").count(),
            33 * 256
        );
        packed.clear();
        super::put_down(&Event::End(end), &mut packed);
        assert!(packed.len() < 64, "numbers wait as they are");
    }

    fn start_of_nothing() -> Start<'static> {
        Start {
            request: 1,
            user: "alice".into(),
            user_id: serde_json::from_value(json!("11".repeat(16))).unwrap(),
            by: None,
            key: None,
            server: &SERVER,
            profile: &PROFILE,
            called: Called::default(),
            secrets: Vec::new(),
            address: None,
            client: None,
        }
    }

    // Fails when a byte is overlooked in some place of its word, or where the last word is not whole.
    #[test]
    fn what_needs_escapes_is_seen_wherever_it_stands() {
        for (byte, length) in (0..=u8::MAX).flat_map(|byte| (1..=17).map(move |n| (byte, n))) {
            let plain = (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
            for at in 0..length {
                let mut text = vec![b'x'; length];
                text[at] = byte;
                assert_eq!(super::is_plain(&text), plain, "{byte} at {at} of {length}");
            }
        }
    }

    proptest! {
        // Fails when a member is left out, added, named or escaped otherwise than the serializer has it.
        #[test]
        fn what_is_written_here_is_what_the_serializer_would_write(event in prop_oneof![starts(), ends()]) {
            let (mut packed, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
            super::put_down(&event, &mut packed);
            super::write(&packed, &mut ours);
            super::any(&event, &mut theirs);
            prop_assert_eq!(String::from_utf8(ours), String::from_utf8(theirs));
        }
    }
}
