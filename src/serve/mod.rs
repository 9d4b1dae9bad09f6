//! Puts the house together: configuration, keyring and store in; a listener out.
//!
//! Requests are served on a thread per core (see [`crate::proxy`]). Everything else, accepting, the
//! store, its watch, lives on a runtime of its own, so that nothing slow ever holds up a core.

mod admin;
mod assemble;
mod certificate;
mod commands;
mod control;
mod descriptors;
mod house;
mod leftovers;
mod metrics;
mod presence;
mod reload;
mod stop;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::cli::Failure;
use crate::cli::open::Source;
use crate::config::{Config, LogFormat};
use crate::gate::NoServerKey;
use crate::launch::{LaunchError, ReadableError};
use crate::names::ServerName;
use crate::packages::PackageError;
use crate::proxy::{self, Address, BackendError, Health, Listener, Options};
use crate::sys::{self, Image, Watched};
use crate::telemetry;
use crate::tls::TlsError;
use house::House;
use presence::Presence;
use reload::{Reloader, Reloads, Served};
use stop::{Leaving, Signals};

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
    /// The system cannot keep children apart.
    #[error(
        "servers.{0}: this system has no Landlock (Linux 5.13 and later, unless it was left out), which \
         keeps children apart; write sandbox = \"none\" to run them without"
    )]
    NoLandlock(ServerName),
    /// There is nothing that starts children.
    #[error(transparent)]
    NoLauncher(#[from] LaunchError),
    /// The folder of what children leave cannot be made.
    #[error("data_dir: cannot be made ({0}); write a path Cloakroom may write to")]
    DataDir(std::io::Error),
    /// A command cannot be run, or could read what no child may.
    #[error("servers.{0}.command: {1}")]
    Command(ServerName, ReadableError),
    /// A package cannot be had.
    #[error("servers.{0}: {1}")]
    Package(ServerName, PackageError),
    /// There is nothing to check a server's certificate with.
    #[error("servers.{0}: {1}")]
    Tls(ServerName, TlsError),
    /// There is nothing to show where clients connect.
    #[error("tls: {0}")]
    Certificate(TlsError),
    /// The listener does not start.
    #[error(transparent)]
    Listener(#[from] proxy::StartError),
    /// Traces cannot be sent as configured.
    #[error("telemetry.otlp_endpoint: {0}")]
    Traces(String),
    /// The system gives no runtime.
    #[error("the system gives no event loop: {0}")]
    Runtime(std::io::Error),
}

/// When what only a start needs is over.
const SETTLED: Duration = Duration::from_secs(1);

/// Serving, until it is dropped or told to stop.
pub struct Running {
    runtime: Runtime,
    reloader: Reloader,
    leaving: Leaving,
    signals: Signals,
}

/// What lines of the log look like, as `config` says.
#[must_use]
pub fn log_format(config: &Config) -> telemetry::Format {
    match config.log_format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    }
}

/// Starts to serve; returns once it listens. `source` is where `config` was read from, and is read again
/// when it changes.
///
/// # Errors
/// Whatever keeps it from serving every request it should, with what to do.
pub fn start(config: Config, source: Option<Source>) -> Result<Running, Failure> {
    sys::keep_memory_private();
    // Before there are threads.
    let image = Image::loaded();
    let runtime = Builder::new_multi_thread()
        .worker_threads(BACKGROUND)
        .thread_name("cloakroom-background")
        .enable_all()
        .build()
        .map_err(|error| Failure::new(StartError::Runtime(error)))?;
    let leaving = Leaving::default();
    let signals = {
        let _inside = runtime.enter();
        Signals::new()
    };
    let mut signals = signals.map_err(|error| Failure::new(StartError::Runtime(error)))?;
    let reloader = runtime.block_on(async {
        // Whatever is being installed or waited for is given up in order.
        tokio::select! {
            reloader = listen(config, source, &leaving) => reloader,
            told = signals.told() => Err(Failure::stopped(told.number())),
        }
    })?;
    runtime.spawn(async {
        sleep(SETTLED).await;
        let _ = spawn_blocking(move || image.forget_start()).await;
        #[cfg(feature = "jemalloc")]
        sys::give_back_when_idle();
    });
    Ok(Running {
        runtime,
        reloader,
        leaving,
        signals,
    })
}

impl Running {
    /// Where it listens: `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`.
    #[must_use]
    pub fn url(&self) -> String {
        let Reloader { served, house, .. } = &self.reloader;
        match (served.listener.address(), house.tls.is_some()) {
            (Address::Tcp(address), false) => format!("http://{address}"),
            (Address::Tcp(address), true) => format!("https://{address}"),
            (unix, _) => unix.to_string(),
        }
    }

    /// Where the admin API is served, if anywhere.
    #[must_use]
    pub fn admin(&self) -> Option<&Address> {
        self.reloader.served.admin.as_ref()
    }

    /// Blocks until SIGINT or SIGTERM, then lets requests finish.
    pub fn wait(self) {
        let Self {
            runtime,
            mut reloader,
            leaving,
            mut signals,
        } = self;
        let tracer = reloader.house.tracer.clone();
        runtime.block_on(async {
            let told = tokio::select! {
                told = signals.told() => told,
                () = reloader.run() => return,
            };
            let served = reloader.served;
            stop::go(&served, &leaving, told, &mut signals).await;
            if let Some(children) = reloader.house.children.get() {
                children.stop().await;
            }
            served.presence.withdraw().await;
            reloader.house.usage.tell().await;
            reloader.house.trail.close().await;
        });
        if let Some(tracer) = &tracer {
            tracer.finish();
        }
        runtime.shutdown_timeout(Duration::from_millis(100));
    }
}

async fn listen(
    config: Config,
    source: Option<Source>,
    leaving: &Leaving,
) -> Result<Reloader, Failure> {
    let files = Watched::taken(reload::files(source.as_ref(), &config));
    let house = House::open(&config).await?;
    let reloads = Arc::new(Reloads::begun());
    let uids = config.listen_uids.as_deref();
    if let Some(listen) = config.health_listen.clone() {
        let health = health(&house, leaving);
        let health = health.serve(&assemble::address(listen, uids)).await;
        let bound = health.map_err(|error| Failure::new(StartError::from(error)))?;
        tracing::info!(%bound, "health");
    }
    let admin = match config.admin_listen.clone() {
        None => None,
        Some(listen) => {
            let bound = admin::serve(&house, &assemble::address(listen, uids)).await;
            let bound = bound.map_err(|error| Failure::new(StartError::from(error)))?;
            tracing::info!(%bound, "admin");
            Some(bound)
        }
    };
    let (start, drain, is_watched) = (
        config.at_start(),
        config.drain,
        config.health_listen.is_some(),
    );
    let listen = assemble::address(config.listen.clone(), uids);
    let (threads, beacon) = (config.threads, house.beacon(&config));
    let connections = house.descriptors.connections;
    let commands = house.commands(&config, source.as_ref()).await;
    let commands = commands.map_err(Failure::new)?;
    assemble::put_in_force(&config.people, &house);
    let serving = assemble::serving(config, &house, None, commands);
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
    metrics::show(&house, listener.served(), reloads.clone());
    let served = Served {
        listener,
        presence,
        drain,
        admin,
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

fn health(house: &House, leaving: &Leaving) -> Health {
    let (ready, leaving) = (house.resolver.clone(), leaving.clone());
    let metrics = house.metrics.clone();
    Health {
        unready: Box::new(move || {
            if leaving.is_so() {
                return Some("stopping\n");
            }
            (!ready.is_ready())
                .then_some("the store has been out of reach for longer than store.stale_for\n")
        }),
        metrics: Box::new(move || metrics.page()),
        metrics_type: telemetry::CONTENT_TYPE,
    }
}
