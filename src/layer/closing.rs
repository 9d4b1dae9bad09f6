//! The end of open streams while the process goes on its way out.
//!
//! A stream that is cut looks to its client like a fault, and half an event may be taken for a whole
//! one. So streams end between events, in two steps: first those on which nobody waits for an answer,
//! whose clients open another at once, elsewhere; then, when the time is nearly up, all.

use tokio::sync::watch;

/// How far the process is on its way out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// It stays.
    #[default]
    Staying,
    /// Streams without an answer under way end: GET of Streamable HTTP, `subscriptions/listen`.
    Listening,
    /// All streams end, also those that carry answers.
    All,
}

/// Tells open streams when to end.
#[derive(Clone, Default)]
pub(super) struct Closing(watch::Sender<Step>);

impl Closing {
    /// Goes on to `step`; there is no way back.
    pub(super) fn go_on(&self, step: Step) {
        self.0.send_if_modified(|now| {
            let further = step > *now;
            *now = step.max(*now);
            further
        });
    }

    /// Resolves once `step` is reached.
    pub(super) fn until(&self, step: Step) -> impl Future<Output = ()> + Send + use<> {
        let mut now = self.0.subscribe();
        async move {
            if now.wait_for(|now| *now >= step).await.is_err() {
                // The layer is gone, and with it whoever could say so.
                std::future::pending().await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn steps_are_taken_in_order_and_never_back() {
        let closing = Closing::default();
        let is_over = |step| closing.until(step).now_or_never().is_some();
        assert!(!is_over(Step::Listening));
        closing.go_on(Step::Listening);
        assert!(is_over(Step::Listening) && !is_over(Step::All));
        closing.go_on(Step::All);
        closing.go_on(Step::Listening);
        assert!(is_over(Step::All));
    }
}
