//! One connection of a client, from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use http::header::{CONNECTION, HeaderValue, ORIGIN};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower_service::Service as _;

use super::cors;
use super::listener::Accepted;
use super::pool::Pooled;
use super::serving::{Core, Current, Stage};
use super::strict::{Answered, Strict};
use crate::layer::AnswerBody;
use crate::rejection::Rejection;

/// Serves a connection until it ends, or until the process stops and it is not within a request.
pub(super) async fn serve(
    accepted: Accepted,
    current: Arc<Current>,
    mut stage: watch::Receiver<Stage>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::from_std(accepted.stream)?;
    stream.set_nodelay(true)?;
    let settings = current.get().serving.clients;
    // It has the deadlines too, so the library needs none.
    let (stream, line) = Strict::new(stream, settings);
    let service = service_fn(move |request| {
        let busy = line.busy();
        let (line, current) = (line.clone(), current.clone());
        async move {
            let response = match line.refusal(request.uri()) {
                Some(rejection) => own(rejection),
                None => line.explain(answer(current, request).await, own),
            };
            Ok::<_, Infallible>(response.map(|body| Answered::new(body, busy)))
        }
    });
    let connection = http1::Builder::new()
        .max_header_size(settings.head_max)
        .max_buf_size(settings.head_max.max(64 * 1024))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        done = connection.as_mut() => return Ok(done?),
        _ = stage.wait_for(|&now| now == Stage::Stopping) => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

async fn answer(current: Arc<Current>, request: Request<Incoming>) -> Response<AnswerBody<Pooled>> {
    let mut response = pass(&current.get(), request).await;
    if current.is_leaving() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

/// Past the guard, which the answer to a page's browser needs as well, to the layer.
async fn pass(core: &Core, request: Request<Incoming>) -> Response<AnswerBody<Pooled>> {
    if let Err(rejection) = core.serving.guard.check(&request) {
        return own(rejection);
    }
    if let Some(answer) = cors::preflight(&request) {
        return answer.map(AnswerBody::own);
    }
    let page = request.headers().get(ORIGIN).cloned();
    let Ok(mut response) = core.cloakroom.clone().call(request).await;
    if let Some(origin) = page {
        cors::share(response.headers_mut(), origin);
    }
    response
}

fn own(rejection: Rejection) -> Response<AnswerBody<Pooled>> {
    rejection.into_response().map(AnswerBody::own)
}
