//! How a child ends: by itself, at another's turn, or because it is stopped.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Child, To};
use crate::rejection::Kind;

/// How a child ended.
#[derive(Debug)]
pub(in crate::stdio) struct End {
    /// What its clients are told.
    pub(in crate::stdio) kind: Kind,
    pub(in crate::stdio) text: String,
    /// Whether that was its own doing.
    pub(in crate::stdio) is_failure: bool,
}

/// How a child is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::stdio) enum Stop {
    /// Its standard input ends, then SIGTERM, then SIGKILL, 2 s apart.
    Gently,
    /// The same, 300 ms apart.
    Soon,
    /// SIGKILL.
    Now,
}

impl Child {
    /// It is to be another's turn: subscriptions end, what is under way may be finished.
    pub(in crate::stdio) fn retire(self: &Arc<Self>) {
        const PATIENCE: Duration = Duration::from_secs(30);
        self.is_stopping.store(true, Ordering::Release);
        self.end_subscriptions();
        let child = self.clone();
        self.runtime.spawn(async move {
            let idle = async {
                while !child.close_if_idle() {
                    sleep(Duration::from_millis(50)).await;
                }
            };
            let _ = timeout(PATIENCE, idle).await;
            child.stop(Stop::Gently);
        });
    }

    fn end_subscriptions(&self) {
        let ended = self.talk().end_subscriptions();
        for ended in ended {
            if let (To::Stream(stream), Some(mailbox)) = (ended.to, self.mailbox.get()) {
                mailbox.end(stream);
            }
        }
    }

    /// Stops it; what is under way is refused.
    pub(in crate::stdio) fn stop(self: &Arc<Self>, how: Stop) {
        self.is_stopping.store(true, Ordering::Release);
        // The writer ends, and with it the child's standard input.
        self.lines().take();
        let between = match how {
            Stop::Now => return self.handle.kill(),
            Stop::Soon => Duration::from_millis(300),
            Stop::Gently => Duration::from_secs(2),
        };
        let handle = self.handle.clone();
        self.runtime.spawn(async move {
            if timeout(between, handle.exited()).await.is_err() {
                handle.terminate();
                if timeout(between, handle.exited()).await.is_err() {
                    handle.kill();
                }
            }
        });
    }

    /// Whether it was told to stop.
    pub(in crate::stdio) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// It has ended: whoever waits is told.
    pub(in crate::stdio) fn ended(&self, end: End) {
        self.lines().take();
        let unanswered = self.talk().close();
        let end = Arc::new(end);
        for unanswered in &unanswered {
            self.refuse(unanswered, end.kind, end.text.clone());
        }
        self.end.send_replace(Some(end));
    }

    /// How it ended, if it did.
    pub(in crate::stdio) fn end(&self) -> Option<Arc<End>> {
        self.end.borrow().clone()
    }

    /// Waits until it has ended, and every client was told.
    pub(in crate::stdio) async fn until_end(&self) -> Arc<End> {
        let mut end = self.end.subscribe();
        let ended = end.wait_for(Option::is_some).await;
        ended
            .ok()
            .and_then(|end| end.clone())
            .expect("the sender lives as long as `self`, and what is waited for is some")
    }
}
