//! The innermost service: sends a request to its backend.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use http::header::HOST;
use http::uri::{InvalidUri, PathAndQuery};
use http::{Request, Uri};
use percent_encoding::percent_decode_str;

use super::backend::{Backend, ConnectError};
use super::body::BackendBody;
use super::clock::Clocks;
use super::http1::{Broken, Connection, Lease, Received};
use super::pool::{Owner, Pool};
use super::replicas::{Attempt, Replica, Set};
use crate::layer::{
    Affinity, AnswerHead, BackendPath, BoxError, Caller, Failure, Inside, RequestBody, Returned,
    ServedBy, Told,
};
use crate::names::ServerName;
use crate::stdio;
use crate::sys::Tick;
use crate::telemetry::Gauge;

/// Sends what the layer granted to the server the [`Caller`] names. One per core.
#[derive(Clone)]
pub(super) struct Forward(Arc<Shared>);

struct Shared {
    backends: Arc<BTreeMap<ServerName, Backend>>,
    commands: Option<stdio::Served>,
    pool: Pool,
    clocks: Clocks,
}

impl Forward {
    /// A forward to these backends, and to the servers that run as children, with so many idle connections
    /// of its own, at most, which `count` counts.
    #[must_use]
    pub(super) fn new(
        backends: Arc<BTreeMap<ServerName, Backend>>,
        commands: Option<stdio::Served>,
        most_idle: usize,
        count: Gauge,
    ) -> Self {
        Self(Arc::new(Shared {
            backends,
            commands,
            pool: Pool::new(most_idle, count),
            clocks: Clocks::default(),
        }))
    }

    /// Closes connections that were idle for too long; to be called every second or so.
    pub(super) fn sweep(&self) {
        self.0.pool.sweep();
    }
}

impl Shared {
    async fn to_backend(
        &self,
        mut request: Box<Request<RequestBody>>,
        told: &Told,
    ) -> Result<Returned<Received>, BoxError> {
        let caller = &told.caller;
        let backend = self.backends.get(&caller.server);
        let lost = || Failure::Broken("a server without a backend".to_owned());
        let backend = backend.ok_or_else(lost)?;
        aim(&mut request, backend, told.path.as_ref())?;
        let mut request = Some(request);
        let until = Tick::of_turn().instant() + backend.answer_timeout;
        // Made where it is pinned: a future in a variable would take its room twice.
        let answering = pin!(async {
            let replicas = backend.replicas().await?;
            match told.affinity {
                Some(Affinity(id)) => {
                    self.within(backend, &replicas, id, caller, &mut request)
                        .await
                }
                None => {
                    self.anywhere(backend, &replicas, caller, &mut request)
                        .await
                }
            }
        });
        let answered = self.clocks.in_time(until, answering).await;
        let silent = || Failure::Silent(backend.answer_timeout);
        let answered = answered.ok_or_else(silent)??;
        let Answered {
            replica,
            head,
            body,
        } = answered;
        let served_by = backend.has_replicas().then(|| ServedBy(replica.id()));
        Ok(Returned {
            head,
            body,
            served_by,
        })
    }

    /// Sends a request to the caller's place on the ring, and on along the ring for as long as nothing
    /// of it was sent: nobody can know what a backend did with a request that left.
    async fn anywhere(
        &self,
        backend: &Backend,
        replicas: &Set,
        caller: &Caller,
        request: &mut Option<Box<Request<RequestBody>>>,
    ) -> Result<Answered, Failure> {
        // One that is alone has its place everywhere.
        let key = backend.has_replicas().then(|| place(caller));
        let (key, mut tried) = (key.unwrap_or_default(), Vec::new());
        let mut failure = Failure::Down("it has no replica".to_owned());
        while let Some(attempt) = replicas.choose(&key, &tried, Instant::now) {
            if !attempt.is_trial() {
                let answered = self
                    .on_idle(backend, &attempt.replica, caller, request)
                    .await?;
                if let Some(answered) = answered {
                    return Ok(answered);
                }
            }
            // Boxed, as it is seldom: otherwise the future of every request had room for it.
            match Box::pin(self.on_new(backend, &attempt, caller, request)).await {
                Ok(answered) => return Ok(answered),
                Err(unanswered) if unanswered.is_unsent => failure = unanswered.failure,
                Err(unanswered) => return Err(unanswered.failure),
            }
            tried.push(attempt.replica);
        }
        Err(failure)
    }

    /// Sends a request to the replica that holds what it belongs to, and to no other.
    async fn within(
        &self,
        backend: &Backend,
        replicas: &Set,
        id: u64,
        caller: &Caller,
        request: &mut Option<Box<Request<RequestBody>>>,
    ) -> Result<Answered, Failure> {
        let replica = replicas.find(id).ok_or(Failure::Gone)?;
        // A connection that is open is good, whatever became of others.
        let answered = self.on_idle(backend, replica, caller, request).await?;
        if let Some(answered) = answered {
            return Ok(answered);
        }
        let attempt = replicas.only(replica, Instant::now());
        let attempt = attempt.ok_or(Failure::Gone)?;
        let answered = Box::pin(self.on_new(backend, &attempt, caller, request)).await;
        answered.map_err(|error| {
            let gone = error.is_down() && replicas.another_is_up(replica);
            if gone { Failure::Gone } else { error.failure }
        })
    }

    /// Sends a request on an idle connection its caller has to a replica; none if there is no such
    /// connection, or nothing could be written on it.
    async fn on_idle(
        &self,
        backend: &Backend,
        replica: &Arc<Replica>,
        caller: &Caller,
        request: &mut Option<Box<Request<RequestBody>>>,
    ) -> Result<Option<Answered>, Failure> {
        if !backend.may_be_reused() {
            return Ok(None);
        }
        let owner = owner(caller, replica);
        let Some(idle) = self.pool.take(&owner).await else {
            return Ok(None);
        };
        let lease = Some(self.pool.lease(owner));
        match ask(replica, idle, lease, request).await {
            Ok(answered) => Ok(Some(answered)),
            Err(unanswered) if unanswered.is_unsent => Ok(None),
            Err(unanswered) => Err(unanswered.failure),
        }
    }

    /// Sends a request on a connection of its own.
    async fn on_new(
        &self,
        backend: &Backend,
        attempt: &Attempt,
        caller: &Caller,
        request: &mut Option<Box<Request<RequestBody>>>,
    ) -> Result<Answered, Unanswered> {
        let replica = &attempt.replica;
        match backend.connect(replica.address()).await {
            Ok(connection) => {
                attempt.succeeded();
                let owner = || owner(caller, replica);
                let lease = backend.may_be_reused().then(|| self.pool.lease(owner()));
                ask(replica, connection, lease, request).await
            }
            Err(error @ ConnectError::Ours(_)) => Err(Unanswered {
                failure: Failure::Down(error.to_string()),
                is_unsent: false,
            }),
            Err(error) => {
                attempt.failed(Instant::now());
                Err(Unanswered {
                    failure: Failure::Down(error.to_string()),
                    is_unsent: true,
                })
            }
        }
    }
}

/// Sends a request on a connection, which `lease` takes back.
async fn ask(
    replica: &Arc<Replica>,
    connection: Box<Connection>,
    lease: Option<Lease>,
    request: &mut Option<Box<Request<RequestBody>>>,
) -> Result<Answered, Unanswered> {
    let (head, body) = connection.ask(request, lease).await?;
    Ok(Answered {
        replica: replica.clone(),
        head,
        body,
    })
}

/// An answer, and where it comes from.
struct Answered {
    replica: Arc<Replica>,
    head: Arc<AnswerHead>,
    body: Received,
}

/// Why there is no answer.
struct Unanswered {
    failure: Failure,
    /// Whether nothing of the request was sent, and it may succeed elsewhere.
    is_unsent: bool,
}

impl Unanswered {
    /// Whether it is the replica that cannot be reached.
    fn is_down(&self) -> bool {
        self.is_unsent && matches!(self.failure, Failure::Down(_))
    }
}

impl From<Broken> for Unanswered {
    fn from(broken: Broken) -> Self {
        Self {
            failure: Failure::Broken(broken.to_string()),
            is_unsent: broken.is_unsent,
        }
    }
}

fn owner(caller: &Caller, replica: &Replica) -> Owner {
    Owner {
        user: caller.identity.user_id(),
        server: caller.server.clone(),
        profile: caller.profile.clone(),
        replica: replica.address().clone(),
    }
}

/// Where a caller's requests stand on the ring.
fn place(caller: &Caller) -> Vec<u8> {
    let user = caller.identity.user_id();
    let (server, profile) = (caller.server.as_str(), caller.profile.as_str());
    [user.as_bytes(), server.as_bytes(), b"/", profile.as_bytes()].concat()
}

impl Inside for Forward {
    type Body = BackendBody;

    async fn ask(
        &mut self,
        request: Box<Request<RequestBody>>,
        told: Told,
    ) -> Result<Returned<BackendBody>, BoxError> {
        let commands = self.0.commands.as_ref();
        let server = &told.caller.server;
        if let Some(commands) = commands
            && let Some(settings) = commands.servers.get(server)
        {
            let answer = commands.children.serve(settings, *request, told);
            let answer = Box::pin(answer).await?;
            return Ok(answer.map(BackendBody::Child).into());
        }
        let answer = self.0.to_backend(request, &told).await?;
        Ok(answer.map(BackendBody::Received))
    }
}

/// Points a request at the backend: the target and Host of the configuration, nothing of the
/// client's. A message to a stream goes where the backend said; the query the layer made of slots is
/// appended.
fn aim<B>(
    request: &mut Request<B>,
    backend: &Backend,
    told: Option<&BackendPath>,
) -> Result<(), Failure> {
    let broken = |error: InvalidUri| Failure::Broken(error.to_string());
    let target = told.map_or(&backend.target, |BackendPath(path)| path);
    let target = match request.uri().query() {
        None => target.clone(),
        Some(slots) => with_query(target, slots).map_err(broken)?,
    };
    *request.uri_mut() = Uri::from(target);
    request
        .headers_mut()
        .insert(HOST, backend.authority.clone());
    Ok(())
}

/// `target` with `slots` in its query, in place of any parameters of the same names: a backend that
/// repeats its query in the path for messages repeats secrets that may have changed since.
fn with_query(target: &PathAndQuery, slots: &str) -> Result<PathAndQuery, InvalidUri> {
    // However it is spelt: the backend's library need not escape as we do.
    let name = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default().replace('+', " ");
        percent_decode_str(&name).collect::<Vec<u8>>()
    };
    let set: Vec<_> = slots.split('&').map(name).collect();
    let own = target.query().unwrap_or_default().split('&');
    let own = own.filter(|pair| !pair.is_empty() && !set.contains(&name(pair)));
    let query: Vec<_> = own.chain([slots]).collect();
    format!("{}?{}", target.path(), query.join("&")).parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_join_the_query_that_is_there() {
        for (target, expected) in [
            ("/mcp", "/mcp?token=a%26b"),
            ("/mcp?x=1&y", "/mcp?x=1&y&token=a%26b"),
            ("/m?session_id=7&token=old", "/m?session_id=7&token=a%26b"),
            ("/m?t%6Fken=old&x", "/m?x&token=a%26b"),
        ] {
            let target: PathAndQuery = target.parse().unwrap();
            assert_eq!(with_query(&target, "token=a%26b").unwrap(), expected);
        }
    }
}
