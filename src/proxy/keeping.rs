//! The body of an answer that is being given, and what counts for as long as it is.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A body that keeps something until it is dropped.
    pub(super) struct Keeping<B, K> {
        #[pin]
        body: B,
        kept: K,
    }
}

impl<B, K> Keeping<B, K> {
    pub(super) fn new(body: B, kept: K) -> Self {
        Self { body, kept }
    }
}

impl<B: Body, K> Body for Keeping<B, K> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
