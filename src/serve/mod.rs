//! Puts the house together: configuration, keyring and store in; a listener out.
//!
//! Requests are served on a thread per core (see [`crate::proxy`]). Everything else, accepting, the
//! store, its watch, lives on a runtime of its own, so that nothing slow ever holds up a core.

mod assemble;
mod descriptors;
mod files;
mod metrics;
mod presence;
mod reload;
mod stop;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::cli::Failure;
use crate::cli::open::{self, Source};
use crate::config::Config;
use crate::gate::NoServerKey;
use crate::names::ServerName;
use crate::proxy::{self, BackendError, Health, Listener, Options};
use crate::resolve::{Resolver, Settings};
use crate::sys;
use crate::telemetry;
use crate::tls::TlsError;
use crate::vault::{Reader, Vault};
use files::Files;
use presence::Presence;
use reload::{House, Reloader, Reloads, Served};
use stop::Leaving;

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
    reloader: Reloader,
    leaving: Leaving,
}

/// Starts to serve; returns once it listens. `source` is where `config` was read from, and is read again
/// when it changes.
///
/// # Errors
/// Whatever keeps it from serving every request it should, with what to do.
pub fn start(config: Config, source: Option<Source>) -> Result<Running, Failure> {
    sys::keep_memory_private();
    let runtime = Builder::new_multi_thread()
        .worker_threads(BACKGROUND)
        .thread_name("cloakroom-background")
        .enable_all()
        .build()
        .map_err(|error| Failure::new(StartError::Runtime(error)))?;
    let leaving = Leaving::default();
    let reloader = runtime.block_on(listen(config, source, &leaving))?;
    Ok(Running {
        runtime,
        reloader,
        leaving,
    })
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.reloader.served.listener.address()
    }

    /// Blocks until SIGINT or SIGTERM, then lets requests finish.
    pub fn wait(self) {
        let Self {
            runtime,
            mut reloader,
            leaving,
        } = self;
        runtime.block_on(async {
            let told = tokio::select! {
                told = stop::told() => told,
                () = reloader.run() => return,
            };
            let served = reloader.served;
            stop::go(&served, &leaving, told).await;
            served.presence.withdraw().await;
        });
        runtime.shutdown_timeout(Duration::from_millis(100));
    }
}

async fn listen(
    config: Config,
    source: Option<Source>,
    leaving: &Leaving,
) -> Result<Reloader, Failure> {
    let files = Files::taken(reload::files(source.as_ref(), &config));
    let house = open_house(&config).await?;
    let reloads = Arc::new(Reloads::begun());
    if let Some(address) = config.health_listen {
        let health = health(&house.resolver, &reloads, leaving);
        let health = health.serve(address).await;
        let bound = health.map_err(|error| Failure::new(StartError::from(error)))?;
        tracing::info!(%bound, "health");
    }
    let (start, drain, is_watched) = (
        config.at_start(),
        config.drain,
        config.health_listen.is_some(),
    );
    let (listen, threads, beacon) = (config.listen, config.threads, house.beacon(&config));
    let connections = house.descriptors.connections;
    let serving = house.serving(config, None);
    let options = Options {
        listen,
        threads,
        connections,
        serving: serving.map_err(Failure::new)?,
    };
    // Before the first request: a rotation must not pass by a process that has begun to serve.
    let presence = Presence::start(beacon).await;
    let listener = match Listener::start(options).await {
        Ok(listener) => listener,
        Err(error) => {
            presence.withdraw().await;
            return Err(Failure::new(StartError::from(error)));
        }
    };
    let served = Served {
        listener,
        presence,
        drain,
        is_watched,
    };
    Ok(Reloader {
        house,
        served,
        reloads,
        start,
        source,
        files,
    })
}

/// Opens the keyring and the store, which must belong together.
async fn open_house(config: &Config) -> Result<House, Failure> {
    let ring = Arc::new(open::keyring(&config.keyring)?);
    let store = open::store(config).await?;
    for remark in store.remarks().await.unwrap_or_default() {
        tracing::warn!(%remark, "the store works, but not as well as it should");
    }
    let vault = Vault::new(store.clone(), ring.clone());
    vault.check_keyring().await?;
    let settings = Settings {
        cache_bytes: config.store.cache,
        stale_for: config.store.stale_for,
    };
    let resolver = Resolver::new(store.clone(), Reader::new(ring.clone()), &settings);
    Ok(House {
        ring,
        store,
        resolver,
        descriptors: descriptors::divide(config.limits.connections, config.threads),
    })
}

fn health(resolver: &Resolver, reloads: &Arc<Reloads>, leaving: &Leaving) -> Health {
    let (ready, leaving) = (resolver.clone(), leaving.clone());
    let (figures, reloads) = (resolver.clone(), reloads.clone());
    Health {
        unready: Box::new(move || {
            if leaving.is_so() {
                return Some("stopping\n");
            }
            (!ready.is_ready())
                .then_some("the store has been out of reach for longer than store.stale_for\n")
        }),
        metrics: Box::new(move || metrics::page(&figures.figures(), &reloads)),
        metrics_type: telemetry::CONTENT_TYPE,
    }
}
