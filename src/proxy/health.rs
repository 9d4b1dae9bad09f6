//! `/livez`, `/readyz` and `/metrics`, on a listener of their own that asks nobody for a key.
//!
//! Alive: the process answers. Ready: requests of known users will be served, which is so while
//! the store is heard, and for `store.stale_for` after: every replica shares that store, and were all
//! of them taken out, nobody would be served what is cached.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::listener::{StartError, bind};
use super::socket::{Accepted, Address};

/// How long a prober may take for a request's head, and be silent between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// What probers and scrapers are told.
pub struct Health {
    /// Whether requests would be served.
    pub ready: Box<dyn Fn() -> bool + Send + Sync>,
    /// The page of figures.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Its media type.
    pub metrics_type: &'static str,
}

impl Health {
    /// Binds `listen` and serves on the current runtime; gives the address bound.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn serve(self, listen: &Address) -> Result<Address, StartError> {
        let (socket, address) = bind(listen).await?;
        let health = Arc::new(self);
        tokio::spawn(async move {
            loop {
                let Ok(accepted) = socket.accept().await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                tokio::spawn(health.clone().accepted(accepted));
            }
        });
        Ok(address)
    }

    async fn accepted(self: Arc<Self>, accepted: Accepted) {
        match accepted {
            Accepted::Tcp(stream, _) => {
                if let Ok(stream) = TcpStream::from_std(stream) {
                    self.connection(stream).await;
                }
            }
            Accepted::Unix(stream) => {
                if let Ok(stream) = UnixStream::from_std(stream) {
                    self.connection(stream).await;
                }
            }
        }
    }

    async fn connection<S: AsyncRead + AsyncWrite + Unpin>(self: Arc<Self>, stream: S) {
        let service = service_fn(|request| {
            let answer = self.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        // A prober that goes away is nobody's concern.
        let _ = served.await;
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let asked = matches!(request.method(), &Method::GET | &Method::HEAD);
        let text = |status, text: &'static str| {
            let mut response = Response::new(Full::from(text));
            *response.status_mut() = status;
            response
        };
        match request.uri().path() {
            "/livez" if asked => text(StatusCode::OK, "ok\n"),
            "/readyz" if asked && (self.ready)() => text(StatusCode::OK, "ok\n"),
            "/readyz" if asked => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the store has been out of reach for longer than store.stale_for\n",
            ),
            "/metrics" if asked => {
                let mut response = Response::new(Full::from((self.metrics)()));
                let kind = HeaderValue::from_static(self.metrics_type);
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /livez, /readyz and /metrics\n",
            ),
        }
    }
}
