//! The innermost service: sends a request to its backend.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::header::HOST;
use http::uri::{InvalidUri, PathAndQuery};
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use tower_service::Service;

use super::backend::{Backend, ConnectError, Sender};
use super::body::BackendBody;
use super::pool::{Owner, Pool, Pooled};
use super::replicas::{Attempt, Replica, Set};
use crate::layer::{Affinity, BackendPath, BoxError, Caller, Failure, ServedBy};
use crate::names::ServerName;
use crate::stdio;
use crate::telemetry::Gauge;

/// Sends what the layer granted to the server the [`Caller`] names. One per core.
#[derive(Clone)]
pub struct Forward {
    backends: Arc<BTreeMap<ServerName, Backend>>,
    commands: Option<stdio::Served>,
    pool: Pool,
}

impl Forward {
    /// A forward to these backends with so many idle connections of its own, at most, which `count`
    /// counts.
    #[must_use]
    pub fn new(
        backends: Arc<BTreeMap<ServerName, Backend>>,
        most_idle: usize,
        count: Gauge,
    ) -> Self {
        Self {
            backends,
            commands: None,
            pool: Pool::new(most_idle, count),
        }
    }

    /// The same, which also reaches servers that run as children.
    #[must_use]
    pub fn with_commands(self, commands: Option<stdio::Served>) -> Self {
        Self { commands, ..self }
    }

    /// Closes connections that were idle for too long; to be called every second or so.
    pub fn sweep(&self) {
        self.pool.sweep();
    }

    async fn send(self, request: Request<Full<Bytes>>) -> Result<Response<BackendBody>, BoxError> {
        let lost = |what: &str| Failure::Broken(what.to_owned());
        let caller = request.extensions().get::<Caller>();
        let caller = caller.ok_or_else(|| lost("a request that did not pass the layer"))?;
        if let Some(commands) = &self.commands
            && let Some(settings) = commands.servers.get(&caller.server)
        {
            let answer = commands.children.serve(settings, request).await?;
            return Ok(answer.map(BackendBody::Child));
        }
        let answer = self.to_backend(caller.clone(), request).await?;
        Ok(answer.map(BackendBody::Pooled))
    }

    async fn to_backend(
        &self,
        caller: Caller,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Pooled>, BoxError> {
        let lost = |what: &str| Failure::Broken(what.to_owned());
        let backend = self
            .backends
            .get(&caller.server)
            .ok_or_else(|| lost("a server without a backend"))?;
        let affinity = request.extensions_mut().remove::<Affinity>();
        aim(&mut request, backend)?;
        let exchange = async {
            let replicas = backend.replicas().await?;
            match affinity {
                Some(Affinity(id)) => self.within(backend, &replicas, id, &caller, request).await,
                None => self.anywhere(backend, &replicas, &caller, request).await,
            }
        };
        let answered = match timeout(backend.answer_timeout, exchange).await {
            Ok(done) => done?,
            Err(_) => return Err(Failure::Silent(backend.answer_timeout).into()),
        };
        let Answered {
            replica,
            sender,
            mut response,
        } = answered;
        if backend.has_replicas() {
            response.extensions_mut().insert(ServedBy(replica.id()));
        }
        Ok(response.map(|body| {
            if backend.may_be_reused() {
                let owner = owner(&caller, &replica);
                Pooled::new(body, self.pool.clone(), owner, sender)
            } else {
                Pooled::last(body)
            }
        }))
    }

    /// Sends a request to the caller's place on the ring, and on along the ring for as long as nothing
    /// of it was sent: nobody can know what a backend did with a request that left.
    async fn anywhere(
        &self,
        backend: &Backend,
        replicas: &Set,
        caller: &Caller,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Answered, Failure> {
        let (key, mut tried) = (place(caller), Vec::new());
        let mut failure = Failure::Down("it has no replica".to_owned());
        while let Some(attempt) = replicas.choose(&key, &tried, Instant::now()) {
            if !attempt.is_trial() {
                match self
                    .on_idle(backend, &attempt.replica, caller, request)
                    .await
                {
                    Ok(answered) => return Ok(answered),
                    Err(unanswered) => request = unanswered.unsent()?,
                }
            }
            match on_new(backend, &attempt, request).await {
                Ok(answered) => return Ok(answered),
                Err(unanswered) => {
                    failure = unanswered.failure.clone();
                    request = unanswered.unsent()?;
                }
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
        request: Request<Full<Bytes>>,
    ) -> Result<Answered, Failure> {
        let replica = replicas.find(id).ok_or(Failure::Gone)?;
        // A connection that is open is good, whatever became of others.
        let request = match self.on_idle(backend, replica, caller, request).await {
            Ok(answered) => return Ok(answered),
            Err(unanswered) => unanswered.unsent()?,
        };
        let attempt = replicas.only(replica, Instant::now());
        let attempt = attempt.ok_or(Failure::Gone)?;
        on_new(backend, &attempt, request).await.map_err(|error| {
            let gone = error.is_down() && replicas.another_is_up(replica);
            if gone { Failure::Gone } else { error.failure }
        })
    }

    /// Sends a request on the idle connection its caller has to a replica, if there is one.
    async fn on_idle(
        &self,
        backend: &Backend,
        replica: &Arc<Replica>,
        caller: &Caller,
        request: Request<Full<Bytes>>,
    ) -> Result<Answered, Unanswered> {
        let idle = if backend.may_be_reused() {
            self.pool.take(&owner(caller, replica)).await
        } else {
            None
        };
        match idle {
            Some(sender) => ask(replica, sender, request).await,
            None => Err(Unanswered::down("no connection is idle", Some(request))),
        }
    }
}

/// An answer, and the connection it came on.
struct Answered {
    replica: Arc<Replica>,
    sender: Sender,
    response: Response<Incoming>,
}

/// Why there is no answer.
struct Unanswered {
    failure: Failure,
    /// The request, if nothing of it was sent and it may succeed elsewhere.
    unsent: Option<Box<Request<Full<Bytes>>>>,
}

impl Unanswered {
    fn down(why: impl ToString, unsent: Option<Request<Full<Bytes>>>) -> Self {
        Self {
            failure: Failure::Down(why.to_string()),
            unsent: unsent.map(Box::new),
        }
    }

    /// Whether it is the replica that cannot be reached.
    fn is_down(&self) -> bool {
        self.unsent.is_some() && matches!(self.failure, Failure::Down(_))
    }

    fn unsent(self) -> Result<Request<Full<Bytes>>, Failure> {
        self.unsent.map(|unsent| *unsent).ok_or(self.failure)
    }
}

/// Sends a request on a connection of its own.
async fn on_new(
    backend: &Backend,
    attempt: &Attempt,
    request: Request<Full<Bytes>>,
) -> Result<Answered, Unanswered> {
    let replica = &attempt.replica;
    match backend.connect(replica.address()).await {
        Ok(sender) => {
            attempt.succeeded();
            ask(replica, sender, request).await
        }
        Err(error @ ConnectError::Ours(_)) => Err(Unanswered::down(error, None)),
        Err(error) => {
            attempt.failed(Instant::now());
            Err(Unanswered::down(error, Some(request)))
        }
    }
}

async fn ask(
    replica: &Arc<Replica>,
    mut sender: Sender,
    request: Request<Full<Bytes>>,
) -> Result<Answered, Unanswered> {
    match sender.try_send_request(request).await {
        Ok(response) => Ok(Answered {
            replica: replica.clone(),
            sender,
            response,
        }),
        Err(mut error) => Err(Unanswered {
            unsent: error.take_message().map(Box::new),
            failure: Failure::Broken(error.into_error().to_string()),
        }),
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

impl Service<Request<Full<Bytes>>> for Forward {
    type Response = Response<BackendBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

/// Points a request at the backend: the target and Host of the configuration, nothing of the
/// client's. A message to a stream goes where the backend said; the query the layer made of slots is
/// appended.
fn aim(request: &mut Request<Full<Bytes>>, backend: &Backend) -> Result<(), Failure> {
    let broken = |error: http::Error| Failure::Broken(error.to_string());
    let told = request.extensions_mut().remove::<BackendPath>();
    let target = told.map_or_else(|| backend.target.clone(), |BackendPath(path)| path);
    let target = match request.uri().query() {
        None => target,
        Some(slots) => with_query(&target, slots).map_err(|e| broken(e.into()))?,
    };
    let uri = Uri::builder().path_and_query(target);
    *request.uri_mut() = uri.build().map_err(broken)?;
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
