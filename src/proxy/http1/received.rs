//! The body of a backend's answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::answer::{Framed, Framing};
use super::connection::Connection;
use crate::layer::BoxError;

/// Takes back a connection whose answer was read to its end.
pub(in crate::proxy) type Lease = Box<dyn FnOnce(Box<Connection>) + Send>;

/// The body of a backend's answer. When it was read to its end, the connection may serve another
/// request; when not, it is closed: what is left on it belongs to nobody.
pub struct Received(Way);

enum Way {
    Read(Option<Box<Reading>>),
    Library(Incoming),
}

/// A body that is being read.
struct Reading {
    connection: Box<Connection>,
    framing: Framing,
    lease: Option<Lease>,
}

impl Received {
    pub(super) fn new(connection: Box<Connection>, framed: Framed, lease: Option<Lease>) -> Self {
        let reading = Reading {
            connection,
            framing: framed.body,
            lease: lease.filter(|_| !framed.is_last),
        };
        let mut received = Self(Way::Read(Some(Box::new(reading))));
        received.finish();
        received
    }

    pub(super) fn library(body: Incoming) -> Self {
        Self(Way::Library(body))
    }

    /// Gives the connection back if that was all.
    fn finish(&mut self) {
        if let Way::Read(reading) = &mut self.0
            && let Some(done) = reading.take_if(|reading| reading.framing.is_end())
        {
            done.give_back();
        }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let reading = match &mut this.0 {
            Way::Library(body) => {
                let polled = Pin::new(body).poll_frame(cx);
                return polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)));
            }
            Way::Read(None) => return Poll::Ready(None),
            Way::Read(Some(reading)) => reading,
        };
        let data = match ready!(reading.poll_data(cx)) {
            Ok(data) => data,
            Err(error) => {
                this.0 = Way::Read(None);
                return Poll::Ready(Some(Err(error.into())));
            }
        };
        this.finish();
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Way::Read(reading) => reading.is_none(),
            Way::Library(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Way::Library(body) => body.size_hint(),
            Way::Read(None) => SizeHint::with_exact(0),
            Way::Read(Some(reading)) => match reading.framing {
                Framing::Length(left) => SizeHint::with_exact(left),
                Framing::Chunked(_) => SizeHint::default(),
            },
        }
    }
}

impl Reading {
    /// The next data; none at the end.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if !self.connection.is_sent() {
            // It answers already; what it does not want to read is its own loss.
            let _ = self.connection.poll_sent(cx);
        }
        while !self.framing.is_end() {
            if !self.connection.wire.unread.is_empty() {
                let read = self.framing.take(&mut self.connection.wire.unread);
                let read = read.map_err(io::Error::other)?;
                if !read.is_empty() {
                    return Poll::Ready(Ok(Some(read)));
                }
            }
            if !self.framing.is_end() && ready!(self.connection.wire.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Poll::Ready(Ok(None))
    }

    /// Whatever is there beyond the end was not asked for.
    fn give_back(self) {
        let Self {
            connection, lease, ..
        } = self;
        if !connection.wire.unread.is_empty() {
            connection.peer.babbled();
        } else if let Some(lease) = lease.filter(|_| connection.is_sent()) {
            lease(connection);
        }
    }
}
