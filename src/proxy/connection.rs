//! One connection of a client, from its first byte to its last.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, ORIGIN};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower_service::Service as _;

use super::cors;
use super::flood::Late;
use super::keeping::Keeping;
use super::listener::Accepted;
use super::pool::Pooled;
use super::serving::{Core, Current, Stage};
use super::strict::Strict;
use crate::layer::AnswerBody;
use crate::rejection::Rejection;

/// How long a connection without a request may take to end once somebody else is to have its place.
const ROOM: Duration = Duration::from_millis(250);
/// The same once the process stops: a first request may be on its way.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// Whom a request comes from, if that is known. In the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

/// Serves a connection until it ends, or until the process stops or another is to have its place, and it
/// is not within a request.
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
    let (peer, place) = (accepted.peer, accepted.place);
    let service = service_fn(|mut request: Request<Incoming>| {
        let busy = (place.busy(), line.busy());
        let (line, current) = (line.clone(), current.clone());
        request.extensions_mut().insert(ClientAddress(Some(peer)));
        async move {
            let mut response = match line.refusal(request.uri()) {
                Some(rejection) => own(rejection),
                None => line.explain(answer(&current.get(), request).await, own),
            };
            if current.is_leaving() {
                close(&mut response);
            }
            Ok::<_, Infallible>(response.map(|body| Keeping::new(body, busy)))
        }
    });
    let connection = http1::Builder::new()
        .max_header_size(settings.head_max)
        .max_buf_size(settings.head_max.max(64 * 1024))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let patience = tokio::select! {
        done = connection.as_mut() => return Ok(done?),
        _ = stage.wait_for(|&now| now == Stage::Stopping) => LAST_REQUEST,
        () = place.wanted() => ROOM,
    };
    connection.as_mut().graceful_shutdown();
    loop {
        match timeout(patience, connection.as_mut()).await {
            Ok(done) => return Ok(done?),
            // It has sent part of a head, or does not read its last answer.
            Err(_) if place.is_idle() => return Ok(()),
            Err(_) => {}
        }
    }
}

/// Past the guard, which the answer to a page's browser needs as well, to the layer.
async fn answer(core: &Core, request: Request<Incoming>) -> Response<AnswerBody<Pooled>> {
    if let Err(rejection) = core.serving.guard.check(&request) {
        return own(rejection);
    }
    if let Some(answer) = cors::preflight(&request) {
        return answer.map(AnswerBody::own);
    }
    let page = request.headers().get(ORIGIN).cloned();
    let address = request.extensions().get::<ClientAddress>();
    let address = address.and_then(|ClientAddress(address)| *address);
    let Ok(mut response) = core.cloakroom.clone().call(request).await;
    if let Some(address) = address.filter(|_| is_wrong_key(&response)) {
        response = hold_back(response, core.serving.flood.failed(address)).await;
    }
    if let Some(origin) = page {
        cors::share(response.headers_mut(), origin);
    }
    response
}

fn is_wrong_key<B>(response: &Response<B>) -> bool {
    let rejection = response.extensions().get::<Rejection>();
    rejection.is_some_and(|rejection| rejection.status() == StatusCode::UNAUTHORIZED)
}

/// The answer to a wrong key, in its time.
async fn hold_back<B>(mut response: Response<B>, late: Late) -> Response<B> {
    match late {
        Late::Not => {}
        Late::By(delay, _holding) => sleep(delay).await,
        Late::Cut => close(&mut response),
    }
    response
}

fn own(rejection: Rejection) -> Response<AnswerBody<Pooled>> {
    rejection.into_response().map(AnswerBody::own)
}

/// Asks the client not to use the connection again.
fn close<B>(response: &mut Response<B>) {
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
}
