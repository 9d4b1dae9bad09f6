//! One connection of a client, from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower_service::Service as _;

use super::listener::Accepted;
use super::pool::Pooled;
use super::serving::Current;
use crate::layer::AnswerBody;

/// How long a client may take for a request's head, and be silent between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Most headers of a request.
const HEADERS: usize = 100;

/// Serves a connection until it ends, or until `drain` is true and it is not within a request.
pub(super) async fn serve(
    accepted: Accepted,
    current: Arc<Current>,
    mut drain: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::from_std(accepted.stream)?;
    stream.set_nodelay(true)?;
    let head_max = current.get().serving.head_max;
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
        _ = drain.wait_for(|&now| now) => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

async fn answer(
    current: Arc<Current>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody<Pooled>>, Infallible> {
    let core = current.get();
    match core.serving.guard.check(request.uri(), request.headers()) {
        Ok(()) => core.cloakroom.clone().call(request).await,
        Err(rejection) => Ok(rejection.into_response().map(AnswerBody::own)),
    }
}
