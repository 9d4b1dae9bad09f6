//! Keeps the store told that this process serves, and with which keys: `keyring rotate` waits for
//! every process that does.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::vault::Beacon;

/// How long one word to the store may take; it has others to serve, and so have we.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells the store until it is withdrawn.
pub(super) struct Presence {
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

impl Presence {
    /// Tells the store for the first time, so that nobody serves unseen, then every so often.
    pub(super) async fn start(beacon: Beacon) -> Self {
        let mut teller = Teller {
            beacon,
            failing: false,
        };
        teller.tell().await;
        let (stop, stopped) = oneshot::channel();
        let done = tokio::spawn(teller.keep_telling(stopped));
        Self { stop, done }
    }

    /// Tells the store that this process stops.
    pub(super) async fn withdraw(self) {
        // Where the task is gone there is nobody to tell, and nothing to wait for.
        let _ = self.stop.send(());
        let _ = self.done.await;
    }
}

struct Teller {
    beacon: Beacon,
    failing: bool,
}

impl Teller {
    async fn keep_telling(mut self, mut stopped: oneshot::Receiver<()>) {
        if let Err(error) = self.beacon.sweep().await {
            tracing::debug!(%error, "records of processes that are gone stay");
        }
        loop {
            tokio::select! {
                () = sleep(Beacon::EVERY) => self.tell().await,
                _ = &mut stopped => break,
            }
        }
        let withdrawn = timeout(PATIENCE, self.beacon.withdraw()).await;
        if !matches!(withdrawn, Ok(Ok(()))) {
            tracing::warn!("the store could not be told that this process stops");
        }
    }

    /// A failure is told once, and stops nothing: a rotation may have to wait, no request has.
    async fn tell(&mut self) {
        let told = timeout(PATIENCE, self.beacon.show()).await;
        let failing = !matches!(told, Ok(Ok(())));
        match (self.failing, told) {
            (false, Ok(Err(error))) => tracing::warn!(%error, "{UNTOLD}"),
            (false, Err(_)) => tracing::warn!("{UNTOLD}"),
            (true, Ok(Ok(()))) => tracing::info!("the store knows again that this process serves"),
            _ => {}
        }
        self.failing = failing;
    }
}

const UNTOLD: &str = "the store could not be told that this process serves: do not rotate keys until \
                      it can";
