//! What waits until a child reads its standard input: bounded in number and in bytes, for it is held by
//! no request any more.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Messages that may wait until a child reads its standard input.
pub(super) const WAITING: usize = 16;

/// Bytes of them; one message may be longer when it is alone.
const WAITING_BYTES: usize = 1024 * 1024;

/// What a child is to read, and its place among what waits.
pub(super) struct Line {
    pub(super) line: Bytes,
    /// What bounds the bytes that wait; none for the few we say on our own.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// Places for a message among [`WAITING_BYTES`].
pub(super) fn room_for(message: &Bytes) -> u32 {
    u32::try_from(message.len().min(WAITING_BYTES)).unwrap_or(u32::MAX)
}

/// Room for so many bytes of messages.
pub(super) fn waiting_room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(WAITING_BYTES))
}
