//! The way out: requests finish, streams end between events, and then it is over.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
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

impl Told {
    /// The signal's number.
    pub(super) fn number(self) -> u8 {
        let signal = match self {
            Self::Interrupt => rustix::process::Signal::INT,
            Self::Terminate => rustix::process::Signal::TERM,
        };
        u8::try_from(signal.as_raw()).expect("both are below 16")
    }
}

/// Whether the process was told to stop.
#[derive(Clone, Default)]
pub(super) struct Leaving(Arc<AtomicBool>);

impl Leaving {
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The signals to stop, heard from the moment this is made.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// To be made on a runtime, before anything is served: until then a signal ends the process.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn told(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::Interrupt,
            _ = self.terminate.recv() => Told::Terminate,
        }
    }
}

/// Goes the way out; a second signal cuts it short.
pub(super) async fn go(served: &Served, leaving: &Leaving, told: Told, signals: &mut Signals) {
    tokio::select! {
        () = drain(served, leaving, told) => {}
        _ = signals.told() => tracing::warn!("told to stop again: what is under way is cut"),
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
