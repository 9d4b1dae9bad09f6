//! The service inside the layer, as the layer sees it.

use std::future::{Future, poll_fn};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::RequestBody;
use super::failure::BoxError;

/// A service that can stand inside: one name for what would be five bounds everywhere.
pub(crate) trait Inside: Send {
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send;

    /// Waits until it is ready, and asks it.
    fn ask(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Self::Body>, BoxError>> + Send;
}

impl<S, R> Inside for S
where
    S: Service<Request<RequestBody>, Response = Response<R>> + Send,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Unpin + Send,
    R::Error: Into<BoxError>,
{
    type Body = R;

    async fn ask(&mut self, request: Request<RequestBody>) -> Result<Response<R>, BoxError> {
        poll_fn(|cx| self.poll_ready(cx))
            .await
            .map_err(Into::into)?;
        self.call(request).await.map_err(Into::into)
    }
}
