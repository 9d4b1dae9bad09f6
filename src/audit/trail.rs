//! What those who record hold.

use std::path::{PathBuf, absolute};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::{join_all, try_join_all};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout, timeout_at};

use super::lane::{Lane, Standing, WAIT};
use super::line::hex;
use super::record::Record;
use super::sinks::{FileSink, Sink, Standard, StandardSink, Stream, StreamSink};
use super::writer::Origin;
use crate::sys;
use crate::vault::{Anchor, Vault};

/// How often the store is told how far the chains go.
const ANCHOR_EVERY: Duration = Duration::from_secs(60);
/// How long one word to the store may take, and closing a sink.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a sink's first record may take.
const START: Duration = Duration::from_secs(5);

/// Where records go, and what becomes of what cannot be recorded.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file, if any.
    pub file: Option<PathBuf>,
    /// Which of the process's own streams they go to, if any.
    pub standard: Option<Standard>,
    /// Whether nothing may happen that is not recorded.
    pub required: bool,
    /// Whether what the file took is on the disk before anybody is told that it was recorded.
    pub sync: bool,
    /// How long anchors are kept that nobody writes any more.
    pub anchors_for: Duration,
}

/// Why there is no trail.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A sink does not take the first record, and has to.
    #[error("[audit] {sink}: cannot be written ({why}); mend that, or set required = false")]
    Sink {
        /// Which.
        sink: &'static str,
        /// Why.
        why: String,
    },
    /// There is nowhere to record what has to be.
    #[error("[audit] required: there is nowhere to write to; set file, stdout or redis_stream")]
    Nowhere,
    /// The system refuses what it takes.
    #[error("[audit]: the system gives no {what} ({why})")]
    System {
        /// What it takes.
        what: &'static str,
        /// Why.
        why: std::io::Error,
    },
}

/// A record was not taken by every sink in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this cannot be recorded in the audit trail now")]
pub struct Unrecorded(());

/// What became of the events of one sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Which: `file`, `stdout`, `stderr` or `stream`.
    pub sink: &'static str,
    /// Events that were recorded.
    pub written: u64,
    /// Those that were not.
    pub lost: u64,
    /// Whether it takes none now.
    pub failing: bool,
}

/// The audit trail of this process. Cheap to clone.
#[derive(Clone)]
pub struct Trail(Arc<Inner>);

struct Inner {
    lanes: Vec<Lane>,
    required: bool,
    vault: Arc<Vault>,
    host: String,
    requests: AtomicU64,
    is_closed: AtomicBool,
    /// Whether the store could not be told the last time. Held while it is told: an earlier word must not
    /// come after a later one.
    is_unanchored: Mutex<bool>,
}

impl Trail {
    /// Whether there is anywhere to record.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        !self.0.lanes.is_empty()
    }

    /// Opens every sink; `stream` is one more. Anchors go through `vault`. Its tasks run on `runtime`.
    ///
    /// # Errors
    /// With `required`, when a sink does not take the first record. Without, that is a warning in the log.
    pub async fn start(
        settings: &Settings,
        vault: Arc<Vault>,
        stream: Option<Arc<dyn Stream>>,
        runtime: &Handle,
    ) -> Result<Self, AuditError> {
        let sinks = sinks(settings, stream, runtime)?;
        if sinks.is_empty() && settings.required {
            return Err(AuditError::Nowhere);
        }
        let host = sys::host_name();
        let mut lanes = Vec::new();
        for (name, file, sink) in sinks {
            let origin = Origin {
                vault: vault.clone(),
                host: host.clone(),
                sink: name,
                file,
            };
            let started = Lane::start(origin, sink);
            let (lane, begun) = started.map_err(|why| system("thread", why))?;
            let begun = timeout(START, begun).await;
            let begun = begun.map_or(Err("it takes too long".to_owned()), |told| {
                told.unwrap_or_else(|_| Err("its thread ended".to_owned()))
            });
            match begun {
                Err(why) if settings.required => return Err(AuditError::Sink { sink: name, why }),
                // Told in the log by the lane.
                Ok(()) | Err(_) => lanes.push(lane),
            }
        }
        let trail = Self(Arc::new(Inner {
            lanes,
            required: settings.required,
            vault,
            host,
            requests: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            is_unanchored: Mutex::new(false),
        }));
        let inner = Arc::downgrade(&trail.0);
        runtime.spawn(keep_anchored(inner, settings.anchors_for));
        Ok(trail)
    }

    /// A number for a request, no other request's of this process.
    #[must_use]
    pub fn next_request(&self) -> u64 {
        self.0.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether nothing may happen that is not recorded: then [`Trail::record`] comes before it.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.0.required
    }

    /// Records what happened, without waiting. What finds no room is counted.
    pub fn note(&self, record: &Record) {
        for lane in &self.0.lanes {
            lane.note(record);
        }
    }

    /// Records what is about to happen, and waits until every sink took it: a quarter of a second at most.
    /// While a sink is known to fail it does not wait, but for one caller every quarter of a second.
    ///
    /// # Errors
    /// When a sink did not take it. The record may be there all the same.
    pub async fn record(&self, record: Record) -> Result<(), Unrecorded> {
        let until = tokio::time::Instant::now() + WAIT;
        let lanes = &self.0.lanes;
        if !lanes.iter().all(Lane::admits) {
            return Err(Unrecorded(()));
        }
        let taken = lanes.iter().map(|lane| {
            let told = lane.record(&record);
            async move {
                let told = told.ok_or(Unrecorded(()))?;
                match timeout_at(until, told).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(Unrecorded(())),
                    Err(_) => {
                        lane.is_late();
                        Err(Unrecorded(()))
                    }
                }
            }
        });
        try_join_all(taken).await.map(drop)
    }

    /// What became of the events so far, for each sink.
    #[must_use]
    pub fn figures(&self) -> Vec<Figures> {
        let of = |lane: &Lane| Figures {
            sink: lane.sink,
            written: lane.written(),
            lost: lane.lost(),
            failing: lane.is_failing(),
        };
        self.0.lanes.iter().map(of).collect()
    }

    /// Tells the store how far the chains go, where it does not know yet; happens every minute by itself.
    pub async fn anchor(&self) {
        self.0.anchor(&self.0.vault).await;
    }

    /// Writes what waits, closes the chains and tells the store that they end here. Takes some seconds at
    /// most. What is recorded after it is lost.
    pub async fn close(&self) {
        self.close_through(&self.0.vault).await;
    }

    /// As [`Trail::close`], with the keys of `vault`: since the trail was opened others may have come first.
    pub async fn close_through(&self, vault: &Vault) {
        self.0.is_closed.store(true, Ordering::Relaxed);
        let closing = self.0.lanes.iter().map(|lane| async move {
            let closed = timeout(PATIENCE, async { lane.close().await?.await.ok() }).await;
            if !matches!(closed, Ok(Some(()))) {
                tracing::warn!(sink = lane.sink, "the audit trail could not be closed");
            }
        });
        join_all(closing).await;
        self.0.anchor(vault).await;
    }
}

impl Inner {
    async fn anchor(&self, vault: &Vault) {
        let mut is_unanchored = self.is_unanchored.lock().await;
        let mut failed = None;
        for lane in &self.lanes {
            let Some(standing) = lane.to_anchor() else {
                continue;
            };
            let anchor = self.anchor_of(lane, &standing);
            let told = vault.anchor(&standing.writer, &anchor);
            match timeout(PATIENCE, told).await {
                Ok(Ok(())) => lane.anchored(&standing),
                Ok(Err(why)) => failed = Some(why.to_string()),
                Err(_) => failed = Some("it does not answer".to_owned()),
            }
        }
        let before = std::mem::replace(&mut *is_unanchored, failed.is_some());
        if let Some(why) = failed.filter(|_| !before) {
            tracing::warn!(%why, "the store could not be told how far the audit trail goes");
        }
    }

    fn anchor_of(&self, lane: &Lane, standing: &Standing) -> Anchor {
        let at = SystemTime::now().duration_since(UNIX_EPOCH);
        Anchor {
            seq: standing.head.seq,
            mac: hex(&standing.head.mac),
            at: at.map_or(0, |at| at.as_secs()),
            host: self.host.clone(),
            sink: lane.sink.to_owned(),
            file: lane.file.clone(),
            ended: standing.ended,
        }
    }
}

/// Begins at once, so that no chain goes unknown. Old anchors are left to those who live longer than a
/// command does.
async fn keep_anchored(trail: Weak<Inner>, anchors_for: Duration) {
    let mut rounds = 0u64;
    while let Some(inner) = trail.upgrade() {
        if inner.is_closed.load(Ordering::Relaxed) {
            return;
        }
        inner.anchor(&inner.vault).await;
        if rounds == 1
            && let Err(why) = inner.vault.sweep_anchors(anchors_for).await
        {
            tracing::debug!(%why, "anchors of the audit trail that are old stay");
        }
        drop(inner);
        rounds += 1;
        sleep(ANCHOR_EVERY).await;
    }
}

type Named = (&'static str, Option<String>, Box<dyn Sink>);

fn sinks(
    settings: &Settings,
    stream: Option<Arc<dyn Stream>>,
    runtime: &Handle,
) -> Result<Vec<Named>, AuditError> {
    let mut sinks: Vec<Named> = Vec::new();
    if let Some(path) = &settings.file {
        let path = absolute(path).map_err(|why| system("working directory", why))?;
        let name = path.display().to_string();
        let sink = FileSink::new(path, settings.sync);
        sinks.push(("file", Some(name), Box::new(sink)));
    }
    if let Some(standard) = settings.standard {
        let name = standard.name();
        let sink = StandardSink::open(standard).map_err(|why| system(name, why))?;
        sinks.push((name, None, Box::new(sink)));
    }
    if let Some(stream) = stream {
        let sink = StreamSink::new(stream, runtime.clone());
        sinks.push(("stream", None, Box::new(sink)));
    }
    Ok(sinks)
}

fn system(what: &'static str, why: std::io::Error) -> AuditError {
    AuditError::System { what, why }
}
