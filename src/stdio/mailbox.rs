//! What a child said, until its clients have read it.
//!
//! Each request's answer is a stream of its own, and stream 0 carries what belongs to none. A reader
//! that is there is waited for; what nobody reads is kept within narrow bounds for who comes back
//! (MCP 2025-11-25, basic/transports "Resumability and Redelivery"), the oldest forgotten first.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::Notify;

/// Events kept for who may come back.
const KEPT: usize = 64;
/// Their bytes.
const KEPT_BYTES: usize = 256 * 1024;
/// Bytes that may wait for readers that are there, before the child is read no further.
const WAITING: usize = 1024 * 1024;
/// Events likewise.
const WAITING_EVENTS: usize = 256;

/// The stream that belongs to no request.
pub(super) const LOOSE: u32 = 0;

/// What a child said to one session, or to one user.
pub(super) struct Mailbox {
    state: Mutex<State>,
    /// Something was read, or its reader left.
    room: Notify,
    front: Front,
    /// How many questions of children were put here.
    questions: AtomicU64,
}

/// How clients speak to what a mailbox is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// By Streamable HTTP, in a session: what nobody reads is kept.
    Streamable,
    /// By HTTP+SSE (MCP 2024-11-05): everything goes into one stream.
    Sse,
    /// Without a session (MCP 2026-07-28): only requests are answered.
    Modern,
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    bytes: usize,
    streams: HashMap<u32, Stream>,
    /// The last number that was given to a stream.
    last: u32,
    /// The last number that was given to a reader.
    readers: u64,
}

struct Event {
    stream: u32,
    number: u32,
    message: Bytes,
    is_read: bool,
}

#[derive(Default)]
struct Stream {
    /// The number of its last event.
    last: u32,
    /// The answers that are still to come; with the last of them it ends.
    owed: usize,
    ended: bool,
    reader: Option<Reading>,
}

struct Reading {
    /// Which reader; another one may take its place.
    id: u64,
    waker: Option<Waker>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// Somebody will read it, or may.
    Taken,
    /// Likewise, and so much waits that no more should be put before something is read.
    Full,
    /// Nobody will ever read it.
    Lost,
}

/// An event, as it is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// Its number within its stream.
    pub(super) number: u32,
    /// The message.
    pub(super) message: Bytes,
    /// Whether the stream ends with it.
    pub(super) is_last: bool,
}

/// Reads one stream.
pub(super) struct Reader {
    mailbox: Arc<Mailbox>,
    stream: u32,
    id: u64,
    /// The number after which it goes on.
    after: u32,
}

impl Mailbox {
    /// An empty one.
    pub(super) fn new(front: Front) -> Arc<Self> {
        let mut state = State::default();
        state.streams.insert(LOOSE, Stream::default());
        Arc::new(Self {
            state: Mutex::new(state),
            room: Notify::new(),
            front,
            questions: AtomicU64::new(0),
        })
    }

    /// A number for a question, that none had before, whichever child asked.
    pub(super) fn number_question(&self) -> u64 {
        self.questions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Opens a stream for so many answers, after which it ends.
    pub(super) fn open(self: &Arc<Self>, owed: usize) -> Reader {
        let mut state = self.lock();
        state.last += 1;
        let stream = state.last;
        let opened = Stream {
            owed,
            ..Stream::default()
        };
        state.streams.insert(stream, opened);
        self.attach(&mut state, stream, 0)
    }

    /// Reads what belongs to no request, in place of whoever does so now.
    pub(super) fn listen(self: &Arc<Self>) -> Reader {
        let mut state = self.lock();
        let unread = |event: &&Event| event.stream == LOOSE && !event.is_read;
        let first = state.events.iter().find(unread).map(|event| event.number);
        let last = state.streams.get(&LOOSE).map_or(0, |stream| stream.last);
        self.attach(&mut state, LOOSE, first.map_or(last, |number| number - 1))
    }

    /// Reads on in `stream` after its event `after`; none if nothing is known of it any more.
    pub(super) fn resume(self: &Arc<Self>, stream: u32, after: u32) -> Option<Reader> {
        let mut state = self.lock();
        let known = state.streams.get(&stream)?;
        (after <= known.last).then(|| self.attach(&mut state, stream, after))
    }

    fn attach(self: &Arc<Self>, state: &mut State, stream: u32, after: u32) -> Reader {
        state.readers += 1;
        let id = state.readers;
        let before = state.streams.entry(stream).or_default();
        let before = before.reader.replace(Reading { id, waker: None });
        // It finds that another one reads, and ends.
        if let Some(waker) = before.and_then(|reading| reading.waker) {
            waker.wake();
        }
        Reader {
            mailbox: self.clone(),
            stream,
            id,
            after,
        }
    }

    /// How its clients speak.
    pub(super) fn front(&self) -> Front {
        self.front
    }

    fn keeps(&self) -> bool {
        self.front == Front::Streamable
    }

    /// Whether somebody reads `stream`.
    pub(super) fn is_read(&self, stream: u32) -> bool {
        let state = self.lock();
        let found = state.streams.get(&stream);
        found.is_some_and(|stream| stream.reader.is_some())
    }

    /// Puts a message into `stream`: one of the answers it is for, or what comes before.
    pub(super) fn put(&self, stream: u32, message: Bytes, is_answer: bool) -> Put {
        let mut state = self.lock();
        let Some(into) = state.streams.get_mut(&stream) else {
            return Put::Lost;
        };
        if into.ended || (into.reader.is_none() && !self.keeps()) {
            return Put::Lost;
        }
        into.last += 1;
        if is_answer && stream != LOOSE {
            into.owed = into.owed.saturating_sub(1);
            into.ended = into.owed == 0;
        }
        let (number, waker) = (into.last, into.reader.as_mut().and_then(|r| r.waker.take()));
        state.bytes += message.len();
        state.events.push_back(Event {
            stream,
            number,
            message,
            is_read: false,
        });
        state.forget(self.keeps());
        let newest = state.events.back();
        let is_kept = newest.is_some_and(|e| (e.stream, e.number) == (stream, number));
        let is_full = state.is_full();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        match (is_kept, is_full) {
            (false, _) => Put::Lost,
            (true, true) => Put::Full,
            (true, false) => Put::Taken,
        }
    }

    /// Ends `stream` without a further message.
    pub(super) fn end(&self, stream: u32) {
        let mut state = self.lock();
        let ended = state.streams.get_mut(&stream).and_then(|stream| {
            stream.ended = true;
            stream.reader.as_mut()?.waker.take()
        });
        drop(state);
        if let Some(waker) = ended {
            waker.wake();
        }
    }

    /// Resolves when more may be put.
    pub(super) async fn room(&self) {
        loop {
            let notified = self.room.notified();
            if !self.lock().is_full() {
                return;
            }
            notified.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.events.len() > WAITING_EVENTS || self.bytes > WAITING
    }

    /// Forgets the oldest of what nobody waits for, down to what is kept; all of it unless it `keeps`.
    fn forget(&mut self, keeps: bool) {
        let (most, most_bytes) = if keeps { (KEPT, KEPT_BYTES) } else { (0, 0) };
        let mut at = 0;
        while self.events.len() > most || self.bytes > most_bytes {
            let Some(event) = self.events.get(at) else {
                break;
            };
            let stream = self.streams.get(&event.stream);
            let is_awaited = !event.is_read && stream.is_some_and(|s| s.reader.is_some());
            if is_awaited {
                at += 1;
                continue;
            }
            let stream = event.stream;
            self.bytes -= event.message.len();
            self.events.remove(at);
            self.close(stream);
        }
    }

    /// Forgets a stream that ended and of which nothing is left.
    fn close(&mut self, stream: u32) {
        let left = self.events.iter().any(|event| event.stream == stream);
        let over = |s: &Stream| s.ended && s.reader.is_none();
        if !left && stream != LOOSE && self.streams.get(&stream).is_some_and(over) {
            self.streams.remove(&stream);
        }
    }
}

impl Reader {
    /// The stream it reads.
    pub(super) fn stream(&self) -> u32 {
        self.stream
    }

    /// Nobody comes back for what was read: no event's id was told.
    pub(super) fn forget(self) {
        let mut state = self.mailbox.lock();
        let State { events, bytes, .. } = &mut *state;
        events.retain(|event| {
            let stays = event.stream != self.stream;
            *bytes -= if stays { 0 } else { event.message.len() };
            stays
        });
    }

    /// The next event; none when the stream has ended, or somebody else reads it.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Read>> {
        let mut state = self.mailbox.lock();
        let (stream, after) = (self.stream, self.after);
        let Some(reading) = state.streams.get_mut(&stream) else {
            return Poll::Ready(None);
        };
        let (ended, last) = (reading.ended, reading.last);
        let own = reading.reader.as_mut().filter(|r| r.id == self.id);
        let Some(own) = own else {
            return Poll::Ready(None);
        };
        own.waker = Some(cx.waker().clone());
        let next = |event: &&mut Event| event.stream == stream && event.number > after;
        let Some(event) = state.events.iter_mut().find(next) else {
            return if ended {
                Poll::Ready(None)
            } else {
                Poll::Pending
            };
        };
        event.is_read = true;
        self.after = event.number;
        let read = Read {
            number: event.number,
            message: event.message.clone(),
            is_last: ended && event.number == last,
        };
        state.forget(self.mailbox.keeps());
        drop(state);
        self.mailbox.room.notify_waiters();
        Poll::Ready(Some(read))
    }

    /// The next event; none when the stream has ended, or somebody else reads it.
    pub(super) async fn next(&mut self) -> Option<Read> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.mailbox.lock();
        if let Some(stream) = state.streams.get_mut(&self.stream)
            && stream.reader.as_ref().is_some_and(|r| r.id == self.id)
        {
            stream.reader = None;
            // Where nothing is kept nobody comes back.
            stream.ended |= !self.mailbox.keeps() && self.stream != LOOSE;
        }
        state.forget(self.mailbox.keeps());
        state.close(self.stream);
        drop(state);
        self.mailbox.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn read(reader: &mut Reader) -> Option<Option<(u32, Bytes, bool)>> {
        let next = reader.next().now_or_never()?;
        Some(next.map(|read| (read.number, read.message, read.is_last)))
    }

    #[test]
    fn streams_are_read_each_by_its_own_reader() {
        let mailbox = Mailbox::new(Front::Streamable);
        let (mut a, mut b) = (mailbox.open(2), mailbox.open(1));
        assert_eq!(read(&mut a), None);
        assert_eq!(mailbox.put(a.stream(), "1".into(), false), Put::Taken);
        assert_eq!(mailbox.put(b.stream(), "2".into(), true), Put::Taken);
        assert_eq!(mailbox.put(b.stream(), "3".into(), false), Put::Lost);
        assert_eq!(read(&mut a), Some(Some((1, "1".into(), false))));
        assert_eq!(read(&mut a), None);
        assert_eq!(read(&mut b), Some(Some((1, "2".into(), true))));
        assert_eq!(read(&mut b), Some(None));
        mailbox.end(a.stream());
        assert_eq!(read(&mut a), Some(None));
    }

    // Mutation: keep what was forgotten.
    #[test]
    fn nothing_is_kept_of_an_answer_nobody_can_come_back_for() {
        let mailbox = Mailbox::new(Front::Streamable);
        let mut reader = mailbox.open(1);
        let stream = reader.stream();
        mailbox.put(stream, "1".into(), true);
        assert!(read(&mut reader).unwrap().is_some());
        reader.forget();
        assert!(mailbox.resume(stream, 0).is_none());
        let state = mailbox.lock();
        assert!(state.events.is_empty() && state.bytes == 0 && state.streams.len() == 1);
    }

    #[test]
    fn who_comes_back_reads_on_where_it_stopped() {
        let mailbox = Mailbox::new(Front::Streamable);
        let mut first = mailbox.open(1);
        let stream = first.stream();
        mailbox.put(stream, "1".into(), false);
        assert!(read(&mut first).unwrap().is_some());
        drop(first);
        mailbox.put(stream, "2".into(), false);
        mailbox.put(stream, "3".into(), true);
        let mut again = mailbox.resume(stream, 1).unwrap();
        assert_eq!(read(&mut again), Some(Some((2, "2".into(), false))));
        // A second reader takes the place of the first.
        let mut third = mailbox.resume(stream, 1).unwrap();
        assert_eq!(read(&mut again), Some(None));
        assert_eq!(read(&mut third), Some(Some((2, "2".into(), false))));
        assert_eq!(read(&mut third), Some(Some((3, "3".into(), true))));
        assert!(mailbox.resume(stream, 4).is_none() && mailbox.resume(99, 0).is_none());
    }

    #[test]
    fn what_belongs_to_no_request_waits_for_its_listener() {
        let mailbox = Mailbox::new(Front::Streamable);
        mailbox.put(LOOSE, "1".into(), false);
        let mut listener = mailbox.listen();
        assert_eq!(read(&mut listener), Some(Some((1, "1".into(), false))));
        drop(listener);
        mailbox.put(LOOSE, "2".into(), false);
        let mut listener = mailbox.listen();
        assert_eq!(read(&mut listener), Some(Some((2, "2".into(), false))));
    }

    // Mutation: never forget.
    #[test]
    fn what_nobody_reads_is_bounded_and_the_newest_is_kept() {
        let mailbox = Mailbox::new(Front::Streamable);
        for number in 0..1000 {
            mailbox.put(LOOSE, number.to_string().into(), false);
        }
        assert_eq!(mailbox.lock().events.len(), KEPT);
        let mut listener = mailbox.listen();
        let (number, message, _) = read(&mut listener).unwrap().unwrap();
        assert_eq!((number, &message[..]), (937, &b"936"[..]));
        drop(listener);
        let large = Bytes::from(vec![b'x'; KEPT_BYTES + 1]);
        assert_eq!(mailbox.put(LOOSE, large, false), Put::Lost);
        assert!(mailbox.lock().bytes <= KEPT_BYTES);
    }

    #[test]
    fn a_reader_that_is_there_is_waited_for() {
        let mailbox = Mailbox::new(Front::Modern);
        let mut reader = mailbox.open(1);
        let large = Bytes::from(vec![b'x'; WAITING]);
        assert_eq!(mailbox.put(reader.stream(), large, false), Put::Taken);
        assert_eq!(mailbox.put(reader.stream(), "x".into(), false), Put::Full);
        assert!(mailbox.room().now_or_never().is_none());
        assert!(read(&mut reader).unwrap().is_some());
        assert!(mailbox.room().now_or_never().is_some());
        let stream = reader.stream();
        drop(reader);
        assert_eq!(mailbox.put(stream, "x".into(), false), Put::Lost);
        let state = mailbox.lock();
        assert!(state.events.is_empty() && state.bytes == 0 && state.streams.len() == 1);
    }
}
