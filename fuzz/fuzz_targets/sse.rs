//! Any stream, cut into pieces of the size its first byte says: as if it had come whole.
#![no_main]

use bytes::Bytes;
use cloakroom::mcp::sse::{SealEventIds, SseError};
use libfuzzer_sys::fuzz_target;

fn run(stream: &Bytes, piece: usize) -> (Vec<u8>, Result<(), SseError>) {
    let mut sealer = SealEventIds::new(|id: &[u8]| [b"<", id, b">"].concat());
    let mut out = Vec::new();
    for start in (0..stream.len()).step_by(piece) {
        let end = stream.len().min(start + piece);
        if let Err(error) = sealer.push(stream.slice(start..end), &mut out) {
            return (Vec::new(), Err(error));
        }
    }
    (out.concat(), sealer.finish())
}

fuzz_target!(|input: &[u8]| {
    let Some((&piece, stream)) = input.split_first() else {
        return;
    };
    let stream = Bytes::copy_from_slice(stream);
    assert_eq!(
        run(&stream, usize::from(piece).max(1)),
        run(&stream, stream.len().max(1))
    );
});
