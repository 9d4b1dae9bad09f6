//! Who keeps which slots of a Cluster, as its nodes tell: pure, no connection is made here.

use std::cmp::Reverse;

use crc::{CRC_16_XMODEM, Crc};
use redis::Value;

use crate::store::url::Address;

const SLOTS: u16 = 16384;
static CHECKSUM: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The slot of a key: of the part in braces alone, if there is one (Redis Cluster specification,
/// "Hash tags").
pub(super) fn slot_of(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    let hashed = tag.map(|(tag, _)| tag).filter(|tag| !tag.is_empty());
    CHECKSUM.checksum(hashed.unwrap_or(key).as_bytes()) % SLOTS
}

/// The masters and their slots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Slots {
    /// First and last slot, and the master's place in `masters`; in order.
    ranges: Vec<(u16, u16, u16)>,
    pub(super) masters: Vec<Master>,
}

/// A master that keeps slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Master {
    pub(super) address: Address,
    /// Replicas that are not known to have failed.
    pub(super) replicas: u32,
}

impl Slots {
    /// The master of a slot, as its place in `masters`; `None` when nobody keeps it.
    pub(super) fn owner(&self, slot: u16) -> Option<u16> {
        let after = self.ranges.partition_point(|(first, ..)| *first <= slot);
        let (_, last, owner) = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= *last).then_some(*owner)
    }

    pub(super) fn master(&self, slot: u16) -> Option<&Master> {
        self.masters.get(usize::from(self.owner(slot)?))
    }

    /// Whether every slot has its master.
    pub(super) fn are_whole(&self) -> bool {
        let kept = self.ranges.iter().map(|(first, last, _)| last - first + 1);
        kept.map(u32::from).sum::<u32>() == u32::from(SLOTS)
    }

    /// From the answer to `CLUSTER SLOTS` of the node at `asked`. `None` when it is another answer, or
    /// names no master at all, as a node does that belongs to no Cluster yet.
    pub(super) fn parse(answer: &Value, asked: &Address) -> Option<Self> {
        let Value::Array(entries) = answer else {
            return None;
        };
        let entries = entries.iter().map(|entry| Self::entry(entry, asked));
        Self::new(entries.collect::<Option<Vec<_>>>()?.into_iter())
    }

    /// From ranges in any order: first slot, last slot, master. `None` when there are none, or two of a slot.
    fn new(entries: impl Iterator<Item = (u16, u16, Master)>) -> Option<Self> {
        let mut entries: Vec<_> = entries.collect();
        entries.sort_unstable_by_key(|(first, ..)| *first);
        if entries.windows(2).any(|two| two[1].0 <= two[0].1) {
            return None;
        }
        entries.dedup_by(|next, last| {
            let joins = last.1 + 1 == next.0 && last.2.address == next.2.address;
            if joins {
                last.1 = next.1;
                last.2.replicas = last.2.replicas.max(next.2.replicas);
            }
            joins
        });
        // By address, since each node lists them in an order of its own.
        let mut masters: Vec<_> = entries.iter().map(|(.., master)| master.clone()).collect();
        masters.sort_unstable_by(|one, other| one.address.cmp(&other.address));
        masters.dedup_by(|one, kept| {
            let same = one.address == kept.address;
            if same {
                kept.replicas = kept.replicas.max(one.replicas);
            }
            same
        });
        let place = |master: &Master| masters.iter().position(|m| m.address == master.address);
        let mut ranges = Vec::with_capacity(entries.len());
        for (first, last, master) in &entries {
            ranges.push((*first, *last, u16::try_from(place(master)?).ok()?));
        }
        (!ranges.is_empty()).then_some(Self { ranges, masters })
    }

    /// First slot, last slot, master, replicas.
    fn entry(entry: &Value, asked: &Address) -> Option<(u16, u16, Master)> {
        let Value::Array(parts) = entry else {
            return None;
        };
        let [Value::Int(first), Value::Int(last), master, replicas @ ..] = &parts[..] else {
            return None;
        };
        let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
        let master = Master {
            address: node(master, asked)?,
            replicas: u32::try_from(replicas.len()).ok()?,
        };
        (first <= last && last < SLOTS).then_some((first, last, master))
    }

    /// What most nodes say: one that was cut off from the others, and deposed by them, does not know. Where
    /// they name no master, what others say: nodes hear that one stepped back before they hear of the next, but
    /// these two know.
    pub(super) fn agreed(views: &[Self]) -> Option<Self> {
        let votes = |view: &Self| views.iter().filter(|other| view.says_as(other)).count();
        let mut by_votes: Vec<_> = views.iter().collect();
        by_votes.sort_by_key(|view| Reverse(votes(view)));
        let most = *by_votes.first()?;
        if most.are_whole() {
            return Some(most.clone());
        }
        let owner = |slot| by_votes.iter().find_map(|view| view.master(slot));
        Self::new((0..SLOTS).filter_map(|slot| Some((slot, slot, owner(slot)?.clone()))))
    }

    /// Whether both name the same masters for the same slots, whatever they know of replicas.
    fn says_as(&self, other: &Self) -> bool {
        let addresses = |slots: &Self| {
            slots
                .masters
                .iter()
                .map(|m| m.address.clone())
                .collect::<Vec<_>>()
        };
        self.ranges == other.ranges && addresses(self) == addresses(other)
    }
}

/// Host, port, and more that is not needed. Without a host, or with an unknown one, it is the host
/// that was asked.
fn node(value: &Value, asked: &Address) -> Option<Address> {
    let Value::Array(parts) = value else {
        return None;
    };
    let [host, Value::Int(port), ..] = &parts[..] else {
        return None;
    };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::Nil => "",
        _ => return None,
    };
    let known = !matches!(host, "" | "?");
    Some(Address {
        host: if known { host } else { &asked.host }.to_owned(),
        port: u16::try_from(*port).ok()?,
    })
}

/// Where a redirection (`slot host:port`) leads; an empty host is that of the node which answered.
pub(super) fn redirection(detail: &str, asked: &str) -> Option<Address> {
    let (_, place) = detail.split_once(' ')?;
    let (host, port) = place.trim_end().rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(Address {
        host: if host.is_empty() { asked } else { host }.to_owned(),
        port: port.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Address {
        Address {
            host: "h".to_owned(),
            port,
        }
    }

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![
            host,
            Value::Int(port),
            Value::BulkString(b"id".to_vec()),
        ])
    }

    fn entry(first: i64, last: i64, ports: &[i64]) -> Value {
        let mut parts = vec![Value::Int(first), Value::Int(last)];
        parts.extend(
            ports
                .iter()
                .map(|port| node(Value::BulkString(b"h".to_vec()), *port)),
        );
        Value::Array(parts)
    }

    fn slots(entries: &[Value]) -> Slots {
        Slots::parse(&Value::Array(entries.to_vec()), &at(9)).unwrap()
    }

    // Figures of the specification and of `CLUSTER KEYSLOT`.
    #[test]
    fn keys_have_the_slots_redis_says() {
        assert_eq!(slot_of("123456789"), 12739);
        assert_eq!(slot_of("p:k/{ab}cdef"), slot_of("ab"));
        assert_eq!(slot_of("foo{}{bar}"), 8363);
        assert_eq!(slot_of("{user1000}.following"), 3443);
    }

    #[test]
    fn every_slot_has_its_owner_or_none() {
        let slots = slots(&[
            entry(8192, 16383, &[2, 4]),
            entry(0, 5, &[1]),
            entry(7, 7, &[2]),
        ]);
        let owner = |slot| {
            let place = slots.owner(slot)?;
            Some(slots.masters[usize::from(place)].address.port)
        };
        let found = [0, 5, 6, 7, 8, 8191, 8192, 16383].map(owner);
        let (one, two) = (Some(1), Some(2));
        assert_eq!(found, [one, one, None, two, None, None, two, two]);
        assert_eq!(slots.master(9000).unwrap().replicas, 1);
        assert!(!slots.are_whole());
        assert!(super::tests::slots(&[entry(9, 16383, &[2]), entry(0, 8, &[1])]).are_whole());
    }

    #[test]
    fn slots_that_cannot_be_are_no_answer() {
        for (first, last) in [(9, 8), (0, 16384), (0, 65535), (-1, 3)] {
            let answer = Value::Array(vec![entry(first, last, &[1])]);
            assert_eq!(Slots::parse(&answer, &at(9)), None, "{first} to {last}");
        }
        let twice = Value::Array(vec![entry(0, 9, &[1]), entry(9, 12, &[2])]);
        assert_eq!(Slots::parse(&twice, &at(9)), None);
    }

    #[test]
    fn a_host_that_is_not_told_is_the_one_asked() {
        for host in [
            Value::Nil,
            Value::BulkString(b"".to_vec()),
            Value::BulkString(b"?".to_vec()),
        ] {
            let entry = Value::Array(vec![Value::Int(0), Value::Int(1), node(host, 3)]);
            let slots = Slots::parse(&Value::Array(vec![entry]), &at(9)).unwrap();
            assert_eq!(slots.masters[0].address, at(3));
        }
        assert_eq!(redirection("12 :3", "h"), Some(at(3)));
        assert_eq!(redirection("12 [::1]:3", "h").unwrap().host, "::1");
        assert_eq!(redirection("12", "h"), None);
    }

    #[test]
    fn most_nodes_are_right() {
        let (old, new) = (slots(&[entry(0, 9, &[1, 2])]), slots(&[entry(0, 9, &[2])]));
        let agreed = Slots::agreed(&[old.clone(), new.clone(), new.clone()]);
        assert_eq!(agreed, Some(new));
        let (gap, filled) = (
            slots(&[entry(5, 9, &[2])]),
            slots(&[entry(0, 9, &[3]), entry(12, 13, &[3])]),
        );
        let agreed = Slots::agreed(&[gap.clone(), filled, gap]).unwrap();
        let owner = |slot| Some(agreed.master(slot)?.address.port);
        assert_eq!(
            [0, 4, 5, 9, 10, 13].map(owner),
            [Some(3), Some(3), Some(2), Some(2), None, Some(3)]
        );
        assert_eq!(Slots::agreed(&[]), None);
        assert_eq!(Slots::parse(&Value::Array(Vec::new()), &at(9)), None);
    }
}
