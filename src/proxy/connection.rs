//! One connection of a client, from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower_service::Service as _;

use super::account::{Accounted, Entry};
use super::listener::Accepted;
use super::serving::{Current, Stage};
use crate::layer::AnswerBody;
use crate::telemetry::Gauge;

/// How long a client may take for a request's head, and be silent between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Most headers of a request.
const HEADERS: usize = 100;

/// Serves a connection until it ends, or until the process stops and it is not within a request.
pub(super) async fn serve(
    accepted: Accepted,
    current: Arc<Current>,
    mut stage: watch::Receiver<Stage>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::from_std(accepted.stream)?;
    stream.set_nodelay(true)?;
    let core = current.get();
    let head_max = core.serving.head_max;
    let _open = Open::new(&core.serving.account.metrics().connections);
    drop(core);
    let service = service_fn(move |request| answer(current.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS)
        .max_header_size(head_max)
        .max_buf_size(head_max.max(64 * 1024))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        done = connection.as_mut() => return Ok(done?),
        _ = stage.wait_for(|&now| now == Stage::Stopping) => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

/// A connection counts for as long as it is open.
struct Open(Gauge);

impl Open {
    fn new(count: &Gauge) -> Self {
        count.inc();
        Self(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn answer(
    current: Arc<Current>,
    mut request: Request<Incoming>,
) -> Result<Response<Accounted>, Infallible> {
    let core = current.get();
    let entry = Entry::begin(&core, &mut request);
    let mut response = match core.serving.guard.check(request.uri(), request.headers()) {
        Ok(()) => core.cloakroom.clone().call(request).await?,
        Err(rejection) => rejection.into_response().map(AnswerBody::own),
    };
    if current.is_leaving() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(entry.answered(response))
}
