//! The innermost service: sends a request to its backend.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response, Uri, uri};
use http_body_util::Full;
use tokio::time::timeout;
use tower_service::Service;

use super::backend::{Backend, Sender};
use super::pool::{Owner, Pool, Pooled};
use crate::layer::{BoxError, Caller, Failure};
use crate::names::ServerName;

/// Sends what the layer granted to the server the [`Caller`] names. One per core.
#[derive(Clone)]
pub struct Forward {
    backends: Arc<BTreeMap<ServerName, Backend>>,
    pool: Pool,
}

impl Forward {
    /// A forward to these backends with idle connections of its own.
    #[must_use]
    pub fn new(backends: Arc<BTreeMap<ServerName, Backend>>) -> Self {
        Self {
            backends,
            pool: Pool::default(),
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
/// client's.
fn aim(request: &mut Request<Full<Bytes>>, backend: &Backend) -> Result<(), Failure> {
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(backend.target.clone());
    *request.uri_mut() = Uri::from_parts(parts).map_err(|e| Failure::Broken(e.to_string()))?;
    request
        .headers_mut()
        .insert(HOST, backend.authority.clone());
    Ok(())
}
