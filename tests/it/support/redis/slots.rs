//! Moving slots from one master of a cluster to another.

use std::time::Duration;

use super::cluster::{Cluster, SLOTS};

/// How a slot moves.
#[derive(Clone, Copy, Default)]
pub(crate) struct Move {
    /// After each key: so long is a part of the slot here and a part there.
    pub(crate) pause: Duration,
}

impl Cluster {
    /// Moves a slot with all its keys, one after the other; says how many there were.
    pub(crate) fn move_slot(&self, slot: u16, to: usize, how: Move) -> usize {
        let from = self.owner(slot);
        if from == to {
            return 0;
        }
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let [from_id, to_id] = [&self.ids[from], &self.ids[to]];
        let ask = |node: &super::Server, command: String| {
            node.ask::<()>(&command)
                .unwrap_or_else(|error| panic!("{command}: {error}"));
        };
        ask(
            target,
            format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}"),
        );
        ask(source, format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}"));
        let mut moved = 0;
        loop {
            let get = format!("CLUSTER GETKEYSINSLOT {slot} 1");
            let keys: Vec<String> = source.ask(&get).unwrap();
            let Some(key) = keys.first() else { break };
            self.migrate(from, to, key);
            moved += 1;
            std::thread::sleep(how.pause);
        }
        // The new owner first: were it the old one, nobody would own the slot for a moment.
        for node in [to, from] {
            ask(
                &self.nodes[node],
                format!("CLUSTER SETSLOT {slot} NODE {to_id}"),
            );
        }
        moved
    }

    /// Moves these slots, each to the next master after its own; says how many keys they had.
    pub(crate) fn reshard(&self, slots: impl IntoIterator<Item = u16>, how: Move) -> usize {
        let masters = self.masters();
        let moved = slots.into_iter().map(|slot| {
            let owner = self.owner(slot);
            let at = masters.iter().position(|&master| master == owner).unwrap();
            self.move_slot(slot, masters[(at + 1) % masters.len()], how)
        });
        moved.sum()
    }

    fn migrate(&self, from: usize, to: usize, key: &str) {
        let mut migrate = redis::cmd("MIGRATE");
        migrate
            .arg("127.0.0.1")
            .arg(self.shared.port(&self.nodes[to]));
        migrate.arg("").arg(0).arg(5000);
        if let Some((user, password)) = self.shared.admin {
            migrate.arg("AUTH2").arg(user).arg(password);
        }
        migrate.arg("KEYS").arg(key);
        // A key that was deleted meanwhile is answered with NOKEY, which is no error.
        let () = migrate.query(&mut self.nodes[from].raw()).unwrap();
    }
}

/// The slot of a key: that of what stands in its first braces, if anything does.
pub(crate) fn slot_of(key: &str) -> u16 {
    let braced = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    let hashed = braced.map_or(key, |(tag, _)| if tag.is_empty() { key } else { tag });
    let step = |crc: u16, byte: u8| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    };
    hashed.bytes().fold(0, step) % SLOTS
}
