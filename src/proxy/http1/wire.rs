//! A connection and what was read of it and is still to be looked at.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::replay::Prefixed;
use super::scratch;

/// Bytes that may be read before anybody asks for them, and that may be late.
const AHEAD: usize = 64 * 1024;

/// One connection.
pub(super) struct Wire<S> {
    pub(super) stream: S,
    /// What was read.
    pub(super) unread: BytesMut,
    /// Bytes of the body of a client's request that were not taken.
    pub(super) body_left: u64,
    /// What was written and had no room, or is late.
    unwritten: BytesMut,
    /// Whether what is written waits for the end of the core's turn.
    pub(super) is_late: bool,
}

/// The next bytes of what was read; of the last of them nothing is kept.
pub(super) fn take(unread: &mut BytesMut, bytes: usize) -> Bytes {
    if bytes == unread.len() {
        return std::mem::take(unread).freeze();
    }
    unread.split_to(bytes).freeze()
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            unread: BytesMut::new(),
            body_left: 0,
            unwritten: BytesMut::new(),
            is_late: false,
        }
    }
}

impl<S> Wire<S> {
    /// The next bytes of what was read.
    pub(super) fn take(&mut self, bytes: usize) -> Bytes {
        take(&mut self.unread, bytes)
    }

    /// The connection as it begins with what was read of it, and what was not written yet.
    pub(super) fn into_unwritten(self) -> (Prefixed<S>, BytesMut) {
        let Self {
            stream,
            unread,
            unwritten,
            ..
        } = self;
        (Prefixed::new(stream, unread), unwritten)
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Reads over what is there of a small body that nobody wanted, lest the connection end for it.
    pub(super) fn skip_body(&mut self, cx: &mut Context<'_>) {
        if self.body_left > AHEAD as u64 {
            return;
        }
        while self.body_left > 0 {
            // An end or an error shows again.
            if self.unread.is_empty() && !matches!(self.poll_fill(cx), Poll::Ready(Ok(1..))) {
                return;
            }
            let most = usize::try_from(self.body_left).unwrap_or(usize::MAX);
            let here = self.unread.len().min(most);
            self.body_left -= self.take(here).len() as u64;
        }
    }

    /// Reads more: how much, 0 at the end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let unread = &mut self.unread;
        scratch::poll_read(&mut self.stream, cx, |read| {
            unread.extend_from_slice(read);
            read.len()
        })
    }

    /// Ready when the other end is gone, of which nothing is expected now. What it sends all the same is
    /// kept, and once that is much, not read.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.unread.len() < AHEAD {
            match ready!(self.poll_fill(cx)) {
                // It sends nothing more, but what it sent is still to be answered.
                Ok(0) if !self.unread.is_empty() => return Poll::Pending,
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Whether it is worth while to put off what is written next: nothing waits.
    pub(super) fn may_be_late(&self) -> bool {
        !self.is_late && self.unwritten.is_empty()
    }

    /// Writes what `put` puts together. What finds no room is left to [`Wire::poll_written`].
    ///
    /// # Errors
    /// Nothing of it could be written.
    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        scratch::with_write(|out| {
            put(out);
            let mut rest = &out[..];
            // Not past what waits already.
            while !self.is_late && self.unwritten.is_empty() && !rest.is_empty() {
                match Pin::new(&mut self.stream).poll_write(cx, rest) {
                    Poll::Ready(Ok(written @ 1..)) => rest = &rest[written..],
                    // What goes wrong after a part was written shows when it is written on.
                    Poll::Ready(_) if rest.len() < out.len() => break,
                    Poll::Ready(Ok(_)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => break,
                }
            }
            self.unwritten.extend_from_slice(rest);
            Ok(())
        })
    }

    /// Ready once the next answer may be put together: what went before is written, or late and not much.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_late && self.unwritten.len() < AHEAD {
            return Poll::Ready(Ok(()));
        }
        self.poll_written(cx)
    }

    /// Ready once everything was written, also what was late.
    pub(super) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_late = false;
        while !self.unwritten.is_empty() {
            let polled = Pin::new(&mut self.stream).poll_write(cx, &self.unwritten);
            match ready!(polled)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.unwritten.advance(written),
            }
        }
        self.unwritten = BytesMut::new();
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}
