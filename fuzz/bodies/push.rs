//! What a Redis server sends: no bytes are too strange, no record is made up, and none that a push names
//! is missed, whatever stands beside it.

use std::sync::LazyLock;

use cloakroom::store::RecordId;
use cloakroom::store::heard::{Heard, answer, key_of, push, record_of};

const PREFIX: &str = "p:";
static ID: LazyLock<RecordId> = LazyLock::new(|| RecordId::parse("k/0123abcd").expect("an id"));

pub(crate) fn run(input: &[u8]) {
    let Some((&how, input)) = input.split_first() else {
        return;
    };
    match how % 4 {
        0 => any_push(input),
        1 => named(input),
        2 => stored(input),
        _ => answer(input),
    }
}

fn any_push(bytes: &[u8]) {
    match push(PREFIX, bytes) {
        Some(Heard::Changed(ids)) => {
            for id in ids {
                let key = key_of(PREFIX, &id);
                let found = bytes.windows(key.len()).any(|here| here == key.as_bytes());
                assert!(found, "nobody named {id}");
            }
            // Everything was deleted.
            assert!(!bytes.starts_with(b">2\r\n$10\r\ninvalidate\r\n_\r\n"));
        }
        Some(Heard::Over) | None => {}
    }
}

/// A push that names our record among others: these texts, parted by `|`.
fn named(others: &[u8]) {
    let key = key_of(PREFIX, &ID);
    let mut keys: Vec<&[u8]> = others.split(|&b| b == b'|').collect();
    keys.insert(keys.len() / 2, key.as_bytes());
    let mut bytes = format!(">2\r\n$10\r\ninvalidate\r\n*{}\r\n", keys.len()).into_bytes();
    for key in &keys {
        bytes.extend(format!("${}\r\n", key.len()).bytes());
        bytes.extend(*key);
        bytes.extend(*b"\r\n");
    }
    let Some(Heard::Changed(ids)) = push(PREFIX, &bytes) else {
        panic!("a push that names keys says that they changed");
    };
    assert!(ids.contains(&ID));
    for id in ids {
        assert!(keys.contains(&key_of(PREFIX, &id).as_bytes()), "{id}");
    }
}

fn stored(value: &[u8]) {
    let record = record_of(&ID, value);
    assert_eq!(record.is_some(), value.len() >= 8);
    if let Some(record) = record {
        let again = [&record.version.to_be_bytes()[..], &record.blob].concat();
        assert_eq!((record.id, &again[..]), (ID.clone(), value));
    }
}
