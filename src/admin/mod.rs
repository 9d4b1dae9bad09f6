//! The admin API: users, groups, keys, access and secrets, as JSON over HTTP. Thin over the [`Vault`].
//!
//! A request passes `guard` (Host and Origin), then `auth` (an administrator's key, and what its role may do),
//! then its handler. Whatever changes something goes through `acts`, so that it is recorded or not done.
//! Every error is a problem document (RFC 9457) made by `problem`. What the routes take and answer is
//! said once, by the types of the handlers: they parse, and `openapi` describes them.

mod access;
mod acts;
mod admin_keys;
mod auth;
mod body;
mod groups;
mod guard;
mod in_force;
mod keys;
mod openapi;
mod page;
mod problem;
mod secrets;
mod status;
mod usage;
mod users;
mod words;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Request, Response};
use tokio::time::timeout;
use tower_service::Service as _;

pub use in_force::{InForce, Known, Server};
use problem::Problem;

use crate::audit::Trail;
use crate::vault::Vault;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the API works with.
pub struct Settings {
    /// What it changes.
    pub vault: Vault,
    /// What the configuration in force says.
    pub known: Arc<Known>,
    /// Where everything that is changed is recorded.
    pub trail: Trail,
    /// Whether the store is heard.
    pub is_ready: Box<dyn Fn() -> bool + Send + Sync>,
}

/// The API.
pub struct Admin {
    known: Arc<Known>,
    router: Router,
}

/// What every handler has.
struct Desk {
    vault: Vault,
    known: Arc<Known>,
    trail: Trail,
    is_ready: Box<dyn Fn() -> bool + Send + Sync>,
    since: Instant,
}

type Shared = Arc<Desk>;

/// From where a request came; nowhere on a Unix socket.
#[derive(Clone, Copy)]
struct CameFrom(Option<IpAddr>);

impl Admin {
    /// The API over this vault.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let desk = Desk {
            vault: settings.vault,
            known: settings.known.clone(),
            trail: settings.trail,
            is_ready: settings.is_ready,
            since: Instant::now(),
        };
        Self {
            known: settings.known,
            router: openapi::router().with_state(Arc::new(desk)),
        }
    }

    /// Answers a request that came from this address; from none, if over a Unix socket.
    pub async fn answer<B>(&self, mut request: Request<B>, from: Option<IpAddr>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let mut response = match guard::check(&self.known.now().guard, &request, from) {
            Err(problem) => problem.response(),
            Ok(()) => {
                request.extensions_mut().insert(CameFrom(from));
                let mut router = self.router.clone();
                match timeout(PATIENCE, router.call(request)).await {
                    Ok(Ok(response)) => response,
                    Ok(Err(never)) => match never {},
                    Err(_) => Problem::late().response(),
                }
            }
        };
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().insert(CACHE_CONTROL, no_store);
        response
    }
}
