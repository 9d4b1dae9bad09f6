//! One core: a current-thread runtime that serves its connections from accept to answer.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::connection;
use super::http1::outbox;
use super::serving::{Current, Serving, Stage};
use super::socket::Accepted;
use crate::sys;

/// Threads of one core that look up names of backends.
const LOOK_UPS: usize = 32;

/// The handle of a worker's thread.
pub(super) struct Worker {
    /// Takes connections.
    pub(super) connections: mpsc::UnboundedSender<Accepted>,
    /// How many it serves now.
    pub(super) open: Arc<AtomicUsize>,
}

impl Worker {
    /// Starts the thread, which ends once the handle is dropped and its connections are done.
    pub(super) fn start(
        index: usize,
        serving: watch::Receiver<Arc<Serving>>,
        stage: watch::Receiver<Stage>,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        // Each has a place, of which there are so many and no more.
        let (connections, incoming) = mpsc::unbounded_channel();
        let open = Arc::new(AtomicUsize::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(LOOK_UPS)
            .build()?;
        let counter = open.clone();
        let thread = std::thread::Builder::new()
            .name(format!("cloakroom-{index}"))
            .spawn(move || runtime.block_on(work(serving, incoming, counter, stage)))?;
        Ok((Self { connections, open }, thread))
    }
}

async fn work(
    mut serving: watch::Receiver<Arc<Serving>>,
    mut incoming: mpsc::UnboundedReceiver<Accepted>,
    open: Arc<AtomicUsize>,
    mut stage: watch::Receiver<Stage>,
) {
    tokio::spawn(outbox::open());
    let mut connections = JoinSet::new();
    let mut sweep = tokio::time::interval(Duration::from_secs(1));
    let current = Arc::new(Current::new(&mut serving));
    let stages = stage.clone();
    let start = |accepted, connections: &mut JoinSet<()>| {
        let counted = Counted(open.clone());
        let (current, stages) = (current.clone(), stages.clone());
        connections.spawn(async move {
            let _counted = counted;
            let mut served = pin!(connection::serve(accepted, current, stages));
            if let Err(error) = poll_fn(|cx| sys::turn(|| served.as_mut().poll(cx))).await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    };
    loop {
        tokio::select! {
            accepted = incoming.recv() => match accepted {
                Some(accepted) => start(accepted, &mut connections),
                None => break,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            Ok(()) = serving.changed() => current.swap(serving.borrow_and_update().clone()),
            _ = sweep.tick() => current.sweep(),
            Ok(()) = stage.changed() => {
                if *stage.borrow_and_update() >= Stage::Leaving {
                    current.leave();
                }
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Counts a connection for as long as it is open.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
