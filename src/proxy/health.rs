//! `/livez`, `/readyz` and `/metrics`, on a listener of their own that asks nobody for a key.
//!
//! Alive: the process answers. Ready: requests of known users will be served, which is so while
//! the store is heard, and for `store.stale_for` after: every replica shares that store, and were all
//! of them taken out, nobody would be served what is cached. A process that is about to stop is not
//! ready.

use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use super::beside;
use super::listener::StartError;
use super::socket::Address;

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
    pub async fn serve(self, listen: &Address) -> Result<Address, StartError> {
        let health = Arc::new(self);
        let answer = move |request: Request<Incoming>, _| ready(health.answer(&request));
        beside::serve(listen, PROBERS, answer).await
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
