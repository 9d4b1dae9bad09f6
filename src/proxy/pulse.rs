//! What the client of one connection of HTTP/2 does, and when it did it last: it begins, asks, and takes
//! its answers. Flow control would let it leave an answer untaken for ever.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep, sleep_until};

use super::strict::Settings;

/// The preface and the head of the SETTINGS that must follow.
const GREETED: usize = 24 + 9;
/// The largest piece of an answer that is handed out at once: a slow client is seen to take each.
const PIECE: usize = 16 * 1024;

/// What a client did last.
pub(super) struct Pulse {
    settings: Settings,
    /// Bytes read, until they are enough for a greeting.
    heard: AtomicUsize,
    requests: Mutex<Requests>,
}

struct Requests {
    next: u64,
    /// Since when the client is to take the last piece of an answer, if there is one.
    open: HashMap<u64, Option<Instant>>,
    /// When the last one ended.
    ended: Instant,
}

/// What a client has not done in time.
#[derive(Debug, PartialEq)]
pub(super) enum Late {
    /// It has not begun.
    Greeting,
    /// It asks for nothing.
    Request,
    /// It does not take an answer.
    Taking,
}

impl Pulse {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            heard: AtomicUsize::new(0),
            requests: Mutex::new(Requests {
                next: 0,
                open: HashMap::new(),
                ended: Instant::now(),
            }),
        })
    }

    /// So many bytes came.
    pub(super) fn heard(&self, bytes: usize) {
        if self.heard.load(Ordering::Relaxed) < GREETED {
            self.heard.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Whether no request is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.lock().open.is_empty()
    }

    /// Returns once the client is late.
    pub(super) async fn late(&self) -> Late {
        sleep(self.settings.read_timeout).await;
        if self.heard.load(Ordering::Relaxed) < GREETED {
            return Late::Greeting;
        }
        loop {
            match self.look() {
                Ok(later) => sleep_until(later).await,
                Err(late) => return late,
            }
        }
    }

    /// Whether the client is late now; else when it is to be looked at again. What it begins meanwhile is
    /// due later than that.
    pub(super) fn look(&self) -> Result<Instant, Late> {
        let now = Instant::now();
        let requests = self.lock();
        let (since, late) = if requests.open.is_empty() {
            (requests.ended, Late::Request)
        } else {
            let waiting = requests.open.values().flatten().min();
            (waiting.copied().unwrap_or(now), Late::Taking)
        };
        let until = since + self.settings.idle_timeout;
        if now < until { Ok(until) } else { Err(late) }
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request, from its head to the end of its answer.
pub(super) struct Open {
    pulse: Arc<Pulse>,
    number: u64,
}

impl Open {
    pub(super) fn new(pulse: Arc<Pulse>) -> Self {
        let mut requests = pulse.lock();
        let number = requests.next;
        requests.next += 1;
        requests.open.insert(number, None);
        drop(requests);
        Self { pulse, number }
    }

    /// Whether the client is to take something.
    fn waits(&self, for_client: bool) {
        let since = for_client.then(Instant::now);
        self.pulse.lock().open.insert(self.number, since);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut requests = self.pulse.lock();
        requests.open.remove(&self.number);
        requests.ended = Instant::now();
    }
}

pin_project! {
    /// The body of an answer, of which it is known whether the client takes it: the next piece is asked
    /// for only when there was room for the last. One that has nothing to say for now keeps nobody waiting.
    pub(super) struct Taken<B> {
        #[pin]
        body: B,
        rest: Bytes,
        open: Open,
    }
}

impl<B> Taken<B> {
    pub(super) fn new(body: B, open: Open) -> Self {
        open.waits(true);
        let rest = Bytes::new();
        Self { body, rest, open }
    }
}

impl<B: Body<Data = Bytes>> Body for Taken<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let mut polled = if this.rest.is_empty() {
            this.body.poll_frame(cx)
        } else {
            Poll::Ready(Some(Ok(Frame::data(std::mem::take(this.rest)))))
        };
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(data) = frame.data_mut()
            && data.len() > PIECE
        {
            *this.rest = data.split_off(PIECE);
        }
        this.open.waits(polled.is_ready());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}
