//! What waits for the thread of one sink: many put it in, and that thread takes all there is at once.
//!
//! A call of the kernel costs several times what everything else about a record does, and so does a thread
//! that is woken for each. So nobody who puts a record in makes one, but for the first who finds the thread
//! asleep for want of anything to do, and for who waits until his record was taken. The thread, when nobody
//! waits, lets records gather for [`GATHER`] before it takes them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::lane::{Message, locked};

/// Messages that may wait: of 200,000 records a second those of 80 ms. With what a usual request leaves, that
/// is some 6 MiB.
pub(super) const QUEUE: usize = 16_384;
/// Bytes that may wait, about: clients may make records long.
const BYTES: usize = 32 << 20;
/// How long what nobody waits for may lie, so that more is written at once.
const GATHER: Duration = Duration::from_millis(5);
/// Messages for which the thread is not let sleep any longer.
const MANY: usize = QUEUE / 2;

/// Where messages are put.
pub(super) struct Sender(Arc<Queue>);

/// Where they are taken.
pub(super) struct Receiver(Arc<Queue>);

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
    messages: Vec<Message>,
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
    (Sender(queue.clone()), Receiver(queue))
}

impl Waiting {
    fn is_pressing(&self) -> bool {
        self.is_urgent || self.is_left || self.messages.len() >= MANY
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
        if waiting.messages.len() >= QUEUE || waiting.bytes >= BYTES {
            return Err(Refused::Full(message));
        }
        waiting.bytes += message.weight();
        waiting.is_urgent |= message.is_waited_for();
        waiting.messages.push(message);
        self.wake(waiting);
        Ok(())
    }

    /// As [`Sender::put`]; who finds no room lets the thread have the core first, if nobody did since it last
    /// took anything: it may want nothing else.
    pub(super) fn put_or_help(&self, message: Message) -> Result<(), Refused> {
        let message = match self.put(message) {
            Err(Refused::Full(message)) => message,
            other => return other,
        };
        let is_helped = std::mem::replace(&mut locked(&self.0.waiting).is_helped, true);
        if is_helped {
            return Err(Refused::Full(message));
        }
        std::thread::yield_now();
        self.put(message)
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
    /// Takes all there is into `taken`, which is empty. While there is nothing it waits, for `patience` at most
    /// if that is given. Says whether there is anybody left who puts messages in.
    pub(super) fn take(&self, taken: &mut Vec<Message>, patience: Option<Duration>) -> bool {
        let mut waiting = locked(&self.0.waiting);
        loop {
            // First of all, so that under load nobody has to wake this thread.
            waiting = self.sleep(
                waiting,
                Sleep::Gathering,
                Some(GATHER),
                Waiting::is_pressing,
            );
            if !waiting.messages.is_empty() || waiting.is_left {
                break;
            }
            let is_any = |waiting: &Waiting| !waiting.messages.is_empty() || waiting.is_left;
            waiting = self.sleep(waiting, Sleep::Idle, patience, is_any);
            if !is_any(&waiting) {
                break;
            }
        }
        std::mem::swap(&mut waiting.messages, taken);
        (waiting.bytes, waiting.is_urgent, waiting.is_helped) = (0, false, false);
        !waiting.is_left || !taken.is_empty()
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
        let woken = &self.0.woken;
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

    /// Takes no more; gives what was not taken.
    pub(super) fn end(self) -> Vec<Message> {
        self.over()
    }

    fn over(&self) -> Vec<Message> {
        let mut waiting = locked(&self.0.waiting);
        waiting.is_over = true;
        std::mem::take(&mut waiting.messages)
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

    fn taken(receiver: &Receiver, patience: Option<Duration>) -> (usize, bool) {
        let mut taken = Vec::new();
        let is_more = receiver.take(&mut taken, patience);
        (taken.len(), is_more)
    }

    // Fails when what somebody waits for gathers too, and when each message is taken by itself.
    #[test]
    fn what_nobody_waits_for_gathers_and_the_rest_does_not() {
        let (sender, receiver) = queue();
        let since = Instant::now();
        let taker = std::thread::spawn(move || (taken(&receiver, None), receiver));
        std::thread::sleep(4 * GATHER);
        for _ in 0..3 {
            assert!(sender.put(message()).is_ok());
        }
        let (first, receiver) = taker.join().unwrap();
        assert_eq!(first, (3, true));
        assert!(since.elapsed() >= 5 * GATHER);
        for _ in 0..1000 {
            let (tell, _told) = oneshot::channel();
            assert!(sender.put(Message::Close(tell)).is_ok());
            assert_eq!(taken(&receiver, None), (1, true));
        }
        // A thousand times it would be five seconds.
        assert!(since.elapsed() < 600 * GATHER, "{:?}", since.elapsed());
    }

    #[test]
    fn it_is_bounded_and_takes_again_once_all_is_taken() {
        let (sender, receiver) = queue();
        let put = (0..QUEUE).filter(|_| sender.put(message()).is_ok());
        assert_eq!(put.count(), QUEUE);
        assert!(matches!(
            sender.put_or_help(message()),
            Err(Refused::Full(_))
        ));
        assert_eq!(taken(&receiver, None), (QUEUE, true));
        assert!(sender.put(message()).is_ok());
    }

    #[test]
    fn who_is_left_alone_learns_of_it() {
        let (sender, receiver) = queue();
        let patience = Some(Duration::from_millis(1));
        assert_eq!(taken(&receiver, patience), (0, true));
        assert!(sender.put(message()).is_ok());
        drop(sender);
        assert_eq!(taken(&receiver, None), (1, true));
        assert_eq!(taken(&receiver, None), (0, false));
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
