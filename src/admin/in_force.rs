//! What the configuration in force says; another takes its place while requests are served.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::names::{SecretName, ServerName};
use crate::proxy::Guard;

/// What the configuration in force says, at every moment.
pub struct Known(RwLock<Arc<InForce>>);

/// What a configuration says of what the API needs.
pub struct InForce {
    /// The servers.
    pub servers: BTreeMap<ServerName, Server>,
    /// What keys of another shape than `clk_…` begin with.
    pub key_prefixes: Vec<String>,
    /// The hosts and origins that may be named.
    pub guard: Guard,
}

/// A server, as far as administrators care.
pub struct Server {
    /// `http`, `sse` or `stdio`.
    pub transport: &'static str,
    /// The secrets its slots use.
    pub secrets: Vec<SecretName>,
    /// Those that go into a header, which cannot carry every text.
    pub in_headers: Vec<SecretName>,
    /// Whether every secret goes there.
    pub takes_all: bool,
}

impl Server {
    /// Whether the secret goes anywhere.
    #[must_use]
    pub fn uses(&self, name: &SecretName) -> bool {
        self.takes_all || self.secrets.contains(name)
    }
}

impl Known {
    /// To begin with.
    #[must_use]
    pub fn new(now: InForce) -> Self {
        Self(RwLock::new(Arc::new(now)))
    }

    /// Says something else from now on.
    pub fn replace(&self, now: InForce) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(now);
    }

    pub(super) fn now(&self) -> Arc<InForce> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
