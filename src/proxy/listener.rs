//! Accepts connections and hands each to the core that serves fewest.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::backend::Backend;
use super::forward::Forward;
use super::guard::Guard;
use super::worker::{Parts, Worker};
use crate::layer::CloakroomLayer;
use crate::names::ServerName;

/// What the listener needs.
pub struct Options {
    /// Where to listen.
    pub listen: SocketAddr,
    /// How many cores serve.
    pub threads: usize,
    /// Bytes of a request's head.
    pub head_max: usize,
    /// Hosts and origins.
    pub guard: Guard,
    /// What every request passes.
    pub layer: CloakroomLayer,
    /// Where requests go.
    pub backends: BTreeMap<ServerName, Backend>,
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
        let (guard, backends) = (Arc::new(options.guard), Arc::new(options.backends));
        let workers = (0..options.threads.max(1)).map(|index| {
            let parts = Parts {
                guard: guard.clone(),
                layer: options.layer.clone(),
                forward: Forward::new(backends.clone()),
                head_max: options.head_max,
            };
            Worker::start(index, parts, draining.clone())
        });
        let workers = workers
            .collect::<Result<Vec<_>, _>>()
            .map_err(StartError::Thread)?;
        let workers = Arc::new(workers);
        tokio::spawn(accept(listener, workers.clone(), draining));
        Ok(Self {
            address,
            workers,
            drain,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
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
                let least = workers
                    .iter()
                    .min_by_key(|worker| worker.open.load(Ordering::Relaxed));
                if let Some(worker) = least {
                    worker.open.fetch_add(1, Ordering::Relaxed);
                    // Fails only while the worker ends, and the connection with it.
                    let _ = worker.connections.send(stream);
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
