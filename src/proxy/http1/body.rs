//! The body of a client's request.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::outbox::{self, Late};
use super::wire::Wire;

/// One end of a client's connection; the other is with the body of its request. Both are of one task, so
/// nobody waits for the other.
pub(in crate::proxy) struct Shared<S>(Arc<Mutex<Wire<S>>>);

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Shared<S> {
    /// A connection on which nothing was read yet.
    pub(in crate::proxy) fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Wire::new(stream))))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Wire<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody holds the other end.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// The connection alone, once no body holds the other end.
    pub(super) fn into_wire(self) -> Option<Wire<S>> {
        let wire = Arc::into_inner(self.0)?;
        Some(wire.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: AsyncWrite + Unpin + Send + 'static> Shared<S> {
    /// Writes what `put` puts together at the end of the core's turn, or at once if it is the first of it.
    ///
    /// # Errors
    /// Nothing of it could be written.
    pub(super) fn write_late(
        &self,
        cx: &mut Context<'_>,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        let mut wire = self.lock();
        if wire.may_be_late() && outbox::next_is_late() {
            outbox::put_off(self.0.clone(), cx.waker().clone());
            wire.is_late = true;
        }
        wire.write(cx, put)
    }
}

impl<S: AsyncWrite + Unpin + Send> Late for Mutex<Wire<S>> {
    fn write(&self, cx: &mut Context<'_>) {
        let mut wire = self.lock().unwrap_or_else(PoisonError::into_inner);
        // What found no room goes on with the task, and so does what went wrong.
        if let Poll::Ready(Err(_)) = wire.poll_written(cx) {
            cx.waker().wake_by_ref();
        }
    }
}

/// The body of a request.
pub(in crate::proxy) enum Sent<S> {
    /// It came with its head.
    Whole(Bytes),
    /// It is still to come.
    Coming(Coming<S>),
}

/// A body that is still to come, or its rest.
pub(in crate::proxy) struct Coming<S>(pub(super) Shared<S>);

impl<S: AsyncRead + Unpin> Body for Sent<S> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(body) if body.is_empty() => Poll::Ready(None),
            Self::Whole(body) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
            Self::Coming(Coming(shared)) => {
                let data = ready!(poll_data(&mut shared.lock(), cx))?;
                Poll::Ready(data.map(|data| Ok(Frame::data(data))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

impl<S> Sent<S> {
    fn left(&self) -> u64 {
        match self {
            Self::Whole(body) => body.len() as u64,
            Self::Coming(Coming(shared)) => shared.lock().body_left,
        }
    }
}

/// The next piece of a body.
fn poll_data<S: AsyncRead + Unpin>(
    wire: &mut Wire<S>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Option<Bytes>>> {
    if wire.body_left == 0 {
        return Poll::Ready(Ok(None));
    }
    if wire.unread.is_empty() && ready!(wire.poll_fill(cx))? == 0 {
        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
    }
    let most = usize::try_from(wire.body_left).unwrap_or(usize::MAX);
    let here = wire.unread.len().min(most);
    wire.body_left -= here as u64;
    Poll::Ready(Ok(Some(wire.take(here))))
}
