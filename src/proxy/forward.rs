//! The innermost service: sends a request to its backend.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HOST;
use http::uri::{InvalidUri, PathAndQuery};
use http::{Request, Response, Uri};
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use tower_service::Service;

use super::backend::{Backend, Sender};
use super::pool::{Owner, Pool, Pooled};
use crate::layer::{BackendPath, BoxError, Caller, Failure};
use crate::names::ServerName;

/// Sends what the layer granted to the server the [`Caller`] names. One per core.
#[derive(Clone)]
pub struct Forward {
    backends: Arc<BTreeMap<ServerName, Backend>>,
    pool: Pool,
}

impl Forward {
    /// A forward to these backends with so many idle connections of its own, at most.
    #[must_use]
    pub fn new(backends: Arc<BTreeMap<ServerName, Backend>>, idle: usize) -> Self {
        Self {
            backends,
            pool: Pool::new(idle),
        }
    }

    /// Closes connections that were idle for too long; to be called every second or so.
    pub fn sweep(&self) {
        self.pool.sweep();
    }

    async fn send(self, mut request: Request<Full<Bytes>>) -> Result<Response<Pooled>, BoxError> {
        let lost = |what: &str| Failure::Broken(what.to_owned());
        let caller = request
            .extensions_mut()
            .remove::<Caller>()
            .ok_or_else(|| lost("a request that did not pass the layer"))?;
        let backend = self
            .backends
            .get(&caller.server)
            .ok_or_else(|| lost("a server without a backend"))?;
        aim(&mut request, backend)?;
        let owner = Owner {
            user: caller.identity.user_id(),
            server: caller.server,
            profile: caller.profile,
        };
        let exchange = self.exchange(backend, &owner, request);
        let (sender, response) = match timeout(backend.answer_timeout, exchange).await {
            Ok(done) => done?,
            Err(_) => return Err(Failure::Silent(backend.answer_timeout).into()),
        };
        Ok(response.map(|body| {
            if backend.may_be_reused() {
                Pooled::new(body, self.pool.clone(), owner, sender)
            } else {
                Pooled::last(body)
            }
        }))
    }

    /// Tries the idle connection first. Only a request that hyper hands back unsent is sent again:
    /// nobody can know what a backend did with one that left.
    async fn exchange(
        &self,
        backend: &Backend,
        owner: &Owner,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Sender, Response<hyper::body::Incoming>), Failure> {
        if backend.may_be_reused()
            && let Some(mut sender) = self.pool.take(owner).await
        {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((sender, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Failure::Broken(error.into_error().to_string())),
                },
            }
        }
        let mut sender = backend.connect().await?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| Failure::Broken(error.to_string()))?;
        Ok((sender, response))
    }
}

impl Service<Request<Full<Bytes>>> for Forward {
    type Response = Response<Pooled>;
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
