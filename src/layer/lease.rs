//! What a service that runs a child process for each user needs to know of a request.

use std::sync::Arc;
use std::time::Instant;

use super::route::Endpoint;
use super::way::Way;
use crate::gate::{Door, Environment, Gate, Grant, Permits};
use crate::resolve::Identity;

/// With what a child process is to be started, and for how long it may live. In the extensions of
/// requests to servers that run as children. No `Debug`: it holds secrets.
#[derive(Clone)]
pub struct Lease {
    gate: Arc<Gate>,
    identity: Identity,
    permits: Permits,
    environment: Environment,
    version: u64,
    made: Instant,
    endpoint: Endpoint,
}

impl Lease {
    /// The lease of a request through `door`; none if its server runs elsewhere.
    pub(super) fn of(
        door: &Door,
        (gate, identity, permits): (&Arc<Gate>, &Identity, &Permits),
        grant: &Grant<'_>,
        way: &Way,
    ) -> Option<Self> {
        if !door.has_children() {
            return None;
        }
        // A tool's secret argument is no reason to start another child.
        let version = match door.slots().environment_needs_secrets() {
            true => grant.secret_version(),
            false => 0,
        };
        Some(Self {
            gate: gate.clone(),
            identity: identity.clone(),
            permits: permits.clone(),
            environment: grant.environment().clone(),
            version,
            made: Instant::now(),
            endpoint: match way {
                Way::Streamable => Endpoint::Mcp,
                Way::Stream { .. } => Endpoint::Sse,
                Way::Message { .. } => Endpoint::Message,
            },
        })
    }

    /// What slots set in the child's environment.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The version of the secrets in it; 0 when there are none. Another version wants another child.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When the secrets in it were looked up, or a little later.
    #[must_use]
    pub fn made(&self) -> Instant {
        self.made
    }

    /// By which transport its client speaks.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// Resolves when the key this request came with no longer stands.
    pub fn until_denied(&self) -> impl Future<Output = ()> + Send + use<> {
        let (gate, identity) = (self.gate.clone(), self.identity.clone());
        let permits = self.permits.clone();
        async move { gate.until_denied(identity, permits).await }
    }
}
