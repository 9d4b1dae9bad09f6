//! Whether an answer under way may go on. Looked at only once an answer makes its client wait, for most
//! are there at once; and then only when something happened that may have changed it, not with every event
//! of a stream.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

use super::Shared;
use super::closing::Step;
use crate::gate::Permits;
use crate::resolve::Identity;

type Later = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why an answer is not to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The key it is given to no longer stands.
    Denied,
    /// The process is about to stop: at the end of an event, so is the answer.
    Closing,
}

/// Whether one answer may go on.
pub(super) struct Standing {
    shared: Arc<Shared>,
    caller: (Identity, Permits),
    /// When it is to end though its key stands; none for what is no stream.
    ends_at: Option<Step>,
    denied: Option<Later>,
    closed: Option<Later>,
    is_closing: bool,
    /// None before it was looked at first.
    alarm: Option<Arc<Alarm>>,
}

/// Remembers that something happened, and wakes the answer's task.
#[derive(Default)]
struct Alarm {
    rang: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Standing {
    pub(super) fn new(
        shared: Arc<Shared>,
        caller: (Identity, Permits),
        ends_at: Option<Step>,
    ) -> Self {
        Self {
            shared,
            caller,
            ends_at,
            denied: None,
            closed: None,
            is_closing: false,
            alarm: None,
        }
    }

    /// Whether it was looked at before.
    pub(super) fn is_watched(&self) -> bool {
        self.denied.is_some()
    }

    /// Looks at it; wakes the task when there is something new. Not to be called again once it said
    /// that the key was denied.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let alarm = self.alarm.get_or_insert_default().clone();
        // First, or what happens in between would wake nobody.
        alarm.task.register(cx.waker());
        if alarm.rang.swap(false, Ordering::Acquire) || !self.is_watched() {
            let waker = Waker::from(alarm);
            if self.look(&mut Context::from_waker(&waker)).is_ready() {
                return Poll::Ready(Over::Denied);
            }
        }
        if self.is_closing {
            Poll::Ready(Over::Closing)
        } else {
            Poll::Pending
        }
    }

    /// Ready when the key was denied.
    fn look(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (shared, caller) = (&self.shared, &self.caller);
        let denied = self.denied.get_or_insert_with(|| {
            let (shared, (identity, permits)) = (shared.clone(), caller.clone());
            Box::pin(async move { shared.gate.until_denied(identity, permits).await })
        });
        if denied.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if let Some(step) = self.ends_at.take() {
            self.closed = Some(Box::pin(shared.closing.until(step)));
        }
        if let Some(closed) = &mut self.closed
            && closed.as_mut().poll(cx).is_ready()
        {
            self.closed = None;
            self.is_closing = true;
        }
        Poll::Pending
    }
}
