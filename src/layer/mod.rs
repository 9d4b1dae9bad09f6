//! A [`tower_layer::Layer`] that lets many people use the one-person MCP service inside it.
//!
//! 1. Every request is authenticated by the key it carries, before its body is read.
//! 2. The service inside sees a request with a body that was read whole and judged, the headers a
//!    backend may see, the user's secrets where the slots say, and a [`Caller`] in its extensions.
//!    It never sees the client's key, cookies, query or anything else the client sent.
//! 3. Session and event ids leave sealed for user, server and profile, and come back opened.
//! 4. Answers stream through as they come. When the key is revoked, open streams end, and other
//!    answers that are not there yet are cut.
//! 5. Whatever goes wrong is one [`crate::rejection::Rejection`], also in the extensions of the
//!    response.
//!
//! Deployment caveat: the layer does not check Host and Origin, which protect a listener on loopback
//! against web pages (DNS rebinding); the listener of `cloakroom serve` does, before the layer.

mod answer;
mod body;
mod call;
mod failure;
mod limits;
mod route;
mod service;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use tower_layer::Layer;

pub use body::AnswerBody;
pub use failure::{BoxError, Failure};
pub use limits::Limits;
pub use route::Routes;
pub use service::Cloakroom;

use crate::gate::{Door, Gate};
use crate::names::{ProfileName, ServerName};
use crate::resolve::Identity;
use limits::Budget;

/// On whose behalf a request inside the layer is made. In the request's extensions.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who calls.
    pub identity: Identity,
    /// The server called.
    pub server: ServerName,
    /// The profile whose secrets are used.
    pub profile: ProfileName,
}

struct Shared {
    gate: Arc<Gate>,
    routes: Routes,
    budget: Budget,
    replaced: AtomicU64,
}

impl Shared {
    /// A client that sends what a slot sets is replaced, and counted: it may be an attempt.
    fn count_replaced(&self, door: &Door, client: &HeaderMap, query: Option<&str>) {
        let ours =
            |name: &str| usize::from(client.contains_key(name) && door.slots().has_header(name));
        // The header that carries the key is no attempt.
        let replaced =
            door.slots().replaced(client, query) - ours("authorization") - ours("x-api-key");
        if replaced > 0 {
            self.replaced.fetch_add(replaced as u64, Ordering::Relaxed);
            tracing::debug!(server = %door.server(), replaced, "the client sent what a slot sets");
        }
    }
}

/// Wraps services in a [`Cloakroom`].
#[derive(Clone)]
pub struct CloakroomLayer {
    shared: Arc<Shared>,
}

impl CloakroomLayer {
    /// A layer that lets requests through `gate` to where `routes` say.
    #[must_use]
    pub fn new(gate: Arc<Gate>, routes: Routes, limits: Limits) -> Self {
        let shared = Shared {
            gate,
            routes,
            budget: Budget::new(limits),
            replaced: AtomicU64::new(0),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// How many values clients sent where a slot sets one.
    #[must_use]
    pub fn replaced(&self) -> u64 {
        self.shared.replaced.load(Ordering::Relaxed)
    }
}

impl<S> Layer<S> for CloakroomLayer {
    type Service = Cloakroom<S>;

    fn layer(&self, inner: S) -> Cloakroom<S> {
        Cloakroom::new(inner, self.shared.clone())
    }
}
