//! One core: a current-thread runtime that serves its connections from accept to answer.

use std::net::TcpStream as StdTcpStream;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tower_layer::Layer as _;
use tower_service::Service as _;

use super::forward::Forward;
use super::guard::Guard;
use crate::layer::{AnswerBody, Cloakroom, CloakroomLayer};

/// How long a client may take for a request's head, and be silent between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Most headers of a request.
const HEADERS: usize = 100;

/// What every worker has its own copy of.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) guard: Arc<Guard>,
    pub(super) layer: CloakroomLayer,
    pub(super) forward: Forward,
    /// Bytes of a request's head.
    pub(super) head_max: usize,
}

/// The handle of a worker's thread.
pub(super) struct Worker {
    /// Takes connections.
    pub(super) connections: mpsc::UnboundedSender<StdTcpStream>,
    /// How many it serves now.
    pub(super) open: Arc<AtomicUsize>,
    pub(super) thread: JoinHandle<()>,
}

impl Worker {
    /// Starts the thread. It ends once `drain` is true and its connections are done.
    pub(super) fn start(
        index: usize,
        parts: Parts,
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
            .spawn(move || runtime.block_on(work(parts, incoming, counter, drain)))?;
        Ok(Self {
            connections,
            open,
            thread,
        })
    }
}

async fn work(
    parts: Parts,
    mut incoming: mpsc::UnboundedReceiver<StdTcpStream>,
    open: Arc<AtomicUsize>,
    mut drain: watch::Receiver<bool>,
) {
    let mut serving = JoinSet::new();
    let mut sweep = tokio::time::interval(Duration::from_secs(1));
    let draining = drain.clone();
    let start = |stream, serving: &mut JoinSet<()>| {
        let counted = Counted(open.clone());
        let (parts, draining) = (parts.clone(), draining.clone());
        serving.spawn(async move {
            let _counted = counted;
            if let Err(error) = serve(stream, parts, draining).await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    };
    loop {
        tokio::select! {
            Some(stream) = incoming.recv() => start(stream, &mut serving),
            Some(_) = serving.join_next(), if !serving.is_empty() => {}
            _ = sweep.tick() => parts.forward.sweep(),
            _ = drain.wait_for(|&now| now) => break,
        }
    }
    // What was accepted may have a request on it already.
    incoming.close();
    while let Ok(stream) = incoming.try_recv() {
        start(stream, &mut serving);
    }
    while serving.join_next().await.is_some() {}
}

/// Counts a connection for as long as it is open.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(
    stream: StdTcpStream,
    parts: Parts,
    mut drain: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::from_std(stream)?;
    stream.set_nodelay(true)?;
    let cloakroom = parts.layer.layer(parts.forward);
    let guard = parts.guard;
    let service = service_fn(move |request| answer(guard.clone(), cloakroom.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS)
        .max_header_size(parts.head_max)
        .max_buf_size(parts.head_max.max(64 * 1024))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        done = connection.as_mut() => return Ok(done?),
        _ = drain.wait_for(|&now| now) => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

async fn answer(
    guard: Arc<Guard>,
    mut cloakroom: Cloakroom<Forward>,
    request: Request<Incoming>,
) -> Result<http::Response<AnswerBody<super::pool::Pooled>>, std::convert::Infallible> {
    match guard.check(request.uri(), request.headers()) {
        Ok(()) => cloakroom.call(request).await,
        Err(rejection) => Ok(rejection.into_response().map(AnswerBody::own)),
    }
}
