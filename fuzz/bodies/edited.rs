//! Changes to bytes that no input could hit upon, since they are sealed by keys made at start.

/// `original` after the changes that `program` says, three bytes each: what, and where or by how much.
pub(crate) fn edited(original: &[u8], program: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for step in program.chunks_exact(3) {
        let [what, place, by] = [step[0], step[1], step[2]];
        let at = |bytes: &[u8]| (usize::from(what >> 3) << 8 | usize::from(place)) % bytes.len();
        match what & 7 {
            _ if bytes.is_empty() => bytes.push(by),
            0 | 1 => {
                let at = at(&bytes);
                bytes[at] ^= by;
            }
            2 => {
                let at = at(&bytes);
                bytes[at] = by;
            }
            3 => bytes.truncate(at(&bytes)),
            4 => bytes.push(by),
            5 => bytes.insert(at(&bytes), by),
            6 => drop(bytes.remove(at(&bytes))),
            _ => {
                let (one, other) = (at(&bytes), usize::from(by) % bytes.len());
                bytes.swap(one, other);
            }
        }
    }
    bytes
}
