//! Posts something to an address of the configuration, on a connection of its own.

use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode, Uri};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::backend::{Backend, BackendError};
use crate::layer::RequestBody;

/// Who posts to one address.
pub struct Poster {
    backend: Backend,
    runtime: Handle,
}

impl Poster {
    /// To `url`, on the runtime this is made on; `tls` is what certificates are checked with, needed for
    /// `https`. An answer's head may take `patience`.
    ///
    /// # Errors
    /// When the URL names no host or `https` comes without `tls`.
    pub fn new(
        url: &Uri,
        tls: Option<rustls::ClientConfig>,
        patience: Duration,
    ) -> Result<Self, BackendError> {
        let backend = Backend::new(url, tls, patience, patience)?;
        Ok(Self {
            backend,
            runtime: Handle::current(),
        })
    }

    /// Posts `request`, whatever its URL, from whatever thread; gives the status of the answer, whose body
    /// is not read.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn post(
        self: std::sync::Arc<Self>,
        request: Request<Bytes>,
    ) -> Result<StatusCode, String> {
        let runtime = self.runtime.clone();
        let sent = runtime.spawn(async move {
            let patience = self.backend.answer_timeout;
            let sent = timeout(patience, self.send(request)).await;
            sent.unwrap_or_else(|_| Err(format!("no answer within {patience:?}")))
        });
        sent.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn send(&self, request: Request<Bytes>) -> Result<StatusCode, String> {
        let mut request = Box::new(request.map(RequestBody::from));
        *request.uri_mut() = self.backend.target.clone().into();
        let host = self.backend.authority.clone();
        request.headers_mut().insert(HOST, host);
        let connection = self.backend.connect(&self.backend.address).await;
        let connection = connection.map_err(|error| error.to_string())?;
        let answer = connection.ask(&mut Some(request), None).await;
        answer
            .map(|(head, _)| head.status)
            .map_err(|e| e.to_string())
    }
}
