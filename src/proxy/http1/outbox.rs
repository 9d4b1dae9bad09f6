//! What is written at the end of a core's turn: once every connection that was ready has been looked at.
//!
//! Whoever reads at the other end is woken by the first write, and would sleep again before the next one comes.
//! Written together, many wake him once: with 32 connections that were 2 to 4 of the 20 µs a request spends in the
//! kernel, with 256 more. A connection that is alone in a turn waits for nothing.
//!
//! A core that wants this keeps [`open`] running. Elsewhere everything is written at once.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Something to be written.
pub(super) trait Late: Send + Sync {
    /// Writes it, on behalf of the task that put it off, which is woken by whatever goes on or wrong afterwards.
    fn write(&self, cx: &mut Context<'_>);
}

/// What waits, and whose it is.
type Waiting = Vec<(Arc<dyn Late>, Waker)>;

#[derive(Default)]
struct Outbox {
    waiting: Waiting,
    /// Whoever writes it.
    writer: Option<Waker>,
}

thread_local! {
    static OUTBOX: RefCell<Outbox> = RefCell::default();
}

/// Whether what is put off will be written.
pub(super) fn is_open() -> bool {
    OUTBOX.with_borrow(|outbox| outbox.writer.is_some())
}

/// Puts something of this task off; `false` if nobody would write it.
pub(super) fn put_off(late: impl FnOnce() -> Arc<dyn Late>, task: impl FnOnce() -> Waker) -> bool {
    OUTBOX.with_borrow_mut(|outbox| {
        let Some(writer) = &outbox.writer else {
            return false;
        };
        // It comes behind every task that is ready by now.
        if outbox.waiting.is_empty() {
            writer.wake_by_ref();
        }
        outbox.waiting.push((late(), task()));
        true
    })
}

/// Writes what this thread puts off, for as long as it is polled: a task of the thread's own runtime.
pub(in crate::proxy) fn open() -> impl Future<Output = ()> {
    let (open, mut waiting) = (Open, Waiting::new());
    // Its turn is no task's: each of those it writes for has had its own.
    tokio::task::unconstrained(poll_fn(move |cx| {
        open.take(&mut waiting, cx);
        for (late, waker) in waiting.drain(..) {
            late.write(&mut Context::from_waker(&waker));
        }
        Poll::Pending
    }))
}

/// Nothing is put off any more once it is gone.
struct Open;

impl Open {
    fn take(&self, waiting: &mut Waiting, cx: &Context<'_>) {
        OUTBOX.with_borrow_mut(|outbox| {
            match &mut outbox.writer {
                Some(writer) => writer.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            std::mem::swap(&mut outbox.waiting, waiting);
        });
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // What waits is dropped outside, for its end may want to put something off.
        let left =
            OUTBOX.try_with(|outbox| outbox.try_borrow_mut().map(|mut o| std::mem::take(&mut *o)));
        drop(left);
    }
}
