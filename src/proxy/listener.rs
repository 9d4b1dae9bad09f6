//! Accepts connections and hands each to the core that serves fewest.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::serving::Serving;
use super::worker::Worker;

/// What the listener needs.
pub struct Options {
    /// Where to listen.
    pub listen: SocketAddr,
    /// How many cores serve.
    pub threads: usize,
    /// What requests are served with, until it is swapped.
    pub serving: Serving,
}

/// A connection nobody has read from.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
}

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {why}; choose another `listen`, or stop what uses it")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        why: io::Error,
    },
    /// A thread cannot be had.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Everything that serves clients.
pub struct Listener {
    address: SocketAddr,
    workers: Arc<Vec<Worker>>,
    serving: watch::Sender<Arc<Serving>>,
    drain: watch::Sender<bool>,
}

impl Listener {
    /// Binds and starts to serve. The accepting task runs on the current runtime.
    ///
    /// # Errors
    /// When the address or a thread cannot be had.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let bind = |why| StartError::Bind {
            address: options.listen,
            why,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let (drain, draining) = watch::channel(false);
        let (serving, served) = watch::channel(Arc::new(options.serving));
        let workers = (0..options.threads.max(1))
            .map(|index| Worker::start(index, served.clone(), draining.clone()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(StartError::Thread)?;
        let workers = Arc::new(workers);
        tokio::spawn(accept(listener, workers.clone(), draining));
        Ok(Self {
            address,
            workers,
            serving,
            drain,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves every request that begins from now on with something else.
    pub fn swap(&self, serving: Serving) {
        self.serving.send_replace(Arc::new(serving));
    }

    /// Stops accepting, lets requests finish, and gives up on what is left after `grace`: open
    /// streams have no end to wait for. `true` when everything finished.
    pub async fn drain(self, grace: Duration) -> bool {
        self.drain.send_replace(true);
        let deadline = Instant::now() + grace;
        while Instant::now() < deadline {
            if self
                .workers
                .iter()
                .all(|worker| worker.thread.is_finished())
            {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

async fn accept(
    listener: TcpListener,
    workers: Arc<Vec<Worker>>,
    mut drain: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = drain.wait_for(|&now| now) => return,
        };
        match accepted.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => {
                let accepted = Accepted { stream };
                let least = workers
                    .iter()
                    .min_by_key(|worker| worker.open.load(Ordering::Relaxed));
                if let Some(worker) = least {
                    worker.open.fetch_add(1, Ordering::Relaxed);
                    // Fails only while the worker ends, and the connection with it.
                    let _ = worker.connections.send(accepted);
                }
            }
            Err(error) => {
                // Out of file descriptors: they come back when connections end, not at once.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
