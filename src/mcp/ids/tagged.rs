//! Ids that are carried readably, with a tag that says whose they are.
//!
//! Tagged rather than encrypted: such an id is no secret of anybody but the client that gets it,
//! there are many of them, and the same id must look the same every time.

use super::{MAX_SEALED, decode, encode};
use crate::vault::Sealer;

const SEPARATOR: u8 = b'.';
/// Begins an id that is carried in base64url.
const ENCODED: u8 = b'=';

/// `id`, `.`, and a tag over it, the purpose and the context. Visible ASCII, some 35 bytes more than
/// `id`, or 4/3 of it if it has bytes unfit for a header.
pub(super) fn seal(
    sealer: &Sealer,
    purpose: &'static str,
    context: &[&[u8]],
    id: &[u8],
) -> Vec<u8> {
    let tag = sealer.tag(purpose, context, id);
    let mut value = carried(id);
    value.push(SEPARATOR);
    value.extend_from_slice(encode(&tag).as_bytes());
    value
}

/// The id behind `value`, byte for byte; `None` unless [`seal`] made it for the same purpose and
/// context.
pub(super) fn open(
    sealer: &Sealer,
    purpose: &'static str,
    context: &[&[u8]],
    value: &[u8],
) -> Option<Vec<u8>> {
    if value.len() > MAX_SEALED {
        return None;
    }
    let at = value.iter().rposition(|&b| b == SEPARATOR)?;
    let (carrier, tag) = (&value[..at], decode(&value[at + 1..])?);
    let id = match carrier.strip_prefix(&[ENCODED]) {
        Some(encoded) => decode(encoded)?,
        None => carrier.to_vec(),
    };
    let ours = carried(&id) == carrier && sealer.verify(purpose, context, &id, &tag);
    ours.then_some(id)
}

/// `id` as it can stand in a header value: itself if it is visible ASCII, else encoded.
fn carried(id: &[u8]) -> Vec<u8> {
    let plain = id.iter().all(u8::is_ascii_graphic) && id.first() != Some(&ENCODED);
    if plain {
        return id.to_vec();
    }
    let mut carried = vec![ENCODED];
    carried.extend_from_slice(encode(id).as_bytes());
    carried
}
