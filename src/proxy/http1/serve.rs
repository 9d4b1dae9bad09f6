//! A client's connection: one request after the other, each answered before the next is looked at.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{Response, response};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::consume_budget;
use tokio::task::yield_now;

use super::body::{Coming, Sent, Shared};
use super::head::{self, COPIED, Framing};
use super::last::Last;
use super::replay::Prefixed;
use super::request::{Framed, Next, Said, next, put_back};
use super::wire::Wire;
use crate::layer::{BoxError, Head, in_place};

/// Bytes of an answer that are written at once, about.
const AT_ONCE: usize = 64 * 1024;

/// Turns after which nothing of a connection is late any more.
const TURNS: usize = 3;

/// Answers the requests of a connection.
pub(in crate::proxy) trait Answer {
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error = BoxError>;

    /// Answers one. Its head may be shared with another that said the same; what says how long its body is
    /// need not be in it.
    fn answer<B: Body<Data: Send> + Send + 'static>(
        &self,
        head: Arc<Head>,
        body: B,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// How serving a connection ended.
pub(in crate::proxy) enum Served<S> {
    /// With the connection.
    Done,
    /// With a request that the HTTP library is to read, and all requests after it.
    Unusual(Box<Prefixed<S>>),
}

/// Serves a connection until it ends; once `leaving` is set, only until it is idle.
///
/// # Errors
/// It broke, or an answer did.
pub(in crate::proxy) async fn serve<S, A>(
    wire: Shared<S>,
    answer: &A,
    leaving: &AtomicBool,
) -> Result<Served<S>, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Answer,
{
    let (mut requests, mut last) = (0_u64, Last::default());
    loop {
        // Answers that are late use none of a turn's budget, and many requests may have come at once.
        consume_budget().await;
        // Who has not sent a first request yet is given the time to.
        let may_leave = || requests > 0 && leaving.load(Ordering::Relaxed);
        let coming = poll_fn(|cx| poll_next(&mut wire.lock(), cx, &mut last, &may_leave));
        let (head, framed, read) = match coming.await? {
            Some(Next::Request(head, framed, read)) => (head, framed, read),
            Some(Next::Part | Next::Unusual) => {
                // What is late has the connection until the end of the turn, or of the next when another
                // thread wakes this task out of turn.
                for _ in 0..TURNS {
                    yield_now().await;
                    if wire.is_alone() {
                        break;
                    }
                }
                poll_fn(|cx| wire.lock().poll_written(cx)).await?;
                let wire = wire.into_wire().ok_or("a body outlived its request")?;
                return Ok(Served::Unusual(Box::new(wire.into_unwritten().0)));
            }
            None => break,
        };
        requests += 1;
        // A pointer, as the head is: of those alone the compiler makes the future in its box.
        let body = Box::new(body(&wire, framed.length, read));
        // Boxed, both: what an idle connection keeps, and a stream for as long as it lives, is to be small.
        let answered = {
            let mut answered = in_place(|| answer.answer(head, body));
            let answered = while_there(&wire, answered.as_mut()).await;
            answered.map(|response| response.map(Box::pin))
        };
        let Some(response) = answered else {
            return Ok(Served::Done);
        };
        if !pass_on(&wire, response, framed, leaving).await? {
            break;
        }
    }
    poll_fn(|cx| wire.lock().poll_written(cx)).await?;
    poll_fn(|cx| Pin::new(&mut wire.lock().stream).poll_shutdown(cx)).await?;
    Ok(Served::Done)
}

/// The next request, once all answers are written or late; none at the end of the connection, or when it is to be left.
fn poll_next<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    cx: &mut Context<'_>,
    last: &mut Last<Said>,
    may_leave: &impl Fn() -> bool,
) -> Poll<io::Result<Option<Next>>> {
    ready!(wire.poll_room(cx))?;
    loop {
        if !wire.unread.is_empty() {
            match next(&mut wire.unread, last) {
                Next::Part => {}
                next => return Poll::Ready(Ok(Some(next))),
            }
        } else if may_leave() {
            return Poll::Ready(Ok(None));
        }
        match wire.poll_fill(cx) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Ok(None)),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// The body of a request whose head was just taken, behind which this was read.
fn body<S>(shared: &Shared<S>, length: u64, mut read: Bytes) -> Sent<S> {
    let mut wire = shared.lock();
    let whole = match usize::try_from(length) {
        Ok(length) if length <= read.len() => Some(read.split_to(length)),
        _ => None,
    };
    put_back(&mut wire.unread, read);
    match whole {
        Some(whole) => Sent::Whole(whole),
        None => {
            wire.body_left = length;
            Sent::Coming(Coming(shared.clone()))
        }
    }
}

/// Waits for something, as long as the client does too.
async fn while_there<S: AsyncRead + AsyncWrite + Unpin, T>(
    wire: &Shared<S>,
    mut something: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    poll_fn(|cx| {
        if let Poll::Ready(done) = something.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        let mut wire = wire.lock();
        // An answer before this one may have found no room when it was written late.
        match wire.poll_room(cx) {
            Poll::Ready(Ok(())) => poll_left(&mut wire, cx).map(|()| None),
            Poll::Ready(Err(_)) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Ready when the client has gone.
fn poll_left<S: AsyncRead + Unpin>(wire: &mut Wire<S>, cx: &mut Context<'_>) -> Poll<()> {
    if wire.body_left > 0 {
        // Whoever wants the body sees it end.
        return Poll::Pending;
    }
    wire.poll_gone(cx)
}

/// Passes an answer on as it comes; `false` when it was the last on its connection.
async fn pass_on<S, B>(
    wire: &Shared<S>,
    response: Response<Pin<Box<B>>>,
    framed: Framed,
    leaving: &AtomicBool,
) -> Result<bool, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data = Bytes, Error = BoxError>,
{
    let (head, mut body) = response.into_parts();
    poll_fn(|cx| {
        wire.lock().skip_body(cx);
        Poll::Ready(())
    })
    .await;
    let is_last = framed.is_last
        || leaving.load(Ordering::Relaxed)
        || head.headers.contains_key(CONNECTION)
        || wire.lock().body_left > 0;
    let mut pieces = Pieces::default();
    let begun = poll_fn(|cx| {
        let ended = pieces.poll_gather(body.as_mut(), cx);
        Poll::Ready(begin(wire, cx, (&head, is_last), &mut pieces, &ended).map(|()| ended))
    });
    let mut ended = begun.await?;
    if Framing::of(head.status, None) == Framing::Never {
        ended = Poll::Ready(None);
    }
    drop(head);
    loop {
        if let Poll::Ready(Some(error)) = ended {
            return Err(error);
        }
        if ended.is_ready() {
            drop(body);
            if is_last {
                poll_fn(|cx| wire.lock().poll_written(cx)).await?;
            }
            return Ok(!is_last);
        }
        poll_fn(|cx| wire.lock().poll_written(cx)).await?;
        let more = poll_fn(|cx| {
            let ended = pieces.poll_gather(body.as_mut(), cx);
            if ended.is_pending() && pieces.bytes == 0 {
                return Poll::Pending;
            }
            let wakes_us = ended.is_pending() && pieces.bytes < AT_ONCE;
            let mut wire = wire.lock();
            go_on(&mut wire, cx, &mut pieces, &ended)?;
            // Who waits for the body and has written all of it need not ask the body again.
            if wakes_us && wire.poll_written(cx)?.is_ready() {
                return Poll::Pending;
            }
            Poll::Ready(io::Result::Ok(ended))
        });
        let more = while_there(wire, pin!(more)).await;
        ended = more.ok_or("the client has gone")??;
    }
}

/// Whether an answer was read to its end, and what broke it off if it was not.
type Ended = Poll<Option<BoxError>>;

/// Writes the head of an answer and what there is of its body.
fn begin<S: AsyncWrite + Unpin + Send + 'static>(
    wire: &Shared<S>,
    cx: &mut Context<'_>,
    (head, is_last): (&response::Parts, bool),
    pieces: &mut Pieces,
    ended: &Ended,
) -> io::Result<()> {
    let is_whole = matches!(ended, Poll::Ready(None));
    let framing = Framing::of(head.status, is_whole.then_some(pieces.bytes));
    let small = pieces.bytes <= COPIED;
    let put = |out: &mut Vec<u8>| {
        head::answer(head, framing, is_last, out);
        match framing {
            Framing::Never => {}
            Framing::Chunked => head::chunk(&pieces.list, false, out),
            Framing::Length(_) if small => pieces
                .list
                .iter()
                .for_each(|piece| out.extend_from_slice(piece)),
            Framing::Length(_) => {}
        }
    };
    if is_whole && small && !is_last {
        wire.write_late(cx, put)?;
    } else {
        wire.lock().write(cx, put)?;
    }
    if matches!(framing, Framing::Length(_)) && !small {
        for piece in &pieces.list {
            wire.lock().write(cx, |out| out.extend_from_slice(piece))?;
        }
    }
    pieces.clear();
    Ok(())
}

/// Writes what came of a body since, and its end.
fn go_on<S: AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    cx: &mut Context<'_>,
    pieces: &mut Pieces,
    ended: &Ended,
) -> io::Result<()> {
    let is_whole = matches!(ended, Poll::Ready(None));
    wire.write(cx, |out| head::chunk(&pieces.list, is_whole, out))?;
    pieces.clear();
    Ok(())
}

/// What came of a body and was not written yet.
#[derive(Default)]
struct Pieces {
    list: Vec<Bytes>,
    bytes: usize,
}

impl Pieces {
    /// Takes what is there, as far as it is written at once; ready at the end of the body.
    fn poll_gather<B>(&mut self, mut body: Pin<&mut B>, cx: &mut Context<'_>) -> Ended
    where
        B: Body<Data = Bytes, Error = BoxError>,
    {
        while self.bytes < AT_ONCE {
            match body.as_mut().poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(error)),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.bytes += data.len();
                        self.list.push(data);
                    }
                }
            }
        }
        // Nobody waits for more before this is written.
        Poll::Pending
    }

    fn clear(&mut self) {
        self.list.clear();
        self.bytes = 0;
    }
}
