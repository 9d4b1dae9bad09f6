//! A deadline that moves without being set anew each time.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Wakes whoever waits, no later than the moment asked for last. A moment that moves on, as it does
/// with every request, costs nothing: the clock goes off too early then, and is asked again.
#[derive(Default)]
pub(super) struct Clock(Option<Pin<Box<Sleep>>>);

impl Clock {
    /// Whether it was asked for a moment that has not come.
    pub(super) fn is_running(&self) -> bool {
        self.0.as_ref().is_some_and(|sleep| !sleep.is_elapsed())
    }

    /// Ready once `until` has come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if until < sleep.deadline() {
            sleep.as_mut().reset(until);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
        Poll::Pending
    }
}

/// Clocks that are kept while nobody needs them, at most. Each holds the waker of the task that used it last, and
/// with it what is left of that task, until it goes off.
const KEPT: usize = 256;

/// Clocks of one core, which one request uses after the other.
#[derive(Default)]
pub(super) struct Clocks(
    // Of one thread, so never waited for.
    Mutex<Vec<Clock>>,
);

impl Clocks {
    /// What `something` gives; `None` when it did not before `until`.
    pub(super) async fn in_time<T>(
        &self,
        until: Instant,
        mut something: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        let mut clock = None;
        let done = poll_fn(|cx| {
            if let Poll::Ready(done) = something.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            let clock = clock.get_or_insert_with(|| self.lock().pop().unwrap_or_default());
            clock.poll(cx, until).map(|()| None)
        });
        let done = done.await;
        if let Some(clock) = clock {
            let mut kept = self.lock();
            if kept.len() < KEPT {
                kept.push(clock);
            }
        }
        done
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Clock>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    // Fails when a clock that was asked for another's moment ends somebody's time at that, or never.
    #[tokio::test(start_paused = true)]
    async fn everybody_has_his_time_whoever_had_the_clock_before() {
        let clocks = Clocks::default();
        for (begins, until) in [(0, 10), (3, 13), (3, 4), (0, 100), (50, 60)] {
            sleep(Duration::from_secs(begins)).await;
            let begun = Instant::now();
            let patience = Duration::from_secs(until - begins);
            let waited = clocks
                .in_time(begun + patience, pin!(pending::<()>()))
                .await;
            assert!(waited.is_none());
            let took = begun.elapsed();
            assert!(
                took >= patience && took < patience + Duration::from_millis(2),
                "{took:?}"
            );
            assert_eq!(clocks.lock().len(), 1);
        }
    }

    // Fails when one that goes on running for somebody who needs it no more keeps its moment.
    #[tokio::test(start_paused = true)]
    async fn a_clock_that_runs_for_another_goes_off_at_the_moment_asked_for() {
        for (others, own) in [(100, 2), (10, 50)] {
            let clocks = Clocks::default();
            let until = Instant::now() + Duration::from_secs(others);
            let soon = pin!(sleep(Duration::from_secs(1)));
            assert!(clocks.in_time(until, soon).await.is_some());
            let patience = Duration::from_secs(own);
            let begun = Instant::now();
            let waited = clocks
                .in_time(begun + patience, pin!(pending::<()>()))
                .await;
            assert!(waited.is_none());
            let took = begun.elapsed();
            assert!(
                took >= patience && took < patience + Duration::from_millis(2),
                "{took:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_in_time_is_told() {
        let clocks = Clocks::default();
        let until = Instant::now() + PATIENCE;
        assert_eq!(clocks.in_time(until, pin!(ready(1))).await, Some(1));
        assert!(clocks.lock().is_empty());
        let late = async {
            sleep(PATIENCE / 2).await;
            2
        };
        assert_eq!(clocks.in_time(until, pin!(late)).await, Some(2));
        let both = async { tokio::join!(sleep(PATIENCE / 4), sleep(PATIENCE / 8)) };
        assert!(clocks.in_time(until, pin!(both)).await.is_some());
        assert_eq!(clocks.lock().len(), 1);
    }
}
