//! The answer to a request, as a body of HTTP.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::child::{Child, Stop};
use super::mailbox::{Front, Read, Reader};
use super::pool::Children;
use super::tenant::Tenant;

/// How long a stream may be silent before a comment is written, so that nobody on the way takes it for
/// dead (MCP 2026-07-28, basic/patterns/subscriptions).
const SILENCE: Duration = Duration::from_secs(25);

/// The body of an answer.
pub enum Answer {
    /// All of it.
    Whole(Option<Bytes>),
    /// Events, as they come.
    Events(Box<Events>),
}

/// Events, as they come.
pub struct Events {
    reader: Reader,
    front: Front,
    /// What is written first.
    first: Option<Bytes>,
    /// The event that was read before the stream began.
    read: Option<Read>,
    silence: Pin<Box<Sleep>>,
    /// Dropped with the stream.
    _leaving: Option<Leaving>,
}

/// What becomes of a request or session whose client hangs up.
pub(super) enum Leaving {
    /// The request is taken back (MCP 2026-07-28, basic/patterns/cancellation).
    Request {
        /// Whom it was sent to.
        child: Arc<Child>,
        /// Our number of it.
        number: u64,
    },
    /// The session ends: its stream was all there was of it (MCP 2024-11-05, basic/transports).
    Session {
        /// Where it is known.
        children: Children,
        /// Which.
        tenant: Arc<Tenant>,
    },
}

impl Drop for Leaving {
    fn drop(&mut self) {
        match self {
            // One that was answered is not under way any more, and nothing is taken back.
            Self::Request { child, number } => child.take_back(*number),
            Self::Session { children, tenant } => children.remove(tenant, Stop::Soon),
        }
    }
}

impl Answer {
    /// The events of `reader`, of which one may have been read; `first` is written before all.
    pub(super) fn events(
        reader: Reader,
        front: Front,
        first: Option<Bytes>,
        read: Option<Read>,
        leaving: Option<Leaving>,
    ) -> Self {
        Self::Events(Box::new(Events {
            reader,
            front,
            first,
            read,
            silence: Box::pin(sleep(SILENCE)),
            _leaving: leaving,
        }))
    }
}

/// The id of an event, for who comes back.
pub(super) fn event_id(stream: u32, number: u32) -> String {
    format!("{stream}-{number}")
}

/// The stream and number an event's id says.
pub(super) fn parse_event_id(id: &str) -> Option<(u32, u32)> {
    let (stream, number) = id.split_once('-')?;
    Some((stream.parse().ok()?, number.parse().ok()?))
}

impl Events {
    fn written(&self, read: &Read) -> Bytes {
        let message = &read.message;
        let id = match self.front {
            Front::Streamable => {
                format!("id: {}\n", event_id(self.reader.stream(), read.number))
            }
            Front::Sse | Front::Modern => String::new(),
        };
        let mut event = Vec::with_capacity(id.len() + message.len() + 24);
        event.extend_from_slice(b"event: message\n");
        event.extend_from_slice(id.as_bytes());
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(message);
        event.extend_from_slice(b"\n\n");
        event.into()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        if let Some(read) = self.read.take() {
            return Poll::Ready(Some(self.written(&read)));
        }
        if let Poll::Ready(read) = self.reader.poll_next(cx) {
            self.silence.as_mut().reset(Instant::now() + SILENCE);
            return Poll::Ready(read.map(|read| self.written(&read)));
        }
        if self.silence.as_mut().poll(cx).is_ready() {
            self.silence.as_mut().reset(Instant::now() + SILENCE);
            // It has to be looked at once more, or nobody would wake this task.
            let _ = self.silence.as_mut().poll(cx);
            return Poll::Ready(Some(Bytes::from_static(b":\n\n")));
        }
        Poll::Pending
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let data = match self.get_mut() {
            Self::Whole(body) => Poll::Ready(body.take()),
            Self::Events(events) => events.poll(cx),
        };
        data.map(|data| data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
