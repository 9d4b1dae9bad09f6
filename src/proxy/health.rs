//! `/livez` and `/readyz`, on a listener of their own that asks nobody for a key.
//!
//! Alive: the process answers. Ready: requests of known users will be served, which is so while
//! changes of the store are pushed. While they are not, what is cached is still served for a while,
//! but new users cannot be told from strangers, so other replicas are the better choice.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use super::listener::StartError;

/// How long a prober may take for a request's head, and be silent between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Tells whether requests would be served.
pub type Ready = Arc<dyn Fn() -> bool + Send + Sync>;

/// Binds `listen` and serves on the current runtime; gives the address bound.
///
/// # Errors
/// When the address cannot be had.
pub async fn serve_health(listen: SocketAddr, ready: Ready) -> Result<SocketAddr, StartError> {
    let bind = |why| StartError::Bind {
        address: listen,
        why,
    };
    let listener = TcpListener::bind(listen).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let ready = ready.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = answer(&request, &ready);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                // A prober that goes away is nobody's concern.
                let _ = served.await;
            });
        }
    });
    Ok(address)
}

fn answer(request: &Request<Incoming>, ready: &Ready) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/livez") => (StatusCode::OK, "ok\n"),
        (&Method::GET | &Method::HEAD, "/readyz") if ready() => (StatusCode::OK, "ok\n"),
        (&Method::GET | &Method::HEAD, "/readyz") => (
            StatusCode::SERVICE_UNAVAILABLE,
            "changes of the store are not being pushed\n",
        ),
        _ => (StatusCode::NOT_FOUND, "there are /livez and /readyz\n"),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
