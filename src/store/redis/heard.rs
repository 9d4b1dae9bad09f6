//! Bytes of a server, judged as they are when they come by a socket: for fuzzing.

use redis::{PushInfo, Value, parse_redis_value};

use super::layout::Layout;
use super::slots::Slots;
use super::watch::{Pushed, pushed};
use super::{ask, record, sentinel, way};
use crate::store::url::Address;
use crate::store::{Record, RecordId};

/// What a server said unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// These records changed.
    Changed(Vec<RecordId>),
    /// There is nothing to hear any more: what is known is to be read again.
    Over,
}

/// What the first value in `bytes` says to who watches the keys that begin with `prefix`; `None` when it
/// is not a push.
#[must_use]
pub fn push(prefix: &str, bytes: &[u8]) -> Option<Heard> {
    let Ok(Value::Push { kind, data }) = parse_redis_value(bytes) else {
        return None;
    };
    let heard = pushed(&Layout::new(prefix), &PushInfo { kind, data });
    Some(match heard {
        Pushed::Changes(ids) => Heard::Changed(ids),
        Pushed::Everything | Pushed::Closed => Heard::Over,
    })
}

/// The key under which a record is kept.
#[must_use]
pub fn key_of(prefix: &str, id: &RecordId) -> String {
    Layout::new(prefix).record_key(id)
}

/// The record that a key's value stands for; `None` when it is damaged.
#[must_use]
pub fn record_of(id: &RecordId, value: &[u8]) -> Option<Record> {
    record(id.clone(), value.to_vec()).ok()
}

/// Tries the first value in `bytes` as an answer to every question that is asked about servers: where
/// slots are, whether it is a master, which master a Sentinel names, whether another is to be asked.
///
/// # Panics
/// When an answer was understood and leads nowhere.
pub fn answer(bytes: &[u8]) {
    let Ok(value) = parse_redis_value(bytes) else {
        return;
    };
    let asked = Address {
        host: "h".to_owned(),
        port: 1,
    };
    if let Some(slots) = Slots::parse(&value, &asked) {
        let owners = (0..=u16::MAX)
            .step_by(257)
            .filter_map(|slot| slots.owner(slot));
        assert!(owners.max() < Some(slots.masters.len().try_into().unwrap_or(u16::MAX)));
        assert_eq!(Slots::agreed(std::slice::from_ref(&slots)), Some(slots));
    }
    let _ = way::replicas(&value);
    if let Value::Array(two) = &value
        && let [address, master] = &two[..]
    {
        let _ = sentinel::view(address, master);
    }
    let _ = ask::outcome(value, &asked.host);
}
