//! What the three programs of the bench share: polling, HTTP/1.1 framing, numbers in JSON text, the clock.

pub mod clock;
pub mod decoder;
pub mod head;
pub mod outbox;
pub mod poll;
pub mod text;
