//! `/livez`, `/readyz` and `/metrics`, on a listener of their own that asks nobody for a key.
//!
//! Alive: the process answers. Ready: requests of known users will be served, which is so while
//! the store is heard, and for `store.stale_for` after: every replica shares that store, and were all
//! of them taken out, nobody would be served what is cached. A process that is about to stop is not
//! ready.

use std::convert::Infallible;
use std::net::SocketAddr;
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
use tokio::net::{TcpListener, TcpStream};

use super::keeping::Keeping;
use super::listener::StartError;
use super::places::{Place, Places};

/// How long a prober may take for a request's head, and be silent between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections of probers and scrapers.
const PROBERS: usize = 32;

/// What probers and scrapers are told.
pub struct Health {
    /// Why requests should go elsewhere, if they should.
    pub unready: Box<dyn Fn() -> Option<&'static str> + Send + Sync>,
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
    pub async fn serve(self, listen: SocketAddr) -> Result<SocketAddr, StartError> {
        let bind = |why| StartError::Bind {
            address: listen,
            why,
        };
        let listener = TcpListener::bind(listen).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let health = Arc::new(self);
        tokio::spawn(async move {
            let places = Places::new(PROBERS);
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let place = places.take().await;
                tokio::spawn(health.clone().connection(stream, place));
            }
        });
        Ok(address)
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, place: Place) {
        let service = service_fn(|request| {
            let (answer, busy) = (self.answer(&request), place.busy());
            let answer = answer.map(|body| Keeping::new(body, busy));
            async move { Ok::<_, Infallible>(answer) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        // A prober that goes away is nobody's concern, nor one that others are kept out by.
        tokio::select! {
            _ = served => {}
            () = place.wanted() => {}
        }
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
            "/readyz" if asked => match (self.unready)() {
                None => text(StatusCode::OK, "ok\n"),
                Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
            },
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
