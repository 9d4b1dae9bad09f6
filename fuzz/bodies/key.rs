//! Keys as they are presented: exactly those of the published shape pass, and what passes keeps its name.

use cloakroom::identity::{CredentialError, KeyDigest, KeyId, credential};
use http::{HeaderMap, HeaderValue};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

pub(crate) fn run(input: &[u8]) {
    let Some((&how, input)) = input.split_first() else {
        return;
    };
    match how % 4 {
        0 => presented(input),
        1 => made(input),
        2 => written(input),
        _ => carried(input),
    }
}

/// Any text.
fn presented(text: &[u8]) {
    let prefixes = ["usr_".to_owned(), "a".to_owned()];
    let foreign = !text.starts_with(b"clk_")
        && text.len() <= 512
        && (text.starts_with(b"usr_") || text.starts_with(b"a"))
        && text.iter().all(|b| (0x21..=0x7e).contains(b));
    let digest = KeyDigest::of_presented(text, &prefixes);
    assert_eq!(digest.is_ok(), is_ours(text) || foreign);
    assert_eq!(KeyDigest::of_presented(text, &[]).is_ok(), is_ours(text));
    if let Ok(digest) = digest {
        round_trips(&digest);
    }
}

/// A key with these thirty characters; and with one of its characters changed.
fn made(input: &[u8]) {
    let (Some(random), Some(&change)) = (input.get(..30), input.get(30)) else {
        return;
    };
    let random = random.iter().map(|b| ALPHABET[usize::from(b % 62)]);
    let mut key: Vec<u8> = b"clk_".iter().copied().chain(random).collect();
    key.extend(checksum(&key));
    let digest = KeyDigest::of_presented(&key, &[]).expect("a key of the published shape");
    round_trips(&digest);
    let at = usize::from(change) % key.len();
    let other = input.get(31).copied().unwrap_or(b'x');
    if key[at] != other {
        key[at] = other;
        assert!(KeyDigest::of_presented(&key, &[]).is_err());
    }
}

/// Digests and ids in writing.
fn written(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let hex = text.bytes().all(|b| b"0123456789abcdef".contains(&b));
    let digest = KeyDigest::from_hex(text);
    assert_eq!(digest.is_some(), hex && text.len() == 64);
    if let Some(digest) = digest {
        assert_eq!(digest.to_hex(), text);
    }
    let id = KeyId::parse(text);
    assert_eq!(id.is_some(), hex && text.len() == 16);
    assert!(id.is_none_or(|id| id.as_str() == text));
}

/// Lines of headers, `a` for `Authorization`, anything else for `X-API-Key`.
fn carried(lines: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in lines.split(|&b| b == b'\n') {
        let Some((&name, value)) = line.split_first() else {
            continue;
        };
        let name = if name == b'a' {
            "authorization"
        } else {
            "x-api-key"
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    match credential(&headers) {
        Ok(key) => {
            assert_eq!(headers.len(), 1);
            assert_eq!(key, key.trim_ascii());
            let value = headers.values().next().expect("there is one");
            assert!(value.as_bytes().trim_ascii().ends_with(key));
        }
        Err(CredentialError::Missing) => assert!(headers.is_empty()),
        Err(CredentialError::Malformed) => assert!(!headers.is_empty()),
    }
}

fn round_trips(digest: &KeyDigest) {
    assert_eq!(KeyDigest::from_hex(&digest.to_hex()), Some(*digest));
    assert!(digest.to_hex().starts_with(digest.key_id().as_str()));
    assert_eq!(
        KeyId::parse(digest.key_id().as_str()),
        Some(digest.key_id())
    );
}

fn is_ours(text: &[u8]) -> bool {
    text.len() == 40
        && text.starts_with(b"clk_")
        && text[4..].iter().all(|b| ALPHABET.contains(b))
        && checksum(&text[..34]) == text[34..]
}

/// CRC-32 by its definition, bit by bit, in base 62.
fn checksum(text: &[u8]) -> [u8; 6] {
    let crc = text.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    });
    let crc = !crc;
    [5, 4, 3, 2, 1, 0].map(|place| ALPHABET[(crc / 62u32.pow(place) % 62) as usize])
}
