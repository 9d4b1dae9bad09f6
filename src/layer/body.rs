//! The body of an answer: passed through as it comes, event ids sealed on the way.

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
use super::failure::BoxError;
use crate::mcp::sse::SealEventIds;
use crate::resolve::Identity;

/// Seals one event id.
pub(super) type Seal = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// Resolves when the key an answer is given to no longer stands.
type Denied = Pin<Box<dyn Future<Output = ()> + Send>>;

pin_project! {
    /// The body of a response that leaves the layer.
    pub struct AnswerBody<R> {
        #[pin]
        inner: Inner<R>,
    }
}

pin_project! {
    #[project = Projected]
    enum Inner<R> {
        // One of our own answers.
        Own { body: Full<Bytes> },
        // The backend's bytes as they are.
        Plain {
            #[pin]
            body: R,
            standing: Standing,
        },
        // The backend's event stream.
        Events {
            #[pin]
            body: R,
            stream: Stream,
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

/// An event stream under way.
struct Stream {
    seal: SealEventIds<Seal>,
    ready: VecDeque<Bytes>,
    pieces: Vec<Bytes>,
    standing: Standing,
    ended: bool,
}

impl<R> AnswerBody<R> {
    /// One of our own answers.
    pub(crate) fn own(body: Full<Bytes>) -> Self {
        Self {
            inner: Inner::Own { body },
        }
    }

    pub(super) fn plain(body: R, shared: Arc<Shared>, identity: Identity) -> Self {
        let standing = Standing::Unwatched(shared, identity);
        Self {
            inner: Inner::Plain { body, standing },
        }
    }

    pub(super) fn events(body: R, seal: Seal, shared: Arc<Shared>, identity: Identity) -> Self {
        let stream = Stream {
            seal: SealEventIds::new(seal),
            ready: VecDeque::new(),
            pieces: Vec::new(),
            standing: Standing::Unwatched(shared, identity),
            ended: false,
        };
        Self {
            inner: Inner::Events { body, stream },
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
            Projected::Plain { body, standing } => {
                let watched = matches!(standing, Standing::Watched(_));
                if !watched || standing.poll_denied(cx).is_pending() {
                    match poll_data(body, cx) {
                        Poll::Ready(data) => return Poll::Ready(data.map(|d| d.map(Frame::data))),
                        Poll::Pending => ready!(standing.poll_denied(cx)),
                    }
                }
                tracing::info!("an answer under way is cut: its key no longer stands");
                Poll::Ready(Some(Err(KeyDenied.into())))
            }
            Projected::Events { body, stream } => stream
                .poll(body, cx)
                .map(|data| Some(data?.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Own { body } => body.is_end_stream(),
            Inner::Plain { body, .. } => body.is_end_stream(),
            Inner::Events { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Own { body } => body.size_hint(),
            Inner::Plain { body, .. } => body.size_hint(),
            Inner::Events { .. } => SizeHint::default(),
        }
    }
}

impl Stream {
    fn poll<R>(
        &mut self,
        mut body: Pin<&mut R>,
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
            if self.standing.poll_denied(cx).is_ready() {
                self.ended = true;
                tracing::info!("an open stream ends: its key no longer stands");
                return Poll::Ready(self.end());
            }
            match ready!(poll_data(body.as_mut(), cx)) {
                Some(Ok(data)) => {
                    if let Err(error) = self.seal.push(data, &mut self.pieces) {
                        self.ended = true;
                        tracing::warn!(%error, "an event stream is reset");
                        return Poll::Ready(Some(Err(error.into())));
                    }
                    self.ready.extend(self.pieces.drain(..));
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.ended = true;
                    return Poll::Ready(self.end());
                }
            }
        }
    }

    /// An end between events is an end; one inside an event is a reset, or the cut event would look
    /// whole to a careless reader.
    fn end(&mut self) -> Option<Result<Bytes, BoxError>> {
        self.seal.finish().err().map(|error| Err(error.into()))
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
