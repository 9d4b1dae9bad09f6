//! What nearly never comes, and is waited for beside what comes all the time.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use pin_project_lite::pin_project;

pin_project! {
    /// A future that is polled when somebody woke it, and not whenever its task is: to ask one that waits for a
    /// word costs a lock or two, and two of them were asked twice for each request.
    pub(super) struct Rarely<F> {
        #[pin]
        future: F,
        stirred: Arc<Stirred>,
        // What the future wakes.
        waker: Waker,
        // What that wakes in turn.
        task: Waker,
    }
}

struct Stirred {
    has: AtomicBool,
    task: Mutex<Waker>,
}

impl<F> Rarely<F> {
    pub(super) fn new(future: F) -> Self {
        let stirred = Arc::new(Stirred {
            has: AtomicBool::new(true),
            task: Mutex::new(Waker::noop().clone()),
        });
        Self {
            future,
            waker: stirred.clone().into(),
            task: Waker::noop().clone(),
            stirred,
        }
    }
}

impl Stirred {
    fn task(&self) -> MutexGuard<'_, Waker> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Stirred {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // First: whoever is woken looks at it.
        self.has.store(true, Ordering::Release);
        self.task().wake_by_ref();
    }
}

impl<F: Future> Future for Rarely<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if !this.task.will_wake(cx.waker()) {
            this.task.clone_from(cx.waker());
            this.stirred.task().clone_from(cx.waker());
        }
        // Read before it is written: nearly always there is nothing to be written.
        let has = &this.stirred.has;
        if has.load(Ordering::Acquire) && has.swap(false, Ordering::AcqRel) {
            return this.future.poll(&mut Context::from_waker(this.waker));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use tokio::sync::Notify;
    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;

    // Fails when what waits is asked each time, or is not woken, or only as whoever waited first.
    #[tokio::test]
    async fn it_is_asked_when_it_was_woken_and_by_whoever_waits_now() {
        let (asked, word) = (AtomicUsize::new(0), Notify::new());
        let mut told = pin!(word.notified());
        let mut waits = pin!(Rarely::new(poll_fn(|cx| {
            asked.fetch_add(1, Ordering::Relaxed);
            told.as_mut().poll(cx)
        })));
        let mut nobody = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            assert!(waits.as_mut().poll(&mut nobody).is_pending());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let both = async {
            tokio::join!(waits.as_mut(), async {
                yield_now().await;
                word.notify_one();
            })
        };
        assert!(timeout(Duration::from_secs(10), both).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    /// How often it was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    // Fails when anybody but who asked last is woken.
    #[test]
    fn whoever_asked_last_is_woken() {
        let word = Notify::new();
        let mut waits = pin!(Rarely::new(word.notified()));
        let tasks: Vec<_> = (0..3).map(|_| Arc::<Woken>::default()).collect();
        for task in &tasks {
            let waker = task.clone().into();
            let mut cx = Context::from_waker(&waker);
            assert!(waits.as_mut().poll(&mut cx).is_pending());
        }
        word.notify_one();
        let woken = tasks.iter().map(|task| task.0.load(Ordering::Relaxed));
        assert!(woken.eq([0, 0, 1]));
    }

    // Fails when a word that comes while it is asked is forgotten.
    #[tokio::test]
    async fn who_is_woken_while_it_is_asked_is_asked_again() {
        let mut turns = 0;
        let counts = Rarely::new(poll_fn(|cx| {
            turns += 1;
            cx.waker().wake_by_ref();
            if turns < 5 {
                return Poll::Pending;
            }
            Poll::Ready(turns)
        }));
        assert_eq!(counts.await, 5);
    }
}
