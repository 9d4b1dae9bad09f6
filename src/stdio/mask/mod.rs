//! Hides a child's secrets in what it writes, without knowing them; `forms` is how they may be written.

mod forms;

use std::ops::Range;

use self::forms::Form;
use crate::vault::EphemeralMac;

/// The shortest secret that is hidden, in bytes: what is shorter stands in half of all lines.
const SHORTEST: usize = 4;
/// The shortest line of a secret of several lines that is hidden where it stands alone.
const SHORTEST_LINE: usize = 8;
/// A form longer than this is looked for in pieces of this length. Bounds how many lengths there are, and
/// lets what follows the cut of a line be forgotten but for so many bytes.
pub(in crate::stdio) const PIECE: usize = 64;
/// Bits kept of a fingerprint. A polynomial of the secret's bytes tells about them what it is long, so no
/// more is kept than spares most of the MACs.
const BITS: u32 = 12;

/// Knows the secrets of one child when it sees them, and keeps none: of each form a secret may be written
/// in it has the length, twelve bits of a fingerprint and a MAC, all under keys of its own. The secrets are
/// in plain text while it is made and no longer, although the child lives for hours.
///
/// The forms: raw, in JSON, percent-encoded, base64 and base64url at any place in a longer text, hex. Of a
/// secret of several lines also each line of eight bytes and more, since standard error comes in lines.
/// Spaces at a secret's ends do not matter. Not hidden: secrets of fewer than four bytes, and what
/// else a child makes of its secrets (a hash, a part of one, one letter at a time); a child that wants to
/// tell its user's secret to the operator finds a way.
pub struct Mask {
    mac: EphemeralMac,
    base: u64,
    windows: Vec<Window>,
}

/// All that is looked for of one length.
struct Window {
    len: usize,
    /// `base` to the power of `len`.
    power: u64,
    /// Sorted.
    known: Vec<Known>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Known {
    print: u16,
    tag: [u8; 16],
    before: bool,
    after: bool,
}

impl Mask {
    /// Hides `values`: the secrets themselves, and not only the variables made of them, for a child may
    /// take those apart again.
    #[must_use]
    pub fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mac = EphemeralMac::generate();
        let random = mac.tag(b"base");
        let base = u64::from_be_bytes(*random.first_chunk().expect("16 bytes have 8")) % PRIME;
        let mut mask = Self {
            mac,
            base,
            windows: Vec::new(),
        };
        for value in values {
            mask.add_value(value.trim_ascii());
        }
        for window in &mut mask.windows {
            window.known.sort_unstable();
            window.known.dedup();
            window.known.shrink_to_fit();
        }
        mask
    }

    fn add_value(&mut self, value: &[u8]) {
        if value.len() < SHORTEST {
            return;
        }
        forms::each(value, |form| self.add_form(&form));
        let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        for line in lines.filter(|line| line.len() >= SHORTEST_LINE && line.len() < value.len()) {
            forms::each(line, |form| self.add_form(&form));
        }
    }

    /// Adds the pieces of a form; the last one ends where the form ends.
    fn add_form(&mut self, form: &Form<'_>) {
        let (text, len) = (form.text, form.text.len().min(PIECE));
        let last = text.len() - len;
        for start in (0..last).step_by(PIECE).chain([last]) {
            let piece = &text[start..start + len];
            // Such a piece is in no line.
            if !piece.contains(&b'\n') {
                let (before, after) = (form.before && start == 0, form.after && start == last);
                self.add_piece(piece, before, after);
            }
        }
    }

    fn add_piece(&mut self, piece: &[u8], before: bool, after: bool) {
        let known = Known {
            print: print(piece.iter().fold(0, |hash, byte| self.next(hash, *byte))),
            tag: self.mac.tag(piece),
            before,
            after,
        };
        match self.windows.iter_mut().find(|w| w.len == piece.len()) {
            Some(window) => window.known.push(known),
            None => self.windows.push(Window {
                len: piece.len(),
                power: (0..piece.len()).fold(1, |power, _| times(power, self.base)),
                known: vec![known],
            }),
        }
    }

    /// Where secrets stand in `line`: in order, apart from each other.
    pub(in crate::stdio) fn find(&self, line: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for window in &self.windows {
            self.find_window(window, line, &mut found);
        }
        found.sort_unstable_by_key(|range: &Range<usize>| range.start);
        found.dedup_by(|next, range| {
            let joined = next.start <= range.end;
            if joined {
                range.end = range.end.max(next.end);
            }
            joined
        });
        found
    }

    /// A fingerprint rolls over the line (Karp and Rabin); where it is one that is known, the MAC decides.
    fn find_window(&self, window: &Window, line: &[u8], found: &mut Vec<Range<usize>>) {
        let Some(first) = line.get(..window.len) else {
            return;
        };
        let mut hash = first.iter().fold(0, |hash, byte| self.next(hash, *byte));
        let mut start = 0;
        loop {
            let end = start + window.len;
            if let Some(known) = self.known(window, print(hash), &line[start..end]) {
                let from = start.saturating_sub(known.before.into());
                let to = line.len().min(end + usize::from(known.after));
                match found.last_mut() {
                    // One after the other of a text that repeats itself.
                    Some(last) if last.start <= from && from <= last.end => {
                        last.end = last.end.max(to);
                    }
                    _ => found.push(from..to),
                }
            }
            let (Some(&gone), Some(&come)) = (line.get(start), line.get(end)) else {
                return;
            };
            hash = minus(self.next(hash, come), times(window.power, symbol(gone)));
            start += 1;
        }
    }

    fn known(&self, window: &Window, print: u16, text: &[u8]) -> Option<Known> {
        let first = window.known.partition_point(|known| known.print < print);
        let mut alike = window.known[first..]
            .iter()
            .take_while(|known| known.print == print)
            .peekable();
        alike.peek()?;
        let tag = self.mac.tag(text);
        alike.find(|known| known.tag == tag).copied()
    }

    fn next(&self, hash: u64, byte: u8) -> u64 {
        plus(times(hash, self.base), symbol(byte))
    }
}

/// 2^61 - 1: a prime by which dividing is cheap.
const PRIME: u64 = (1 << 61) - 1;

/// Never 0, or a text and the same text after NULs had one fingerprint.
fn symbol(byte: u8) -> u64 {
    u64::from(byte) + 1
}

fn times(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    plus(product as u64 & PRIME, (product >> 61) as u64)
}

fn plus(a: u64, b: u64) -> u64 {
    let sum = a + b;
    if sum >= PRIME { sum - PRIME } else { sum }
}

fn minus(a: u64, b: u64) -> u64 {
    plus(a, PRIME - b)
}

fn print(hash: u64) -> u16 {
    (hash >> (61 - BITS)) as u16
}
