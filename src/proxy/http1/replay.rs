//! A connection of which something was read already, as the HTTP library is to see it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wire::Wire;
use crate::layer::RequestBody;

/// A connection that begins with what was read of it.
pub(in crate::proxy) struct Prefixed<S> {
    read: BytesMut,
    stream: S,
}

impl<S> Prefixed<S> {
    pub(super) fn new(stream: S, read: BytesMut) -> Self {
        Self { read, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let here = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..here]);
        self.read.advance(here);
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A connection on which a request was written that the library believes to write: what it writes goes
/// nowhere. The answer to it is real, but shown only then: before, it would be one to no question.
pub(super) struct Asked<S> {
    stream: Prefixed<S>,
    /// What of the request is still to be written, in this order.
    head: BytesMut,
    body: RequestBody,
    is_asked: bool,
    reader: Option<Waker>,
}

impl<S> Asked<S> {
    pub(super) fn new(wire: Wire<S>, body: RequestBody) -> Self {
        let (stream, head) = wire.into_unwritten();
        Self {
            stream,
            head,
            body,
            is_asked: false,
            reader: None,
        }
    }
}

impl<S: AsyncWrite + Unpin> Asked<S> {
    /// Writes on. What goes wrong shows when the answer is read, which may say why.
    fn write_on(&mut self, cx: &mut Context<'_>) {
        while !self.head.is_empty() || !self.body.is_empty() {
            let is_head = !self.head.is_empty();
            let rest = if is_head {
                &self.head[..]
            } else {
                self.body.chunk()
            };
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(written @ 1..)) if is_head => self.head.advance(written),
                Poll::Ready(Ok(written @ 1..)) => self.body.advance(written),
                _ => return,
            }
        }
        let _ = Pin::new(&mut self.stream).poll_flush(cx);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Asked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_asked {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.write_on(cx);
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Asked<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_asked = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
