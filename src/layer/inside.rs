//! The service inside the layer, as the layer sees it.

use std::future::{Future, poll_fn};
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::failure::BoxError;
use super::{Affinity, AnswerHead, BackendPath, Caller, Lease, RequestBody, ServedBy};

/// What can stand inside: any service of the right kind, which is told for whom a request is and where it
/// goes by its extensions; or one of our own, which is told without them.
pub(crate) trait Inside: Send {
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send;

    /// Waits until it is ready, and asks it. Boxed, for it goes from hand to hand.
    fn ask(
        &mut self,
        request: Box<Request<RequestBody>>,
        told: Told,
    ) -> impl Future<Output = Result<Returned<Self::Body>, BoxError>> + Send;
}

/// For whom a request is, and where it goes.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) caller: Caller,
    pub(crate) affinity: Option<Affinity>,
    pub(crate) path: Option<BackendPath>,
    // Boxed: it is large, and most have none.
    pub(crate) lease: Option<Box<Lease>>,
}

impl Told {
    /// Tells it by the extensions of a request.
    fn tell(self, extensions: &mut Extensions) {
        extensions.insert(self.caller);
        if let Some(affinity) = self.affinity {
            extensions.insert(affinity);
        }
        if let Some(path) = self.path {
            extensions.insert(path);
        }
        if let Some(lease) = self.lease {
            extensions.insert(*lease);
        }
    }
}

/// What came back.
pub(crate) struct Returned<B> {
    /// Its head, which may be shared with another answer that said the same; what says how long its body is
    /// need not be in it.
    pub(crate) head: Arc<AnswerHead>,
    pub(crate) body: B,
    /// Which replica answered, if there are several.
    pub(crate) served_by: Option<ServedBy>,
}

impl<B> Returned<B> {
    /// The same with another body.
    pub(crate) fn map<C>(self, to: impl FnOnce(B) -> C) -> Returned<C> {
        Returned {
            head: self.head,
            body: to(self.body),
            served_by: self.served_by,
        }
    }
}

impl<B> From<Response<B>> for Returned<B> {
    fn from(response: Response<B>) -> Self {
        let (mut head, body) = response.into_parts();
        let served_by = head.extensions.remove();
        Self {
            head: Arc::new(head.into()),
            body,
            served_by,
        }
    }
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

    async fn ask(
        &mut self,
        mut request: Box<Request<RequestBody>>,
        told: Told,
    ) -> Result<Returned<R>, BoxError> {
        told.tell(request.extensions_mut());
        poll_fn(|cx| self.poll_ready(cx))
            .await
            .map_err(Into::into)?;
        let response = self.call(*request).await.map_err(Into::into)?;
        Ok(response.into())
    }
}
