//! One core: a current-thread runtime that serves its connections from accept to answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::connection;
use super::listener::Accepted;
use super::serving::{Current, Serving};

/// The handle of a worker's thread.
pub(super) struct Worker {
    /// Takes connections.
    pub(super) connections: mpsc::UnboundedSender<Accepted>,
    /// How many it serves now.
    pub(super) open: Arc<AtomicUsize>,
    pub(super) thread: JoinHandle<()>,
}

impl Worker {
    /// Starts the thread. It ends once `drain` is true and its connections are done.
    pub(super) fn start(
        index: usize,
        serving: watch::Receiver<Arc<Serving>>,
        drain: watch::Receiver<bool>,
    ) -> std::io::Result<Self> {
        let (connections, incoming) = mpsc::unbounded_channel();
        let open = Arc::new(AtomicUsize::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let counter = open.clone();
        let thread = std::thread::Builder::new()
            .name(format!("cloakroom-{index}"))
            .spawn(move || runtime.block_on(work(serving, incoming, counter, drain)))?;
        Ok(Self {
            connections,
            open,
            thread,
        })
    }
}

async fn work(
    mut serving: watch::Receiver<Arc<Serving>>,
    mut incoming: mpsc::UnboundedReceiver<Accepted>,
    open: Arc<AtomicUsize>,
    mut drain: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut sweep = tokio::time::interval(Duration::from_secs(1));
    let current = Arc::new(Current::new(&mut serving));
    let draining = drain.clone();
    let start = |accepted, connections: &mut JoinSet<()>| {
        let counted = Counted(open.clone());
        let (current, draining) = (current.clone(), draining.clone());
        connections.spawn(async move {
            let _counted = counted;
            if let Err(error) = connection::serve(accepted, current, draining).await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    };
    loop {
        tokio::select! {
            Some(accepted) = incoming.recv() => start(accepted, &mut connections),
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            Ok(()) = serving.changed() => current.swap(serving.borrow_and_update().clone()),
            _ = sweep.tick() => current.sweep(),
            _ = drain.wait_for(|&now| now) => break,
        }
    }
    // What was accepted may have a request on it already.
    incoming.close();
    while let Ok(accepted) = incoming.try_recv() {
        start(accepted, &mut connections);
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
