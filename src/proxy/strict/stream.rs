//! The reader itself: around a socket, below the HTTP library.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::fault::Fault;
use super::judge::Judge;
use super::line::{Line, SUBSTITUTE};
use crate::proxy::clock::Clock;

/// How long a connection that ends with something unread is kept, for its client to read the answer:
/// closing it at once would reset it, and take the answer from the client's hands.
const LINGER: Duration = Duration::from_secs(1);
/// How much is read and thrown away meanwhile.
const LINGER_BYTES: usize = 1 << 20;

/// What a client is given.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Bytes of a request's head.
    pub head_max: usize,
    /// For the first byte of a connection; for a head, from its first byte; for the next byte of a body.
    pub read_timeout: Duration,
    /// Between an answer and the next request; and for taking the next byte of an answer.
    pub idle_timeout: Duration,
}

/// A connection of which only what is beyond doubt can be read.
///
/// What lies whole in the buffer it is asked to fill is judged there and left there. Only a head that
/// comes in pieces is held back, up to its limit, and copied.
pub struct Strict<S> {
    inner: S,
    settings: Settings,
    judge: Judge,
    line: Line,
    /// Bytes that may go on but had no room, and behind them the beginning of a head.
    held: Vec<u8>,
    released: usize,
    ending: Option<Ending>,
    /// When the head now held began to be waited for.
    head_since: Option<Instant>,
    /// When the next byte of a body began to be waited for.
    body_since: Option<Instant>,
    /// When an answer was first not taken.
    write_since: Option<Instant>,
    read_clock: Clock,
    write_clock: Clock,
    lingering: Option<(Instant, usize)>,
}

/// After which nothing is read.
enum Ending {
    /// What stands for a refused request; the answer to it ends the connection.
    Substitute(&'static [u8]),
    /// A body broke the rules.
    Broken(Fault),
    /// Its time was up.
    Cut,
}

impl<S> Strict<S> {
    /// Around a connection nobody has read from; and what its service must ask.
    pub fn new(inner: S, settings: Settings) -> (Self, Line) {
        let line = Line::new();
        let strict = Self {
            inner,
            settings,
            judge: Judge::new(settings.head_max),
            line: line.clone(),
            held: Vec::new(),
            released: 0,
            ending: None,
            head_since: None,
            body_since: None,
            write_since: None,
            read_clock: Clock::default(),
            write_clock: Clock::default(),
            lingering: None,
        };
        (strict, line)
    }

    /// Judges what was just read into `buf`, from `start` on, and leaves there what may go on.
    fn take(&mut self, buf: &mut ReadBuf<'_>, start: usize) {
        let requests = self.judge.requests();
        let read = &buf.filled()[start..];
        let fault = if self.held.is_empty() {
            let verdict = self.judge.judge(read);
            if verdict.fault.is_none() {
                self.held.extend_from_slice(&read[verdict.pass..]);
            }
            buf.set_filled(start + verdict.pass);
            verdict.fault
        } else {
            self.held.extend_from_slice(read);
            buf.set_filled(start);
            let verdict = self.judge.judge(&self.held);
            self.released = verdict.pass;
            if verdict.fault.is_some() {
                self.held.truncate(verdict.pass);
            }
            verdict.fault
        };
        self.body_since = None;
        if self.judge.requests() != requests {
            self.head_since = None;
        }
        if let Some(fault) = fault {
            self.line.refuse(fault);
            self.ending = Some(if self.judge.in_body() {
                Ending::Broken(fault)
            } else {
                Ending::Substitute(SUBSTITUTE)
            });
        }
    }

    /// Hands out what may go on and had no room before.
    fn give_released(&mut self, buf: &mut ReadBuf<'_>) {
        let here = self.released.min(buf.remaining());
        buf.put_slice(&self.held[..here]);
        self.held.drain(..here);
        self.released -= here;
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    /// Until when the client must have sent something; while it owes nothing, when to look again.
    fn read_deadline(&mut self) -> Instant {
        let Settings {
            read_timeout,
            idle_timeout,
            ..
        } = self.settings;
        if self.judge.in_body() {
            return *self.body_since.get_or_insert_with(Instant::now) + read_timeout;
        }
        if !self.held.is_empty() {
            return *self.head_since.get_or_insert_with(Instant::now) + read_timeout;
        }
        if self.judge.requests() == 0 {
            return self.line.opened() + read_timeout;
        }
        self.line.idle_since().unwrap_or_else(Instant::now) + idle_timeout
    }

    /// Whether the client may be silent for as long as it likes: it waits for an answer.
    fn owes_nothing(&self) -> bool {
        let is_between = !self.judge.in_body() && self.held.is_empty();
        is_between && self.judge.requests() > 0 && self.line.is_busy()
    }

    /// Waits for the client, which sent nothing, but not for ever.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.owes_nothing() && self.read_clock.is_running() {
            // Whoever gives the answer reads on when it is given; and the clock wakes this task some time.
            return Poll::Pending;
        }
        let until = self.read_deadline();
        ready!(self.read_clock.poll(cx, until));
        self.ending = Some(Ending::Cut);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// What became of an attempt to write, which must not go without success for ever.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.write_since = None;
            return polled;
        }
        let since = *self.write_since.get_or_insert_with(Instant::now);
        let until = since + self.settings.idle_timeout;
        ready!(self.write_clock.poll(cx, until));
        self.ending = Some(Ending::Cut);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if this.released > 0 {
                this.give_released(buf);
                return Poll::Ready(Ok(()));
            }
            match &mut this.ending {
                // Neither the end of the connection, which would keep the answer from being written.
                Some(Ending::Substitute([])) => return Poll::Pending,
                Some(Ending::Substitute(rest)) => {
                    let (here, later) = rest.split_at(rest.len().min(buf.remaining()));
                    buf.put_slice(here);
                    *rest = later;
                    return Poll::Ready(Ok(()));
                }
                Some(Ending::Broken(fault)) => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, *fault);
                    return Poll::Ready(Err(error));
                }
                Some(Ending::Cut) => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                None => {}
            }
            let start = buf.filled().len();
            match Pin::new(&mut this.inner).poll_read(cx, buf) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return this.poll_patience(cx),
            }
            if buf.filled().len() == start {
                // The end; what is held of a head never becomes one.
                return Poll::Ready(Ok(()));
            }
            this.take(buf, start);
            if buf.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write(cx, data);
        this.written(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write_vectored(cx, data);
        this.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_flush(cx);
        this.written(cx, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            let polled = Pin::new(&mut this.inner).poll_shutdown(cx);
            ready!(this.written(cx, polled))?;
            let unread = match this.ending {
                Some(Ending::Cut) => false,
                Some(Ending::Substitute(_) | Ending::Broken(_)) => true,
                None => this.judge.in_body(),
            };
            if !unread {
                return Poll::Ready(Ok(()));
            }
        }
        let (until, left) = this
            .lingering
            .get_or_insert_with(|| (Instant::now() + LINGER, LINGER_BYTES));
        let mut waste = [0; 4096];
        while *left > 0 {
            let mut buf = ReadBuf::new(&mut waste);
            match Pin::new(&mut this.inner).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    *left = left.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => break,
                Poll::Pending => {
                    ready!(this.read_clock.poll(cx, *until));
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
