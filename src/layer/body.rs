//! The body of an answer: passed on as it comes, ids sealed and arguments hidden on the way.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

use super::answer::Arrived;
use super::budget::Counted;
use super::failure::BoxError;
use super::in_place::in_place;
use super::rules::Answering;
use super::standing::{Over, Standing};
use super::streams::Listening;
use crate::mcp::answer::{AnswerError, EventAnswer, JsonAnswer};

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
        // The backend's, of which all is here.
        Whole { pieces: vec::IntoIter<Bytes> },
        // The backend's. Boxed, for it is handed on several times before it is read.
        Backend { coming: Pin<Box<Coming<R>>> },
        // The backend's stream of HTTP+SSE, whose beginning was waited for.
        Stream {
            first: VecDeque<Bytes>,
            rest: Pin<Box<AnswerBody<R>>>,
            own: Listening,
        },
    }
}

pin_project! {
    /// The backend's answer.
    struct Coming<R> {
        // None when it was read whole before.
        #[pin]
        body: Option<R>,
        passing: Passing,
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
    /// What is ready to go on, and how much of that went.
    pieces: Vec<Bytes>,
    gone: usize,
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

    /// The backend's answer, as it goes to the client.
    pub(super) fn whole(pieces: Vec<Bytes>) -> Self {
        let pieces = pieces.into_iter();
        Self::uncounted(Inner::Whole { pieces })
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

    /// The backend's answer, for as long as `standing` lets it go on.
    pub(super) fn backend(arrived: Arrived<R>, rewriting: Rewriting, standing: Standing) -> Self {
        let passing = Passing {
            rewriting,
            first: arrived.first,
            pieces: Vec::new(),
            gone: 0,
            standing,
            ended: false,
        };
        let body = arrived.rest;
        let coming = in_place(|| Coming { body, passing });
        Self::uncounted(Inner::Backend { coming })
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
            Inner::Backend { coming } => coming.passing.is_between_events(),
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
            Projected::Whole { pieces } => Poll::Ready(pieces.next().map(|p| Ok(Frame::data(p)))),
            Projected::Backend { coming } => {
                let coming = coming.as_mut().project();
                let polled = coming.passing.poll(coming.body, cx);
                polled.map(|data| Some(data?.map(Frame::data)))
            }
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
            Inner::Whole { pieces } => pieces.len() == 0,
            // What was held back comes last, so the backend's end is not the end.
            Inner::Backend { .. } | Inner::Stream { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Own { body } => body.size_hint(),
            Inner::Whole { pieces } => {
                SizeHint::with_exact(pieces.as_slice().iter().map(|p| p.len() as u64).sum())
            }
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
            if let Some(piece) = self.pieces.get_mut(self.gone) {
                self.gone += 1;
                return Poll::Ready(Some(Ok(std::mem::take(piece))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if self.standing.is_watched()
                && let Poll::Ready(over) = self.poll_over(cx)
            {
                return Poll::Ready(over);
            }
            let polled = match (self.first.pop_front(), body.as_mut().as_pin_mut()) {
                (Some(first), _) => Poll::Ready(Some(first)),
                (None, Some(body)) => poll_data(body, cx),
                (None, None) => Poll::Ready(None),
            };
            match polled {
                Poll::Pending => return self.poll_over(cx),
                Poll::Ready(Some(Ok(data))) => {
                    self.pieces.clear();
                    self.gone = 0;
                    if let Err(error) = self.rewriting.push(data, &mut self.pieces) {
                        self.ended = true;
                        self.pieces.clear();
                        tracing::warn!(%error, "an answer of the server is cut");
                        return Poll::Ready(Some(Err(error.into())));
                    }
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

    /// What the client is told when the answer is not to go on.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        match ready!(self.standing.poll_over(cx)) {
            Over::Denied => Poll::Ready(self.denied()),
            Over::Closing if self.is_between_events() => {
                self.ended = true;
                Poll::Ready(None)
            }
            // The backend owes the rest of an event.
            Over::Closing => Poll::Pending,
        }
    }

    fn is_between_events(&self) -> bool {
        match &self.rewriting {
            Rewriting::Events(answer) => answer.between_events(),
            Rewriting::Json(_) => false,
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
