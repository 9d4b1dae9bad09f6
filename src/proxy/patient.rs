//! The body of a request over HTTP/2, which must not pause for longer than a client may.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};

use crate::layer::BoxError;

pin_project! {
    /// A body that ends with an error when its next frame does not come in time.
    pub(super) struct Patient<B> {
        #[pin]
        body: B,
        patience: Duration,
        #[pin]
        pause: Option<Sleep>,
        waiting: bool,
    }
}

impl<B> Patient<B> {
    /// The first frame has this time too, from when it is asked for.
    pub(super) fn new(body: B, patience: Duration) -> Self {
        Self {
            body,
            patience,
            pause: None,
            waiting: false,
        }
    }
}

impl<B: Body> Body for Patient<B>
where
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        if let Poll::Ready(frame) = this.body.poll_frame(cx) {
            *this.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if !*this.waiting {
            *this.waiting = true;
            match this.pause.as_mut().as_pin_mut() {
                Some(pause) => pause.reset(Instant::now() + *this.patience),
                None => this.pause.set(Some(sleep(*this.patience))),
            }
        }
        let pause = this.pause.as_pin_mut().map(|pause| pause.poll(cx));
        match pause {
            Some(Poll::Ready(())) => Poll::Ready(Some(Err("the body paused for too long".into()))),
            _ => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
