//! Puts the house together: configuration, keyring and store in; a listener out.
//!
//! Requests are served on a thread per core (see [`crate::proxy`]). Everything else, accepting, the
//! store, its watch, lives on a runtime of its own, so that nothing slow ever holds up a core.

mod assemble;
mod metrics;
mod presence;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Failure;
use crate::cli::open;
use crate::config::Config;
use crate::gate::NoServerKey;
use crate::names::ServerName;
use crate::proxy::{self, BackendError, Health, Listener, Options};
use crate::resolve::{Resolver, Settings};
use crate::sys;
use crate::telemetry;
use crate::tls::TlsError;
use crate::vault::{Beacon, Reader, Vault};
use presence::Presence;

/// How long requests may take to finish after a signal to stop.
const GRACE: Duration = Duration::from_secs(5);
/// Threads of the runtime for everything but requests.
const BACKGROUND: usize = 1;

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The keyring lacks a key for a server of the configuration.
    #[error(transparent)]
    NoServerKey(#[from] NoServerKey),
    /// A server cannot be reached as configured.
    #[error("servers.{0}: {1}")]
    Backend(ServerName, BackendError),
    /// There is nothing to check a server's certificate with.
    #[error("servers.{0}: {1}")]
    Tls(ServerName, TlsError),
    /// The listener does not start.
    #[error(transparent)]
    Listener(#[from] proxy::StartError),
    /// The system gives no runtime.
    #[error("the system gives no event loop: {0}")]
    Runtime(std::io::Error),
}

/// Serving, until it is dropped or told to stop.
pub struct Running {
    runtime: Runtime,
    listener: Listener,
    presence: Presence,
}

/// Starts to serve; returns once it listens.
///
/// # Errors
/// Whatever keeps it from serving every request it should, with what to do.
pub fn start(config: Config) -> Result<Running, Failure> {
    sys::keep_memory_private();
    let runtime = Builder::new_multi_thread()
        .worker_threads(BACKGROUND)
        .thread_name("cloakroom-background")
        .enable_all()
        .build()
        .map_err(|error| Failure::new(StartError::Runtime(error)))?;
    let (listener, presence) = runtime.block_on(listen(config))?;
    Ok(Running {
        runtime,
        listener,
        presence,
    })
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Blocks until SIGINT or SIGTERM, then lets requests finish.
    pub fn wait(self) {
        let Self {
            runtime,
            listener,
            presence,
        } = self;
        runtime.block_on(async {
            stop_signal().await;
            tracing::info!("stopping");
            if !listener.drain(GRACE).await {
                tracing::info!("streams were still open");
            }
            presence.withdraw().await;
        });
        runtime.shutdown_timeout(Duration::from_millis(100));
    }
}

async fn stop_signal() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        // Without handlers the signals end the process as they would anyway.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn listen(config: Config) -> Result<(Listener, Presence), Failure> {
    let ring = Arc::new(open::keyring(&config.keyring)?);
    let store = open::store(&config).await?;
    for remark in store.remarks().await.unwrap_or_default() {
        tracing::warn!(%remark, "the store works, but not as well as it should");
    }
    let vault = Vault::new(store.clone(), ring.clone());
    vault.check_keyring().await?;
    let servers: Vec<_> = config.servers.keys().cloned().collect();
    let beacon = Beacon::new(vault, sys::host_name(), &servers);
    let settings = Settings {
        cache_bytes: config.store.cache,
        stale_for: config.store.stale_for,
    };
    let resolver = Resolver::new(store, Reader::new(ring.clone()), &settings);
    if let Some(address) = config.health_listen {
        let (ready, figures) = (resolver.clone(), resolver.clone());
        let health = Health {
            ready: Box::new(move || ready.is_ready()),
            metrics: Box::new(move || metrics::page(&figures.figures())),
            metrics_type: telemetry::CONTENT_TYPE,
        };
        let health = health.serve(address).await;
        let bound = health.map_err(|error| Failure::new(StartError::from(error)))?;
        tracing::info!(%bound, "health");
    }
    let (listen, threads) = (config.listen, config.threads);
    let serving = assemble::serving(config, &ring, resolver).map_err(Failure::new)?;
    let options = Options {
        listen,
        threads,
        serving,
    };
    // Before the first request: a rotation must not pass by a process that has begun to serve.
    let presence = Presence::start(beacon).await;
    match Listener::start(options).await {
        Ok(listener) => Ok((listener, presence)),
        Err(error) => {
            presence.withdraw().await;
            Err(Failure::new(StartError::from(error)))
        }
    }
}
