//! A connection to a backend: one request, its answer, and perhaps another.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::answer::{self, Next, Said};
use super::head::{self, COPIED};
use super::last::Last;
use super::outbox;
use super::received::{Lease, Received};
use super::replay;
use super::sending::Sending;
use super::wire::Wire;
use crate::layer::{AnswerHead, RequestBody};

/// Bytes the head of an answer may have, and of what is read ahead of the client by the HTTP library.
const HEAD_MAX: usize = 64 * 1024;

/// What connections to one backend have in common.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Peer {
    babbles: AtomicBool,
}

impl Peer {
    /// Whether it ever sent bytes nobody had asked for.
    pub(in crate::proxy) fn babbles(&self) -> bool {
        self.babbles.load(Ordering::Relaxed)
    }

    pub(super) fn babbled(&self) {
        if !self.babbles.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a server sent more than was asked for; from now on its connections serve one request each"
            );
        }
    }
}

/// A stream to a backend.
pub(in crate::proxy) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection on which nothing is under way, or one answer.
pub(in crate::proxy) struct Connection {
    pub(super) wire: Wire<Stream>,
    pub(super) peer: Arc<Peer>,
    /// What of a large body was not written yet.
    body: RequestBody,
    /// Whether all of the request has left.
    is_sent: bool,
    /// Bytes in which there was no whole head of an answer.
    looked_at: usize,
    /// The head of the last answer whose length it said.
    last: Last<Said>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(in crate::proxy) struct Broken {
    /// Whether nothing of the request was written.
    pub(in crate::proxy) is_unsent: bool,
    why: String,
}

impl Broken {
    pub(super) fn after(why: impl ToString) -> Self {
        Self {
            is_unsent: false,
            why: why.to_string(),
        }
    }
}

impl Connection {
    /// One that was just opened. Boxed, for it goes from hand to hand with every request.
    pub(in crate::proxy) fn new(stream: Stream, peer: Arc<Peer>) -> Box<Self> {
        Box::new(Self {
            wire: Wire::new(stream),
            peer,
            body: RequestBody::default(),
            is_sent: true,
            looked_at: 0,
            last: Last::default(),
        })
    }

    /// Whether it is as quiet as it has to be between two requests: open, and without a byte nobody asked for.
    pub(in crate::proxy) fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        match self.wire.poll_fill(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(1..)) => {
                self.peer.babbled();
                false
            }
            Poll::Ready(_) => false,
        }
    }

    /// Sends a request and waits for the head of its answer. The connection goes to `lease` once the
    /// answer was read to its end. Nothing is left of the request once it was written, so that many who wait
    /// hold little, and no secrets; if nothing of it was, it is left as it is.
    ///
    /// # Errors
    /// It broke before the answer's head was there.
    pub(in crate::proxy) async fn ask(
        mut self: Box<Self>,
        asked: &mut Option<Box<Request<RequestBody>>>,
        lease: Option<Lease>,
    ) -> Result<(Arc<AnswerHead>, Received), Broken> {
        let request = asked.take();
        let request = request.ok_or_else(|| Broken::after("it was asked before"))?;
        let method = request.method().clone();
        // What is written with one call may be late.
        if request.body().len() <= COPIED && outbox::next_is_late() {
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let sending = Sending::begin(self, request, waker);
            self = poll_fn(|cx| sending.poll(cx, asked)).await?;
        } else {
            let sent = poll_fn(|cx| {
                // As who is late asks: one that was just opened was not looked at yet.
                if let Poll::Ready(broken) = self.poll_unasked(cx) {
                    return Poll::Ready(Err(broken));
                }
                Poll::Ready(self.send(cx, &request))
            });
            let sent = sent.await;
            if let Err(broken) = sent {
                *asked = Some(request);
                return Err(broken);
            }
            drop(request);
        }
        let begun = poll_fn(|cx| self.poll_head(cx).map_err(Broken::after));
        match begun.await? {
            Some((head, framed)) => Ok((head, Received::new(self, framed, lease))),
            // Boxed, as it is seldom: otherwise the future of every request had room for it.
            None => Box::pin(self.ask_library(method)).await,
        }
    }

    /// Ready when the other end closes or speaks before it was asked anything.
    pub(super) fn poll_unasked(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        let why = match ready!(self.wire.poll_fill(cx)) {
            Ok(0) => "it closed before it was asked".to_owned(),
            // Not counted against its server, which may say so that it takes no more connections.
            Ok(_) => "it spoke before it was asked".to_owned(),
            Err(error) => error.to_string(),
        };
        Poll::Ready(Broken {
            is_unsent: true,
            why,
        })
    }

    /// Writes as much of a request as there is room for.
    pub(super) fn send(
        &mut self,
        cx: &mut Context<'_>,
        request: &Request<RequestBody>,
    ) -> Result<(), Broken> {
        let body = request.body();
        (self.is_sent, self.looked_at) = (false, 0);
        let small = body.len() <= COPIED;
        if !small {
            self.body = body.clone();
        }
        let written = self.wire.write(cx, |out| {
            let head = (request.method(), request.uri(), request.headers());
            head::request(head, body.len(), out);
            if small {
                body.pieces().for_each(|piece| out.extend_from_slice(piece));
            }
            // Of a large one what comes before its first large piece.
            let most = out.len() + COPIED;
            while !self.body.is_empty() && out.len() + self.body.chunk().len() <= most {
                let piece = self.body.chunk();
                out.extend_from_slice(piece);
                self.body.advance(piece.len());
            }
        });
        // Nothing was: what is written in part is no error yet.
        written.map_err(|why| Broken {
            is_unsent: true,
            why: why.to_string(),
        })
    }

    /// Writes on. What goes wrong shows when the answer is read: it may have come already, and say why.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.wire.poll_written(cx))?;
            if self.body.is_empty() {
                self.is_sent = true;
                return Poll::Ready(Ok(()));
            }
            let written =
                ready!(Pin::new(&mut self.wire.stream).poll_write(cx, self.body.chunk()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.body.advance(written);
        }
    }

    /// Whether everything was written.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// The head of the answer; none if it is one for the HTTP library.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Said>>> {
        let sent = self.poll_sent(cx);
        loop {
            if self.may_be_whole() {
                match answer::next(&mut self.wire.unread, &mut self.last) {
                    Next::Answer(head, framed) => return Poll::Ready(Ok(Some((head, framed)))),
                    Next::Unusual => return Poll::Ready(Ok(None)),
                    Next::Part => {}
                }
            }
            if self.wire.unread.len() > HEAD_MAX {
                let why = "the head of its answer is too large";
                return Poll::Ready(Err(io::Error::other(why)));
            }
            if ready!(self.wire.poll_fill(cx))? == 0 {
                let why = match sent {
                    Poll::Ready(Err(error)) => error,
                    _ => io::Error::other("connection closed before message completed"),
                };
                return Poll::Ready(Err(why));
            }
        }
    }

    /// Whether there may be a whole head by now. Not with every byte: who sends them one by one would have
    /// all of them read again for each.
    fn may_be_whole(&mut self) -> bool {
        let unread = &self.wire.unread;
        let from = self.looked_at.saturating_sub(3);
        let is_first = self.looked_at == 0;
        self.looked_at = unread.len();
        let end = |end: &[u8]| memchr::memmem::find(&unread[from..], end).is_some();
        !unread.is_empty() && (is_first || end(b"\n\r\n") || end(b"\n\n"))
    }

    /// Has the HTTP library read the answer to a request that was written. It is the last on its connection.
    async fn ask_library(
        self: Box<Self>,
        method: Method,
    ) -> Result<(Arc<AnswerHead>, Received), Broken> {
        let Self { wire, body, .. } = *self;
        let stream = TokioIo::new(replay::Asked::new(wire, body));
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_MAX)
            .handshake(stream)
            .await
            .map_err(Broken::after)?;
        // What goes wrong reaches whoever waits for the answer.
        tokio::spawn(connection);
        // What it would write is written already; how the answer ends, the method may say.
        let mut request = Request::new(RequestBody::default());
        *request.method_mut() = method;
        let answered: hyper::Result<Response<Incoming>> = sender.send_request(request).await;
        let (head, body) = answered.map_err(Broken::after)?.into_parts();
        Ok((Arc::new(head.into()), Received::library(body)))
    }
}

/// Calls one of the methods of whichever stream it is.
macro_rules! on {
    ($this:expr, $method:ident $(, $argument:expr)*) => {
        match $this.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Unix(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on!(self, poll_read, cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        on!(self, poll_write, cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, poll_shutdown, cx)
    }
}
