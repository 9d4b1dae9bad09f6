//! Accepts connections and hands each to the core that serves fewest.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;

use super::places::Places;
use super::serving::{Serving, Stage};
use super::socket::{Accepted, Address, Socket};
use super::worker::Worker;

/// What the listener needs.
pub struct Options {
    /// Where to listen.
    pub listen: Address,
    /// How many cores serve.
    pub threads: usize,
    /// How many connections of clients may be open.
    pub connections: usize,
    /// What requests are served with, until it is swapped.
    pub serving: Serving,
}

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {why}; choose another `listen`, or stop what uses it")]
    Bind {
        /// The address.
        address: Address,
        /// The system's words.
        why: io::Error,
    },
    /// A thread cannot be had.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Everything that serves clients.
pub struct Listener {
    address: Address,
    threads: Vec<JoinHandle<()>>,
    serving: watch::Sender<Arc<Serving>>,
    stage: watch::Sender<Stage>,
}

impl Listener {
    /// Binds and starts to serve. The accepting task runs on the current runtime.
    ///
    /// # Errors
    /// When the address or a thread cannot be had.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let (socket, address) = bind(&options.listen).await?;
        let (stage, stages) = watch::channel(Stage::Serving);
        let (serving, served) = watch::channel(Arc::new(options.serving));
        let started = (0..options.threads.max(1))
            .map(|index| Worker::start(index, served.clone(), stages.clone()))
            .collect::<Result<Vec<_>, _>>();
        let (workers, threads) = started.map_err(StartError::Thread)?.into_iter().unzip();
        let places = Places::new(options.connections);
        tokio::spawn(accept(socket, places, workers, served, stages));
        Ok(Self {
            address,
            threads,
            serving,
            stage,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What is served with, now and after every swap.
    #[must_use]
    pub fn served(&self) -> watch::Receiver<Arc<Serving>> {
        self.serving.subscribe()
    }

    /// Serves every request that begins from now on with something else.
    pub fn swap(&self, serving: Serving) {
        self.serving.send_replace(Arc::new(serving));
    }

    /// Asks every client, with the answer to its next request, not to keep its connection; goes on
    /// taking connections.
    pub fn leave(&self) {
        self.stage.send_replace(Stage::Leaving);
    }

    /// Takes no connection any more, and keeps none but for the request that is on it.
    pub fn stop(&self) {
        self.stage.send_replace(Stage::Stopping);
    }

    /// Resolves once it was stopped and everything has finished.
    pub async fn finished(&self) {
        while !self.threads.iter().all(JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What requests are served with now.
    #[must_use]
    pub fn serving(&self) -> Arc<Serving> {
        self.serving.borrow().clone()
    }
}

/// Binds `address`, and gives it with its port.
pub(super) async fn bind(address: &Address) -> Result<(Socket, Address), StartError> {
    let error = |why| StartError::Bind {
        address: address.clone(),
        why,
    };
    let socket = Socket::bind(address).await.map_err(error)?;
    let bound = socket.address(address).map_err(error)?;
    Ok((socket, bound))
}

/// Takes connections until the process stops, then those that wait already, as far as there are places:
/// dropped, they would be reset. The workers end once this does and what they serve is done.
async fn accept(
    socket: Socket,
    places: Arc<Places>,
    workers: Vec<Worker>,
    serving: watch::Receiver<Arc<Serving>>,
    mut stage: watch::Receiver<Stage>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stage.wait_for(|&now| now == Stage::Stopping) => break,
        };
        match accepted {
            Ok(stream) => {
                // Who comes meanwhile waits with the system.
                let place = tokio::select! {
                    place = places.take() => place,
                    _ = stage.wait_for(|&now| now == Stage::Stopping) => break,
                };
                hand_on(&workers, Accepted { stream, place });
            }
            Err(error) => {
                serving.borrow().account.metrics().accept_failures.inc();
                // Out of file descriptors: they come back when connections end, not at once.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    while let Some(Ok(stream)) = socket.accept().now_or_never() {
        if let Some(place) = places.try_take() {
            hand_on(&workers, Accepted { stream, place });
        }
    }
}

fn hand_on(workers: &[Worker], accepted: Accepted) {
    let least = workers
        .iter()
        .min_by_key(|worker| worker.open.load(Ordering::Relaxed));
    if let Some(worker) = least {
        worker.open.fetch_add(1, Ordering::Relaxed);
        // Fails only when its thread is gone.
        let _ = worker.connections.send(accepted);
    }
}
