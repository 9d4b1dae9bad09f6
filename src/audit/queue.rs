//! What waits for the thread of one sink: many put it in, and that thread takes all there is at once.
//!
//! A call of the kernel costs several times what everything else about a record does, and so does a thread
//! that is woken for each. So nobody who puts a record in makes one, but for the first who finds the thread
//! asleep for want of anything to do, and for who waits until his record was taken. The thread, when nobody
//! waits, lets records gather for [`GATHER`] before it takes them.
//!
//! What records say lies in one piece of memory until then, for the same reason: memory that one thread allocates and another
//! frees takes them both longer than to copy it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::lane::{Message, Noted, locked};
use super::record::Record;

/// Messages that may wait: of 200,000 records a second those of 80 ms. With what a usual request leaves, that
/// is some 6 MiB.
pub(super) const QUEUE: usize = 16_384;
/// Bytes that may wait, about: clients may make records long.
const BYTES: usize = 32 << 20;
/// How long what nobody waits for may lie, so that more is written at once.
const GATHER: Duration = Duration::from_millis(5);
/// Messages for which the thread is not let sleep any longer.
const MANY: usize = QUEUE / 2;
/// Bytes for which room is made before they come, at most.
const ROOM: usize = 1 << 20;

/// Where messages are put.
pub(super) struct Sender(Arc<Queue>);

/// Where they are taken.
pub(super) struct Receiver {
    queue: Arc<Queue>,
    /// Room for what is put in while the rest is taken.
    spare: Vec<Put>,
    /// Bytes of what they say that were taken last.
    packed: usize,
}

/// What is put in.
enum Put {
    /// A record that nobody waits for, when it happened, and where what it says ends in `packed`.
    Noted(SystemTime, usize),
    Message(Message),
}

/// A record found no room, or nobody who takes it.
pub(super) struct Lost;

/// Why a message was not put in.
pub(super) enum Refused {
    /// There is no room.
    Full(Message),
    /// Nobody takes any more.
    Over,
}

struct Queue {
    waiting: Mutex<Waiting>,
    woken: Condvar,
}

#[derive(Default)]
struct Waiting {
    put: Vec<Put>,
    /// What those noted say, one after the other.
    packed: Vec<u8>,
    /// Bytes of all.
    bytes: usize,
    /// Whether somebody waits for one of them.
    is_urgent: bool,
    sleep: Sleep,
    /// Whether somebody gave his time to the thread since it last took anything.
    is_helped: bool,
    /// Whether nobody puts any in any more.
    is_left: bool,
    /// Whether nobody takes any more.
    is_over: bool,
}

/// What the thread sleeps for.
#[derive(Default, PartialEq, Eq)]
enum Sleep {
    #[default]
    Awake,
    /// Any message.
    Idle,
    /// One that cannot wait.
    Gathering,
}

/// An empty queue.
pub(super) fn queue() -> (Sender, Receiver) {
    let queue = Arc::new(Queue {
        waiting: Mutex::default(),
        woken: Condvar::new(),
    });
    let receiver = Receiver {
        queue: queue.clone(),
        spare: Vec::new(),
        packed: 0,
    };
    (Sender(queue), receiver)
}

impl Waiting {
    fn is_full(&self) -> bool {
        self.put.len() >= QUEUE || self.bytes >= BYTES
    }

    fn is_pressing(&self) -> bool {
        self.is_urgent || self.is_left || self.put.len() >= MANY
    }

    /// Takes all there is into `put`, which is empty, with what they say, for which `packed` is in its place.
    fn take(&mut self, put: &mut Vec<Put>, packed: Vec<u8>) -> Bytes {
        std::mem::swap(&mut self.put, put);
        (self.bytes, self.is_urgent, self.is_helped) = (0, false, false);
        std::mem::replace(&mut self.packed, packed).into()
    }

    /// Whether the thread sleeps and shall not; it counts as awake from now on.
    fn wakes(&mut self) -> bool {
        let wakes = match self.sleep {
            Sleep::Awake => false,
            Sleep::Idle => true,
            Sleep::Gathering => self.is_pressing(),
        };
        if wakes {
            self.sleep = Sleep::Awake;
        }
        wakes
    }
}

impl Sender {
    /// Puts a message in, without waiting.
    pub(super) fn put(&self, message: Message) -> Result<(), Refused> {
        let mut waiting = locked(&self.0.waiting);
        if waiting.is_over {
            return Err(Refused::Over);
        }
        if waiting.is_full() {
            return Err(Refused::Full(message));
        }
        waiting.bytes += message.weight();
        waiting.is_urgent |= message.is_waited_for();
        waiting.put.push(Put::Message(message));
        self.wake(waiting);
        Ok(())
    }

    /// Puts a copy of a record in that nobody waits for. Where there is no room, the thread gets the core first, if
    /// it did not since it last took anything: it may want nothing else.
    pub(super) fn note_or_help(&self, record: &Record) -> Result<(), Lost> {
        let mut waiting = locked(&self.0.waiting);
        if waiting.is_full() && !waiting.is_over && !waiting.is_helped {
            waiting.is_helped = true;
            drop(waiting);
            std::thread::yield_now();
            waiting = locked(&self.0.waiting);
        }
        if waiting.is_full() || waiting.is_over {
            return Err(Lost);
        }
        waiting.bytes += size_of::<Put>() + record.packed.len();
        waiting.packed.extend_from_slice(&record.packed);
        let end = waiting.packed.len();
        waiting.put.push(Put::Noted(record.at, end));
        self.wake(waiting);
        Ok(())
    }

    fn wake(&self, mut waiting: MutexGuard<'_, Waiting>) {
        let wakes = waiting.wakes();
        drop(waiting);
        if wakes {
            self.0.woken.notify_one();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut waiting = locked(&self.0.waiting);
        waiting.is_left = true;
        self.wake(waiting);
    }
}

impl Receiver {
    /// Takes all there is, each by `take`. While there is nothing it waits, for `patience` at most if that is given.
    /// Says whether there is anybody left who puts messages in.
    pub(super) fn take(&mut self, patience: Option<Duration>, take: impl FnMut(Message)) -> bool {
        let room = Vec::with_capacity(self.packed.min(ROOM));
        let mut waiting = self.queue.wait(patience);
        let packed = waiting.take(&mut self.spare, room);
        let is_left = waiting.is_left;
        drop(waiting);
        self.packed = packed.len();
        let is_any = !self.spare.is_empty();
        messages(&mut self.spare, &packed).for_each(take);
        !is_left || is_any
    }

    /// Takes no more; gives what was not taken.
    pub(super) fn end(mut self) -> Vec<Message> {
        self.over()
    }

    fn over(&mut self) -> Vec<Message> {
        let mut waiting = locked(&self.queue.waiting);
        waiting.is_over = true;
        let packed = waiting.take(&mut self.spare, Vec::new());
        drop(waiting);
        messages(&mut self.spare, &packed).collect()
    }
}

/// What was put in as messages, which share `packed`.
fn messages(put: &mut Vec<Put>, packed: &Bytes) -> impl Iterator<Item = Message> {
    let mut begin = 0;
    put.drain(..).map(move |put| match put {
        Put::Message(message) => message,
        Put::Noted(at, end) => {
            let packed = packed.slice(begin..end);
            begin = end;
            Message::Event(Noted { at, packed }, None)
        }
    })
}

impl Queue {
    /// Waits until there is something to be taken, or nobody left, or for `patience`.
    fn wait(&self, patience: Option<Duration>) -> MutexGuard<'_, Waiting> {
        let mut waiting = locked(&self.waiting);
        loop {
            // First of all, so that under load nobody has to wake this thread.
            waiting = self.sleep(
                waiting,
                Sleep::Gathering,
                Some(GATHER),
                Waiting::is_pressing,
            );
            if !waiting.put.is_empty() || waiting.is_left {
                return waiting;
            }
            let is_any = |waiting: &Waiting| !waiting.put.is_empty() || waiting.is_left;
            waiting = self.sleep(waiting, Sleep::Idle, patience, is_any);
            if !is_any(&waiting) {
                return waiting;
            }
        }
    }

    /// Sleeps until it is `enough`, or for `most`.
    fn sleep<'a>(
        &self,
        mut waiting: MutexGuard<'a, Waiting>,
        how: Sleep,
        most: Option<Duration>,
        enough: impl Fn(&Waiting) -> bool,
    ) -> MutexGuard<'a, Waiting> {
        if enough(&waiting) {
            return waiting;
        }
        waiting.sleep = how;
        let woken = &self.woken;
        let not_yet = |waiting: &mut Waiting| !enough(waiting);
        waiting = match most {
            None => woken
                .wait_while(waiting, not_yet)
                .unwrap_or_else(PoisonError::into_inner),
            Some(most) => {
                let slept = woken.wait_timeout_while(waiting, most, not_yet);
                slept.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        waiting.sleep = Sleep::Awake;
        waiting
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Who waits for one of these is told that nobody takes it.
        drop(self.over());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::sync::oneshot;

    use super::*;
    use crate::vault::WriterId;

    fn message() -> Message {
        Message::Anchored(WriterId::generate(), 0)
    }

    fn taken(receiver: &mut Receiver, patience: Option<Duration>) -> (usize, bool) {
        let mut taken = 0;
        let is_more = receiver.take(patience, |_| taken += 1);
        (taken, is_more)
    }

    // Fails when what somebody waits for gathers too, and when each message is taken by itself.
    #[test]
    fn what_nobody_waits_for_gathers_and_the_rest_does_not() {
        let (sender, mut receiver) = queue();
        let since = Instant::now();
        let taker = std::thread::spawn(move || (taken(&mut receiver, None), receiver));
        std::thread::sleep(4 * GATHER);
        for _ in 0..3 {
            assert!(sender.put(message()).is_ok());
        }
        let (first, mut receiver) = taker.join().unwrap();
        assert_eq!(first, (3, true));
        assert!(since.elapsed() >= 5 * GATHER);
        for _ in 0..1000 {
            let (tell, _told) = oneshot::channel();
            assert!(sender.put(Message::Close(tell)).is_ok());
            assert_eq!(taken(&mut receiver, None), (1, true));
        }
        // A thousand times it would be five seconds.
        assert!(since.elapsed() < 600 * GATHER, "{:?}", since.elapsed());
    }

    // Fails when a record is given what another says, or overtakes a message.
    #[test]
    fn records_come_out_as_they_were_put_in() {
        let (sender, mut receiver) = queue();
        for round in 0..3 {
            for request in [7, 100_000, 8] {
                assert!(sender.note_or_help(&Record::of_end(request)).is_ok());
            }
            assert!(sender.put(message()).is_ok());
            assert!(sender.note_or_help(&Record::of_end(round)).is_ok());
            let mut taken = Vec::new();
            assert!(receiver.take(None, |message| taken.push(message)));
            let said = taken.iter().map(|message| match message {
                Message::Event(noted, None) => Some(&noted.packed[..]),
                _ => None,
            });
            let expected = [7, 100_000, 8].map(|request| Some(Record::of_end(request)));
            let expected = expected
                .into_iter()
                .chain([None, Some(Record::of_end(round))]);
            let expected: Vec<_> = expected
                .map(|some| some.map(|r| r.packed.clone()))
                .collect();
            assert!(said.eq(expected.iter().map(Option::as_deref)));
        }
    }

    #[test]
    fn it_is_bounded_and_takes_again_once_all_is_taken() {
        let (sender, mut receiver) = queue();
        let put = (0..QUEUE).filter(|_| sender.put(message()).is_ok());
        assert_eq!(put.count(), QUEUE);
        assert!(matches!(sender.put(message()), Err(Refused::Full(_))));
        assert!(sender.note_or_help(&Record::of_end(0)).is_err());
        assert_eq!(taken(&mut receiver, None), (QUEUE, true));
        assert!(sender.put(message()).is_ok());
    }

    #[test]
    fn who_is_left_alone_learns_of_it() {
        let (sender, mut receiver) = queue();
        let patience = Some(Duration::from_millis(1));
        assert_eq!(taken(&mut receiver, patience), (0, true));
        assert!(sender.put(message()).is_ok());
        drop(sender);
        assert_eq!(taken(&mut receiver, None), (1, true));
        assert_eq!(taken(&mut receiver, None), (0, false));
        let (sender, receiver) = queue();
        let (tell, mut told) = oneshot::channel();
        assert!(sender.put(Message::Close(tell)).is_ok());
        drop(receiver);
        assert!(matches!(
            told.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ));
        assert!(matches!(sender.put(message()), Err(Refused::Over)));
    }
}
