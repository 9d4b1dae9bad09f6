//! No object may have a key twice: two parsers must never see two different values.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::error::{ScanError, ScanErrorKind};
use super::text::{Str, Unescape};

/// Up to this many keys each is compared with all before it: cheaper than hashing.
const FEW: usize = 16;
const INLINE: usize = 48;

/// The keys of all objects that are open, innermost last.
///
/// Kept inline while few, so that an ordinary message needs no allocation for them.
pub(super) struct Keys {
    inline: [Str; INLINE],
    inline_len: usize,
    heap: Vec<Str>,
    /// Whether any key so far had an escape: few bodies have one.
    any_escaped: bool,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self {
            inline: [Str::default(); INLINE],
            inline_len: 0,
            heap: Vec::new(),
            any_escaped: false,
        }
    }

    /// How many keys are held: where the keys of an object opened now will begin.
    pub(super) fn len(&self) -> usize {
        if self.heap.capacity() == 0 {
            self.inline_len
        } else {
            self.heap.len()
        }
    }

    fn since(&self, from: usize) -> &[Str] {
        let all = if self.heap.capacity() == 0 {
            &self.inline[..self.inline_len]
        } else {
            &self.heap
        };
        &all[from..]
    }

    /// Adds a key to the object whose keys begin at `from`.
    pub(super) fn push(&mut self, text: &str, from: usize, key: Str) -> Result<(), ScanError> {
        let siblings = self.since(from);
        // Escaped keys wait for `close`: decoding one for every comparison would cost too much.
        if siblings.len() < FEW && siblings.iter().any(|&other| same_raw(text, other, key)) {
            return Err(duplicate(key));
        }
        self.any_escaped |= key.escaped();
        // Full once there is a heap, and from then on.
        if let Some(free) = self.inline.get_mut(self.inline_len) {
            *free = key;
            self.inline_len += 1;
            return Ok(());
        }
        self.push_on_heap(key);
        Ok(())
    }

    #[cold]
    fn push_on_heap(&mut self, key: Str) {
        if self.heap.len() == self.heap.capacity() {
            // By half, not by doubling: the peak stays under four times the body.
            self.heap
                .reserve_exact((self.heap.len() / 2).max(2 * INLINE));
            if self.heap.is_empty() {
                self.heap.extend_from_slice(&self.inline);
            }
        }
        self.heap.push(key);
    }

    /// Closes the object whose keys begin at `from`.
    pub(super) fn close(&mut self, text: &str, from: usize) -> Result<(), ScanError> {
        let own = self.since(from);
        let escaped = self.any_escaped && own.iter().any(|key| key.escaped());
        if (own.len() > FEW || escaped)
            && let Some(key) = find_duplicate(text, own)
        {
            return Err(duplicate(key));
        }
        if self.heap.capacity() == 0 {
            self.inline_len = from;
        } else {
            self.heap.truncate(from);
        }
        Ok(())
    }
}

fn duplicate(key: Str) -> ScanError {
    ScanError::new(ScanErrorKind::DuplicateKey, key.start())
}

fn same_raw(text: &str, a: Str, b: Str) -> bool {
    a.is_as_long_as(b) && a.raw_bytes(text) == b.raw_bytes(text)
}

fn same(text: &str, a: Str, b: Str) -> bool {
    if a.escaped() || b.escaped() {
        return Unescape::new(a.raw(text)).eq(Unescape::new(b.raw(text)));
    }
    same_raw(text, a, b)
}

/// A key that occurs twice, if there is one.
///
/// One open-addressing table of `u32`s: the low bits are the key's number plus one, the high bits
/// as much of its hash as fits, so that nearly every probe is settled without touching the body.
fn find_duplicate(text: &str, keys: &[Str]) -> Option<Str> {
    let hasher = RandomState::default();
    let number_bits = usize::BITS - keys.len().leading_zeros();
    let number_mask = ((1u64 << number_bits) - 1) as u32;
    let size = keys.len() + keys.len() / 2 + 1;
    let mut table = vec![0u32; size];
    // An honest table needs about two probes a key. Whoever could guess the seed would be sent to
    // the sort, so the bound does not rest on the hash.
    let mut probes_left = keys.len() * 16;
    for (number, &key) in (1u32..).zip(keys) {
        let hash = hash(&hasher, text, key);
        let tag = (hash as u32) & !number_mask;
        let mut slot = (((hash >> 32) * size as u64) >> 32) as usize;
        while table[slot] != 0 {
            let entry = table[slot];
            if entry & !number_mask == tag
                && same(text, keys[(entry & number_mask) as usize - 1], key)
            {
                return Some(key);
            }
            slot = if slot + 1 == size { 0 } else { slot + 1 };
            probes_left -= 1;
            if probes_left == 0 {
                return find_duplicate_by_sorting(text, keys);
            }
        }
        table[slot] = tag | number;
    }
    None
}

fn find_duplicate_by_sorting(text: &str, keys: &[Str]) -> Option<Str> {
    let mut sorted = keys.to_vec();
    let chars = |key: Str| Unescape::new(key.raw(text));
    sorted.sort_unstable_by(|&a, &b| chars(a).cmp(chars(b)));
    sorted
        .windows(2)
        .find(|pair| same(text, pair[0], pair[1]))
        .map(|pair| pair[1])
}

fn hash(hasher: &RandomState, text: &str, key: Str) -> u64 {
    if key.escaped() {
        hasher.hash_one(key.decode(text).as_bytes())
    } else {
        hasher.hash_one(key.raw_bytes(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::scan::text::string;

    fn keys(text: &str) -> Vec<Str> {
        let mut at = 0;
        let mut keys = Vec::new();
        while at < text.len() {
            let key = string(text.as_bytes(), at).unwrap();
            keys.push(key);
            at = key.after();
        }
        keys
    }

    #[test]
    fn the_table_and_the_sort_agree() {
        for n in [17u32, 18, 100, 1000, 5000] {
            let mut text: String = (0..n).map(|i| format!("\"k{i}\"")).collect();
            assert_eq!(find_duplicate(&text, &keys(&text)), None);
            assert_eq!(find_duplicate_by_sorting(&text, &keys(&text)), None);
            text.push_str(&format!("\"\\u006b{}\"", n / 2));
            assert!(find_duplicate(&text, &keys(&text)).is_some());
            assert!(find_duplicate_by_sorting(&text, &keys(&text)).is_some());
        }
    }
}
