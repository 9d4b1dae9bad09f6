//! The way out: requests finish, streams end between events, and then it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::reload::Served;

/// How long before the end streams that carry answers are ended, to have their last events written.
const LAST: Duration = Duration::from_secs(2);

/// Which signal said so.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// SIGINT: somebody at a terminal, who waits.
    Interrupt,
    /// SIGTERM: what runs services.
    Terminate,
}

/// Whether the process was told to stop.
#[derive(Clone, Default)]
pub(super) struct Leaving(Arc<AtomicBool>);

impl Leaving {
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Waits for a signal to stop.
pub(super) async fn told() -> Told {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        // Without handlers the signals end the process as they would anyway.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => Told::Interrupt,
        _ = terminate.recv() => Told::Terminate,
    }
}

/// Goes the way out; a second signal cuts it short.
pub(super) async fn go(served: &Served, leaving: &Leaving, told: Told) {
    tokio::select! {
        () = drain(served, leaving, told) => {}
        _ = self::told() => tracing::warn!("told to stop again: what is under way is cut"),
    }
}

async fn drain(served: &Served, leaving: &Leaving, told: Told) {
    let (listener, times) = (&served.listener, served.drain);
    leaving.0.store(true, Ordering::Relaxed);
    listener.leave();
    if served.is_watched && told == Told::Terminate {
        tracing::info!(delay = ?times.delay, "stopping: not ready any more");
        sleep(times.delay).await;
    }
    tracing::info!(timeout = ?times.timeout, "stopping: requests finish");
    listener.stop();
    let layer = &listener.serving().layer;
    layer.end_listening();
    let last = times.timeout.saturating_sub(LAST);
    if timeout(last, listener.finished()).await.is_ok() {
        return;
    }
    layer.end_streams();
    if timeout(times.timeout - last, listener.finished())
        .await
        .is_err()
    {
        tracing::warn!("what did not finish in time is cut");
    }
}
