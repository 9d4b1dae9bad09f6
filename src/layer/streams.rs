//! Open streams of HTTP+SSE (MCP 2024-11-05), so far as this process holds them.
//!
//! A client posts its messages to a path of their own and reads every answer on its stream, also the
//! answer to a message that was refused: python's SDK waits for it for ever otherwise. So a refusal is
//! written to the stream, if it is here. If another replica holds it the refusal is the answer to the
//! POST, which is the best there is without a word between replicas.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::mcp::scan::Capabilities;

/// Events of our own that wait for a client that does not read; more are dropped.
const WAITING: usize = 64;
/// Bytes one of them may have: they count against no budget, and its id is as long as the client likes.
const MOST: usize = 64 * 1024;

/// The open streams, by the sealed path their messages are posted to, which is never the same twice and
/// opens for its holder alone.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Mutex<HashMap<Box<str>, Open>>>);

struct Open {
    events: mpsc::Sender<Bytes>,
    capabilities: Capabilities,
}

/// The reading end of one stream; it is forgotten when this is dropped.
pub(super) struct Listening {
    streams: Streams,
    path: Box<str>,
    events: mpsc::Receiver<Bytes>,
}

impl Streams {
    /// A stream whose messages come by `path` is open from now on.
    pub(super) fn open(&self, path: &str) -> Listening {
        let (sender, events) = mpsc::channel(WAITING);
        let open = Open {
            events: sender,
            capabilities: Capabilities::default(),
        };
        self.lock().insert(path.into(), open);
        Listening {
            streams: self.clone(),
            path: path.into(),
            events,
        }
    }

    /// Writes a message to the stream; whether it will be read.
    pub(super) fn tell(&self, path: &str, message: &Bytes) -> bool {
        if message.len() > MOST {
            return false;
        }
        let event = [b"event: message\ndata: ".as_slice(), message, b"\n\n"].concat();
        let streams = self.lock();
        let open = streams.get(path);
        open.is_some_and(|open| open.events.try_send(event.into()).is_ok())
    }

    /// Remembers what the client declared in `initialize`.
    pub(super) fn declare(&self, path: &str, capabilities: Capabilities) {
        if let Some(open) = self.lock().get_mut(path) {
            open.capabilities = capabilities;
        }
    }

    /// What the client declared, as far as it is known here.
    pub(super) fn declared(&self, path: &str) -> Capabilities {
        let streams = self.lock();
        streams
            .get(path)
            .map(|open| open.capabilities)
            .unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listening {
    /// The next event of our own.
    pub(super) fn events(&mut self) -> &mut mpsc::Receiver<Bytes> {
        &mut self.events
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.streams.lock().remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_told_while_it_is_open_and_no_longer() {
        let streams = Streams::default();
        let mut first = streams.open("a");
        let _second = streams.open("b");
        let message = Bytes::from("{}");
        assert!(streams.tell("a", &message) && !streams.tell("c", &message));
        assert_eq!(
            first.events().try_recv().unwrap(),
            "event: message\ndata: {}\n\n"
        );
        streams.declare("a", Capabilities::from_bits(1));
        assert!(
            streams.declared("a").elicitation_url() && !streams.declared("b").elicitation_url()
        );
        let told = (0..WAITING + 5)
            .filter(|_| streams.tell("a", &message))
            .count();
        assert_eq!(told, WAITING, "what nobody reads is not kept for ever");
        drop(first);
        assert!(!streams.tell("a", &message));
    }
}
