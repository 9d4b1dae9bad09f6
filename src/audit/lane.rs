//! From those who record to one sink: a queue that nobody waits for, and what is known of the sink.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::line::Head;
use super::queue::{Refused, Sender, queue};
use super::record::Record;
use super::sinks::Sink;
use super::writer::{Origin, Writer};
use crate::vault::WriterId;

/// How often a sink that fails is tried again, and how long anybody waits for one.
pub(super) const WAIT: Duration = Duration::from_millis(250);

/// Told when a record was taken; dropped when it was not.
pub(super) type Told = oneshot::Sender<()>;

/// A record as its sink has it. Cheap to move.
pub(super) struct Noted {
    pub(super) at: SystemTime,
    /// By [`super::members::put_down`].
    pub(super) packed: Bytes,
}

impl From<&Record> for Noted {
    fn from(record: &Record) -> Self {
        Self {
            at: record.at,
            packed: Bytes::copy_from_slice(&record.packed),
        }
    }
}

pub(super) enum Message {
    Event(Noted, Option<Told>),
    /// The store knows of the chain of a writer up to a record.
    Anchored(WriterId, u64),
    Close(Told),
}

impl Message {
    /// Whether somebody waits until it was taken.
    pub(super) fn is_waited_for(&self) -> bool {
        matches!(self, Self::Event(_, Some(_)) | Self::Close(_))
    }

    /// Bytes it occupies, about.
    pub(super) fn weight(&self) -> usize {
        let beyond = match self {
            Self::Event(noted, _) => noted.packed.len(),
            Self::Anchored(..) | Self::Close(_) => 0,
        };
        size_of::<Self>() + beyond
    }
}

/// How far a chain goes.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    pub(super) writer: WriterId,
    pub(super) head: Head,
    /// Records of it but those of anchors.
    pub(super) records: u64,
    pub(super) ended: bool,
}

/// What a lane's writer and those who record know of each other.
pub(super) struct Shared {
    pub(super) written: AtomicU64,
    pub(super) lost: AtomicU64,
    /// Those of the lost that the chain does not tell of yet.
    pub(super) untold: AtomicU64,
    failing: AtomicBool,
    try_again: Mutex<Instant>,
    standing: Mutex<Option<Standing>>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            untold: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            try_again: Mutex::new(Instant::now()),
            standing: Mutex::new(None),
        }
    }

    pub(super) fn lose(&self, events: u64) {
        self.lost.fetch_add(events, Ordering::Relaxed);
        self.untold.fetch_add(events, Ordering::Relaxed);
    }

    /// Notes that the sink fails, or is too slow.
    pub(super) fn fail(&self) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            *locked(&self.try_again) = Instant::now() + WAIT;
        }
    }

    pub(super) fn recover(&self) {
        self.failing.store(false, Ordering::Relaxed);
    }

    /// Whether it is worth waiting for the sink; of those who ask while it fails, for one every so often.
    fn admits(&self) -> bool {
        if !self.failing.load(Ordering::Relaxed) {
            return true;
        }
        let (now, mut try_again) = (Instant::now(), locked(&self.try_again));
        let admits = now >= *try_again;
        if admits {
            *try_again = now + WAIT;
        }
        admits
    }

    pub(super) fn stand(&self, standing: Standing) {
        *locked(&self.standing) = Some(standing);
    }
}

/// One sink, its queue and its thread.
pub(super) struct Lane {
    /// Which sink: `file`, `stdout`, `stderr` or `stream`.
    pub(super) sink: &'static str,
    /// The file, as a full path, if it is one.
    pub(super) file: Option<String>,
    queue: Sender,
    shared: Arc<Shared>,
    /// How much of which chain the store knows.
    anchored: Mutex<Option<(WriterId, u64)>>,
}

impl Lane {
    /// Starts a thread for `sink`. The receiver is told whether the first record was taken.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(
        origin: Origin,
        sink: Box<dyn Sink>,
    ) -> std::io::Result<(Self, oneshot::Receiver<Result<(), String>>)> {
        let (queue, messages) = queue();
        let shared = Arc::new(Shared::new());
        let lane = Self {
            sink: origin.sink,
            file: origin.file.clone(),
            queue,
            shared: shared.clone(),
            anchored: Mutex::new(None),
        };
        let writer = Writer::new(origin, sink, shared);
        let (tell, told) = oneshot::channel();
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(messages, tell))?;
        Ok((lane, told))
    }

    pub(super) fn note(&self, record: &Record) {
        if self.queue.note_or_help(record).is_err() {
            self.shared.lose(1);
        }
    }

    pub(super) fn admits(&self) -> bool {
        self.shared.admits()
    }

    /// The receiver is told when the record was taken. `None` when there is no room.
    pub(super) fn record(&self, record: &Record) -> Option<oneshot::Receiver<()>> {
        let (tell, told) = oneshot::channel();
        let put = self.queue.put(Message::Event(record.into(), Some(tell)));
        put.ok().map(|()| told)
    }

    /// Notes that somebody waited in vain.
    pub(super) fn is_late(&self) {
        self.shared.fail();
    }

    /// Has the chain closed; the receiver is told when it is. `None` when there is no room, or nobody.
    pub(super) async fn close(&self) -> Option<oneshot::Receiver<()>> {
        let (tell, told) = oneshot::channel();
        let mut message = Message::Close(tell);
        loop {
            match self.queue.put(message) {
                Ok(()) => return Some(told),
                Err(Refused::Over) => return None,
                Err(Refused::Full(same)) => message = same,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How far the chain goes, if that is more than the store knows.
    pub(super) fn to_anchor(&self) -> Option<Standing> {
        let standing = (*locked(&self.shared.standing))?;
        let known = *locked(&self.anchored);
        (known != Some((standing.writer, standing.records))).then_some(standing)
    }

    /// The store knows of `standing` now.
    pub(super) fn anchored(&self, standing: &Standing) {
        *locked(&self.anchored) = Some((standing.writer, standing.records));
        if !standing.ended {
            // Where there is no room the next anchor tells of this one too.
            let message = Message::Anchored(standing.writer, standing.head.seq);
            let _ = self.queue.put(message);
        }
    }

    pub(super) fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    pub(super) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed)
    }
}

/// What is behind these locks is whole between any two statements.
pub(super) fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
