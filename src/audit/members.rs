//! What a record says, as members of a JSON object.
//!
//! There are two records for each request, which nearly always say short and plain texts. Going through a
//! general serializer for these took three times what it takes to write them down, so these two are written
//! here; everything else, and every text that needs escapes, is the serializer's.

use std::io::{self, Write as _};
use std::net::IpAddr;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::event::{Called, End, Event, Owner, SecretUsed, Start};
use super::line::{decimal, hex_digits, write_hex};

/// Writes the members of an event, each after a comma.
pub(super) fn event(event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::Start(record) => start(record, out),
        Event::End(record) => end(record, out),
        Event::Admin(_) => any(event, out),
    }
}

/// Writes the members of any JSON object, each after a comma.
pub(super) fn any(record: &impl Serialize, out: &mut Vec<u8>) {
    let object = out.len();
    json(record, out);
    // They go on where others end.
    out[object] = b',';
    out.pop();
}

fn start(record: &Start, out: &mut Vec<u8>) {
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
    number(br#","event":"start","request":"#, *request, out);
    text(br#","user":"#, user.as_str(), out);
    out.extend_from_slice(br#","user_id":""#);
    write_hex(user_id.as_bytes(), out);
    out.push(b'"');
    if let Some(by) = by {
        text(br#","by":"#, by.as_str(), out);
    }
    match key {
        Some(key) => plain(br#","key":""#, key.as_bytes(), out),
        None => out.extend_from_slice(br#","key":null"#),
    }
    plain(br#","server":""#, server.as_str().as_bytes(), out);
    plain(br#","profile":""#, profile.as_str().as_bytes(), out);
    self::called(called, out);
    out.extend_from_slice(br#","secrets":"#);
    list(secrets, secret, out);
    self::address(br#","address":"#, *address, out);
    let client = client.as_ref().map(|client| client.as_str());
    text_if_any(br#","client":"#, client, out);
}

fn end(record: &End, out: &mut Vec<u8>) {
    let End {
        request,
        status,
        rejection,
        bytes_out,
        duration_us,
        complete,
    } = record;
    number(br#","event":"end","request":"#, *request, out);
    match status {
        Some(status) => number(br#","status":"#, u64::from(*status), out),
        None => out.extend_from_slice(br#","status":null"#),
    }
    if let Some(rejection) = rejection {
        text(br#","rejection":"#, rejection, out);
    }
    number(br#","bytes_out":"#, *bytes_out, out);
    number(br#","duration_us":"#, *duration_us, out);
    let complete: &[u8] = if *complete { b"true" } else { b"false" };
    out.extend_from_slice(br#","complete":"#);
    out.extend_from_slice(complete);
}

fn called(called: &Called, out: &mut Vec<u8>) {
    let Called {
        methods,
        tools,
        unlisted,
    } = called;
    out.extend_from_slice(br#","methods":"#);
    list(methods, |method, out| text(b"", method, out), out);
    out.extend_from_slice(br#","tools":"#);
    list(tools, |tool, out| text(b"", tool.as_str(), out), out);
    if *unlisted > 0 {
        number(br#","unlisted":"#, *unlisted as u64, out);
    }
}

fn secret(used: &SecretUsed, out: &mut Vec<u8>) {
    plain(br#"{"name":""#, used.name.as_str().as_bytes(), out);
    number(br#","version":"#, used.version, out);
    match &used.from {
        Owner::User => out.extend_from_slice(br#","from":"user"}"#),
        Owner::Group(name) => {
            text(br#","from":"#, &format!("group:{name}"), out);
            out.push(b'}');
        }
    }
}

fn list<T>(elements: &[T], write: impl Fn(&T, &mut Vec<u8>), out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, element) in elements.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(element, out);
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

fn text_if_any(name: &[u8], text: Option<&str>, out: &mut Vec<u8>) {
    match text {
        Some(text) => self::text(name, text, out),
        None => {
            out.extend_from_slice(name);
            out.extend_from_slice(b"null");
        }
    }
}

fn text(name: &[u8], text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    if is_plain(text.as_bytes()) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        json(&text, out);
    }
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

fn address(name: &[u8], address: Option<IpAddr>, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    match address {
        None => out.extend_from_slice(b"null"),
        Some(IpAddr::V4(address)) => {
            let mut before = b'"';
            for part in address.octets() {
                out.push(before);
                decimal(part.into(), 1, out);
                before = b'.';
            }
            out.push(b'"');
        }
        Some(IpAddr::V6(address)) => {
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
                    let [high, low] = unit.to_be_bytes().map(hex_digits);
                    writer.write_all(&[b"\\u", &high[..], &low].concat())?;
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
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            super::event(&event, &mut ours);
            super::any(&event, &mut theirs);
            prop_assert_eq!(String::from_utf8(ours), String::from_utf8(theirs));
        }
    }
}
