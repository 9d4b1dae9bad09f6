//! The body of an answer: passed on as it comes, ids sealed and arguments hidden on the way.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

use super::Shared;
use super::answer::Arrived;
use super::budget::Counted;
use super::failure::BoxError;
use super::rules::Answering;
use super::streams::Listening;
use crate::mcp::answer::{AnswerError, EventAnswer, JsonAnswer};
use crate::resolve::Identity;

/// Resolves when the key an answer is given to no longer stands.
type Denied = Pin<Box<dyn Future<Output = ()> + Send>>;

pin_project! {
    /// The body of a response that leaves the layer.
    pub struct AnswerBody<R> {
        #[pin]
        inner: Inner<R>,
        // What it counts as until it is dropped.
        counted: Option<Counted>,
    }
}

pin_project! {
    #[project = Projected]
    enum Inner<R> {
        // One of our own answers.
        Own { body: Full<Bytes> },
        // The backend's; none when it was read whole before.
        Backend {
            #[pin]
            body: Option<R>,
            passing: Passing,
        },
        // The backend's stream of HTTP+SSE, whose beginning was waited for.
        Stream {
            first: VecDeque<Bytes>,
            rest: Pin<Box<AnswerBody<R>>>,
            own: Listening,
        },
    }
}

/// Whether the key an answer is given to still stands. Looked at only once an answer makes its client
/// wait: most are there at once.
enum Standing {
    Unwatched(Arc<Shared>, Identity),
    Watched(Denied),
}

impl Standing {
    fn is_watched(&self) -> bool {
        matches!(self, Self::Watched(_))
    }

    fn poll_denied(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self {
                Self::Watched(denied) => return denied.as_mut().poll(cx),
                Self::Unwatched(shared, identity) => {
                    let (shared, identity) = (shared.clone(), identity.clone());
                    let denied = async move { shared.gate.until_denied(identity).await };
                    *self = Self::Watched(Box::pin(denied));
                }
            }
        }
    }
}

/// An answer was cut because the key it was given to no longer stands.
#[derive(Debug, thiserror::Error)]
#[error("the key no longer stands")]
struct KeyDenied;

/// An answer under way.
struct Passing {
    rewriting: Rewriting,
    /// What was read of it before.
    first: VecDeque<Result<Bytes, BoxError>>,
    ready: VecDeque<Bytes>,
    pieces: Vec<Bytes>,
    standing: Standing,
    ended: bool,
}

/// What an answer is read as.
pub(super) enum Rewriting {
    /// A body of JSON, or of anything else that is no stream.
    Json(JsonAnswer<Answering>),
    /// An event stream.
    Events(EventAnswer<Answering>),
}

impl Rewriting {
    fn push(&mut self, data: Bytes, out: &mut Vec<Bytes>) -> Result<(), AnswerError> {
        match self {
            Self::Json(answer) => answer.push(data, out),
            Self::Events(answer) => answer.push(data, out),
        }
    }

    fn finish(&mut self) -> Result<(), AnswerError> {
        match self {
            Self::Json(answer) => answer.finish(),
            Self::Events(answer) => answer.finish(),
        }
    }
}

impl<R> AnswerBody<R> {
    /// One of our own answers.
    pub(crate) fn own(body: Full<Bytes>) -> Self {
        Self::uncounted(Inner::Own { body })
    }

    fn uncounted(inner: Inner<R>) -> Self {
        Self {
            inner,
            counted: None,
        }
    }

    /// The same, which counts as something under way until it is dropped.
    pub(super) fn counted(self, counted: Counted) -> Self {
        Self {
            counted: Some(counted),
            ..self
        }
    }

    /// The backend's answer, given to `identity` for as long as its key stands.
    pub(super) fn backend(
        arrived: Arrived<R>,
        rewriting: Rewriting,
        shared: Arc<Shared>,
        identity: Identity,
    ) -> Self {
        let passing = Passing {
            rewriting,
            first: arrived.first,
            ready: VecDeque::new(),
            pieces: Vec::new(),
            standing: Standing::Unwatched(shared, identity),
            ended: false,
        };
        let body = arrived.rest;
        Self::uncounted(Inner::Backend { body, passing })
    }

    /// A stream of HTTP+SSE that begins with `first` and goes on with `rest`, and with events of `own`.
    pub(super) fn stream(
        first: VecDeque<Bytes>,
        rest: Pin<Box<AnswerBody<R>>>,
        own: Listening,
    ) -> Self {
        Self::uncounted(Inner::Stream { first, rest, own })
    }

    fn is_between_events(&self) -> bool {
        match &self.inner {
            Inner::Backend { passing, .. } => match &passing.rewriting {
                Rewriting::Events(answer) => answer.between_events(),
                Rewriting::Json(_) => false,
            },
            _ => false,
        }
    }
}

impl<R> Body for AnswerBody<R>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().inner.project() {
            Projected::Own { body } => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Projected::Backend { body, passing } => passing
                .poll(body, cx)
                .map(|data| Some(data?.map(Frame::data))),
            Projected::Stream { first, rest, own } => {
                if let Some(piece) = first.pop_front() {
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                if let Poll::Ready(frame) = rest.as_mut().poll_frame(cx) {
                    return Poll::Ready(frame);
                }
                if rest.is_between_events() {
                    // The sender lives in the list of open streams until this body is dropped.
                    return own
                        .events()
                        .poll_recv(cx)
                        .map(|event| Some(Ok(Frame::data(event?))));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Own { body } => body.is_end_stream(),
            // What was held back comes last, so the backend's end is not the end.
            Inner::Backend { .. } | Inner::Stream { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Own { body } => body.size_hint(),
            Inner::Backend { .. } | Inner::Stream { .. } => SizeHint::default(),
        }
    }
}

impl Passing {
    fn poll<R>(
        &mut self,
        mut body: Pin<&mut Option<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BoxError>>>
    where
        R: Body<Data = Bytes>,
        R::Error: Into<BoxError>,
    {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(piece)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if self.standing.is_watched() && self.standing.poll_denied(cx).is_ready() {
                return Poll::Ready(self.denied());
            }
            let polled = match (self.first.pop_front(), body.as_mut().as_pin_mut()) {
                (Some(first), _) => Poll::Ready(Some(first)),
                (None, Some(body)) => poll_data(body, cx),
                (None, None) => Poll::Ready(None),
            };
            match polled {
                Poll::Pending => {
                    ready!(self.standing.poll_denied(cx));
                    return Poll::Ready(self.denied());
                }
                Poll::Ready(Some(Ok(data))) => {
                    if let Err(error) = self.rewriting.push(data, &mut self.pieces) {
                        self.ended = true;
                        tracing::warn!(%error, "an answer of the server is cut");
                        return Poll::Ready(Some(Err(error.into())));
                    }
                    self.ready.extend(self.pieces.drain(..));
                }
                Poll::Ready(Some(Err(error))) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    self.ended = true;
                    return Poll::Ready(self.end());
                }
            }
        }
    }

    /// The key no longer stands: a stream ends, if it is between events; an answer is cut.
    fn denied(&mut self) -> Option<Result<Bytes, BoxError>> {
        self.ended = true;
        tracing::info!("an answer under way ends: its key no longer stands");
        match self.rewriting {
            Rewriting::Json(_) => Some(Err(KeyDenied.into())),
            Rewriting::Events(_) => self.end(),
        }
    }

    /// An end inside an event or a message is a reset, or what was cut would look whole to a careless
    /// reader.
    fn end(&mut self) -> Option<Result<Bytes, BoxError>> {
        self.rewriting.finish().err().map(|error| Err(error.into()))
    }
}

/// The next data of a body; trailers are dropped.
fn poll_data<R>(
    mut body: Pin<&mut R>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, BoxError>>>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    loop {
        match ready!(body.as_mut().poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Poll::Ready(Some(Ok(data)));
                }
            }
        }
    }
}
