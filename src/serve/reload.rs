//! The configuration in force, and another in its place while requests are served.
//!
//! It is read again after SIGHUP, and when its file or one it names was changed: written, replaced, or
//! reached by another way (Kubernetes swaps a symlink above it); they are looked at every second. What was
//! changed is read once it has not changed for a second more; half a file would not be taken either.
//!
//! A configuration is taken whole or not at all. One that cannot be used leaves the one in force as it
//! is, and is not tried again before something changes. A few keys count only when a process starts;
//! where they differ the rest is taken, and the log and `/metrics` say so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::house::House;
use super::presence::Presence;
use super::{admin, assemble};
use crate::cli::Failure;
use crate::cli::open::Source;
use crate::config::{AtStart, Config, Drain};
use crate::proxy::{Address, Listener};
use crate::sys::Watched;
use crate::vault::now_seconds;

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What is told of reloads.
#[derive(Default)]
pub(super) struct Reloads {
    pub(super) taken: AtomicU64,
    pub(super) refused: AtomicU64,
    /// When the configuration in force was read; unix seconds.
    pub(super) last_taken: AtomicU64,
    /// Whether the last one that was read is in force.
    pub(super) is_latest: AtomicBool,
    /// Whether keys differ that count only when a process starts.
    pub(super) wants_restart: AtomicBool,
}

impl Reloads {
    /// A process begins with the configuration it has read.
    pub(super) fn begun() -> Self {
        Self {
            last_taken: now_seconds().into(),
            is_latest: true.into(),
            ..Self::default()
        }
    }
}

/// What is served, by the configuration in force.
pub(super) struct Served {
    pub(super) listener: Listener,
    pub(super) presence: Presence,
    pub(super) drain: Drain,
    /// Where the admin API is served, if anywhere.
    pub(super) admin: Option<Address>,
    /// Whether somebody may ask whether this process is ready.
    pub(super) is_watched: bool,
}

/// Keeps the configuration in force.
pub(super) struct Reloader {
    pub(super) house: House,
    pub(super) served: Served,
    pub(super) reloads: Arc<Reloads>,
    /// As it was when the process started.
    pub(super) start: AtStart,
    /// Where it is read from; none for a configuration that was made up.
    pub(super) source: Option<Source>,
    pub(super) files: Watched,
}

/// The files that make up a configuration.
pub(super) fn files(source: Option<&Source>, config: &Config) -> Vec<PathBuf> {
    let own = source.and_then(Source::path);
    own.into_iter()
        .chain(config.files())
        .map(Path::to_owned)
        .collect()
}

impl Reloader {
    /// Reloads whenever there is reason to, for ever.
    pub(super) async fn run(&mut self) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            tracing::warn!(
                "the system does not pass SIGHUP on: restart to change the configuration"
            );
            return std::future::pending().await;
        };
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = tokio::select! {
                _ = hangup.recv() => true,
                _ = tick.tick() => self.files.have_changed(),
            };
            if due {
                self.reload().await;
            }
        }
    }

    async fn reload(&mut self) {
        self.files.take();
        let taken = self.take().await;
        self.reloads
            .is_latest
            .store(taken.is_ok(), Ordering::Relaxed);
        match taken {
            Ok(differing) => {
                let reloads = &self.reloads;
                reloads.taken.fetch_add(1, Ordering::Relaxed);
                reloads.last_taken.store(now_seconds(), Ordering::Relaxed);
                reloads
                    .wants_restart
                    .store(!differing.is_empty(), Ordering::Relaxed);
                tracing::info!("the configuration was read again and is in force");
                if !differing.is_empty() {
                    let keys = differing.join(", ");
                    tracing::warn!(keys, "changed too, and to count only after a restart");
                }
            }
            Err(failure) => {
                self.reloads.refused.fetch_add(1, Ordering::Relaxed);
                for line in failure.to_string().lines() {
                    tracing::error!("the new configuration cannot be used: {line}");
                }
                tracing::error!("the configuration from before stays in force");
            }
        }
    }

    /// Takes the configuration as it is now; gives the keys that wait for a restart.
    async fn take(&mut self) -> Result<Vec<&'static str>, Failure> {
        let Some(source) = &self.source else {
            return Err(Failure::new("this process was not started from a file"));
        };
        let config = source.load()?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let files = self.files.among(files(self.source.as_ref(), &config));
        let differing = self.start.differing(&config.at_start());
        let beacon = self.house.beacon(&config);
        let (drain, known) = (config.drain, admin::in_force(&config));
        let before = self.served.listener.serving();
        let commands = self.house.commands(&config, Some(source)).await;
        let commands = commands.map_err(Failure::new)?;
        let people = config.people.clone();
        let serving = assemble::serving(config, &self.house, Some(&before), commands);
        let serving = serving.map_err(Failure::new)?;
        // Before the first request to a new server: a rotation must not pass by who serves it.
        let presence = Presence::start(beacon).await;
        // First, so that no server is there before the rules it came with.
        assemble::put_in_force(&people, &self.house);
        self.served.listener.swap(serving);
        self.house.known.replace(known);
        let before = std::mem::replace(&mut self.served.presence, presence);
        before.withdraw().await;
        self.served.drain = drain;
        self.files = files;
        Ok(differing)
    }
}
