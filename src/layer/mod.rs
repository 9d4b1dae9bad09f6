//! A [`tower_layer::Layer`] that lets many people use the one-person MCP service inside it.
//!
//! 1. Every request is authenticated by the key it carries, before its body is read.
//! 2. The service inside sees a request with a body that was read whole and judged, the headers a
//!    backend may see, the user's secrets where the slots say, and a [`Caller`] in its extensions.
//!    It never sees the client's key, cookies, query or anything else the client sent.
//! 3. Session, event and task ids leave sealed for user, server and profile, and come back opened.
//! 4. Answers stream through as they come. When the key is revoked, open streams end, and other
//!    answers that are not there yet are cut.
//! 5. What a slot sets as an argument is hidden from every list of tools, and spliced into every call.
//! 6. What a service that chooses among several replicas says it chose ([`ServedBy`]) leaves sealed in the
//!    session's id, and comes back with every request of that session ([`Affinity`]).
//! 7. Whatever goes wrong is one [`crate::rejection::Rejection`], also in the extensions of the
//!    response.
//!
//! Deployment caveat: the layer does not check Host and Origin, which protect a listener on loopback
//! against web pages (DNS rebinding); the listener of `cloakroom serve` does, before the layer.

mod answer;
mod answer_head;
mod aside;
mod body;
mod budget;
mod call;
mod closing;
mod exchange;
mod failure;
mod head;
mod in_place;
mod inside;
mod lease;
mod merged;
mod mirror;
mod observe;
mod opening;
mod ready;
mod request_body;
mod route;
mod rules;
mod schema;
mod service;
mod setup;
mod splice;
mod standing;
mod streams;
mod way;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::request::Parts;
use http::uri::PathAndQuery;
use tower_layer::Layer;

pub use answer::is_stream;
pub(crate) use answer_head::AnswerHead;
pub use aside::{Aside, ToolCall};
pub use body::AnswerBody;
pub use budget::{Budget, Limits, Usage};
pub use failure::{BoxError, Failure};
pub(crate) use head::Head;
pub(crate) use in_place::in_place;
pub(crate) use inside::{Inside, Returned, Told};
pub use lease::Lease;
pub use observe::{Forwarded, Observed, Observer, Recorded, Seen};
pub use request_body::RequestBody;
pub use route::{Endpoint, Route, Routes};
pub use service::Cloakroom;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use splice::spliced;

use crate::gate::{CARRIERS, Door, Gate};
use crate::names::{ProfileName, ServerName, UserName};
use crate::resolve::Identity;
use closing::{Closing, Step};
use merged::Merged;
use schema::Schemas;
use setup::SetupPage;
use streams::Streams;

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

/// In whose name the caller calls, if not in his own. In the request's extensions, put there by an outer
/// service that was told so: a client cannot. Whether he may is for the gate to say.
#[derive(Clone, Debug)]
pub struct OnBehalf(pub UserName);

/// The request is part of another that was counted: it costs nothing of what its sender may ask for over
/// time. In the request's extensions, put there by an outer service that makes several requests of one: a
/// client cannot.
#[derive(Clone, Copy, Debug)]
pub struct Unmetered;

/// Where on its backend a request is to go, instead of where the backend is configured to be. In the
/// extensions of a request that is a message to a stream of HTTP+SSE.
#[derive(Clone, Debug)]
pub struct BackendPath(pub PathAndQuery);

/// The replica of its backend that alone can answer a request, for it holds the session or stream the
/// request belongs to: what [`ServedBy`] said when that began. In the request's extensions. A service
/// whose replica is gone fails with [`Failure::Gone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity(pub u64);

/// Which replica of its backend answered. In the extensions of a response, from a service that knows of
/// several; sealed into the session or stream that begins with it. To be the same number for the same
/// replica in every process that serves the same clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedBy(pub u64);

#[derive(Clone)]
struct Shared {
    gate: Arc<Gate>,
    routes: Routes,
    budget: Budget,
    setup_page: Option<SetupPage>,
    schemas: Arc<Schemas>,
    streams: Streams,
    merged: Arc<Merged>,
    replaced: Arc<AtomicU64>,
    closing: Closing,
}

impl Shared {
    /// A client that sends what a slot sets is replaced, and counted: it may be an attempt.
    /// `arguments` of its own were replaced already.
    fn count_replaced(&self, door: &Door, client: &Parts, arguments: usize) {
        // The header that carries the key is no attempt.
        let (headers, query, besides) = (&client.headers, client.uri.query(), &CARRIERS);
        let replaced = door.slots().replaced(headers, query, besides) + arguments;
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
            setup_page: None,
            schemas: Arc::default(),
            streams: Streams::default(),
            merged: Arc::default(),
            replaced: Arc::default(),
            closing: Closing::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A layer for another configuration, to stand in the place of this one: it knows of the streams
    /// that are open, and counts what is held together with it.
    #[must_use]
    pub fn succeeded_by(&self, gate: Arc<Gate>, routes: Routes, limits: Limits) -> Self {
        let shared = Shared {
            gate,
            routes,
            budget: self.shared.budget.with_limits(limits),
            setup_page: None,
            // What the servers of the same names list may be something else now.
            schemas: Arc::default(),
            ..(*self.shared).clone()
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// This layer, before it serves, which sends users whose secret is missing to the page `url`;
    /// `{server}` and `{profile}` in it stand for the names of both.
    #[must_use]
    pub fn with_setup_url(self, url: Option<String>) -> Self {
        let shared = Shared {
            setup_page: url.map(SetupPage::new),
            ..(*self.shared).clone()
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Ends the streams on which nobody waits for an answer, each between two events. To be called
    /// when the process is about to stop: their clients open others, elsewhere.
    pub fn end_listening(&self) {
        self.shared.closing.go_on(Step::Listening);
    }

    /// Ends all streams, each between two events, also those whose answer is still to come.
    pub fn end_streams(&self) {
        self.shared.closing.go_on(Step::All);
    }

    /// What is under way through this layer, within its bounds.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.shared.budget
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
