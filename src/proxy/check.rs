//! Active health checks: each replica is asked every few seconds, by pingora's checker, over a connection
//! opened as requests' are.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use http::header::{ACCEPT, HOST, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, StatusCode};
use pingora_error::{Error, ErrorType, Result};
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::HealthCheck;
use pingora_load_balancing::{Backend as Target, Backends};
use tokio::time::{sleep, timeout};

use super::backend::Backend;
use super::replicas::{Replica, Replicas};
use crate::layer::RequestBody;

/// Checks in a row that must fail before a replica gets no more requests; one that passes is enough to
/// bring it back.
const FAILURES: usize = 2;

/// What is asked of every replica, and how often.
#[derive(Debug, Clone)]
pub struct Check {
    /// How long it is waited after one round before the next. An answer is waited for as long.
    pub every: Duration,
    /// What is asked for by GET; `None` only opens a connection.
    pub path: Option<PathAndQuery>,
}

struct Members(Weak<Replicas>);

struct Probe {
    check: Check,
    /// How connections are opened, and to whom not.
    backend: Backend,
    replicas: Weak<Replicas>,
}

impl Backend {
    /// This backend, its replicas checked as long as it lives, by a task of the current runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn with_checks(self, check: Check) -> Self {
        let (prober, replicas) = self.prober();
        tokio::spawn(run(check, prober, replicas));
        self
    }
}

/// Checks `replicas` as long as they live.
async fn run(check: Check, backend: Backend, replicas: Weak<Replicas>) {
    let every = check.every;
    let mut targets = Backends::new(Box::new(Members(replicas.clone())));
    targets.set_health_check(Box::new(Probe {
        check,
        backend,
        replicas: replicas.clone(),
    }));
    while replicas.strong_count() > 0 {
        // Who the members are cannot fail to be known.
        let _ = targets.update(|_| ()).await;
        targets.run_health_check(true).await;
        sleep(every).await;
    }
}

#[async_trait]
impl ServiceDiscovery for Members {
    async fn discover(&self) -> Result<(BTreeSet<Target>, HashMap<u64, bool>)> {
        let Some(replicas) = self.0.upgrade() else {
            return Ok(Default::default());
        };
        let set = replicas.known();
        let target = |replica: &Arc<Replica>| Target::new(&replica.on_ring().to_string());
        let targets: Result<_> = set.replicas().iter().map(target).collect();
        Ok((targets?, HashMap::new()))
    }
}

impl Probe {
    fn replica(&self, target: &Target) -> Option<Arc<Replica>> {
        let set = self.replicas.upgrade()?.known();
        set.at(*target.addr.as_inet()?).cloned()
    }

    async fn ask(&self, replica: &Replica) -> std::result::Result<(), String> {
        let connected = self.backend.connect(replica.address()).await;
        let connection = connected.map_err(|error| error.to_string())?;
        let Some(path) = &self.check.path else {
            return Ok(());
        };
        // What an MCP server answers on its endpoint without more is a refusal, and shows it alive.
        let accept = HeaderValue::from_static("application/json, text/event-stream");
        let request = Request::get(path.as_str())
            .header(HOST, self.backend.authority.clone())
            .header(ACCEPT, accept)
            .body(RequestBody::default())
            .map_err(|error| error.to_string())?;
        let answer = connection.ask(&mut Some(Box::new(request)), None).await;
        let (head, _) = answer.map_err(|error| error.to_string())?;
        match head.status {
            status if status < StatusCode::INTERNAL_SERVER_ERROR => Ok(()),
            status => Err(format!("it answers {status}")),
        }
    }
}

#[async_trait]
impl HealthCheck for Probe {
    async fn check(&self, target: &Target) -> Result<()> {
        // One that left since needs no check.
        let Some(replica) = self.replica(target) else {
            return Ok(());
        };
        let asked = timeout(self.check.every, self.ask(&replica)).await;
        let why = match asked {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => why,
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::debug!(replica = %replica.address(), why, "a check failed");
        Err(Error::explain(ErrorType::ConnectError, why))
    }

    async fn health_status_change(&self, target: &Target, healthy: bool) {
        if let Some(replica) = self.replica(target) {
            replica.checked(healthy);
        }
    }

    fn health_threshold(&self, success: bool) -> usize {
        if success { 1 } else { FAILURES }
    }
}
