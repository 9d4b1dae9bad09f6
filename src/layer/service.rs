//! The service the layer makes: authenticate, judge, inject, call, pass the answer on.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::answer::{self, Sealing};
use super::body::AnswerBody;
use super::call::{Holding, Judged, Opened, has_body, head_for_backend, session_bytes};
use super::failure::{self, BoxError};
use super::{Caller, Shared};
use crate::gate::{Door, Grant, Request as Asked};
use crate::mcp::ids::{Holder, seal_event};
use crate::rejection::{Kind, Rejection};
use crate::resolve::Identity;

/// A service inside the layer.
#[derive(Clone)]
pub struct Cloakroom<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Cloakroom<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, B, R> Service<Request<B>> for Cloakroom<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<AnswerBody<R>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The service inside is asked when there is something for it: most refusals never get there.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let exchange = Exchange {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
        };
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            Ok(exchange.run(parts, body).await.unwrap_or_else(|rejection| {
                let (kind, status) = (rejection.kind(), rejection.status().as_u16());
                tracing::debug!(?kind, status, "refused");
                rejection.into_response().map(AnswerBody::own)
            }))
        })
    }
}

/// One request and its answer.
struct Exchange<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Exchange<S> {
    async fn run<B, R>(
        mut self,
        parts: Parts,
        body: B,
    ) -> Result<Response<AnswerBody<R>>, Rejection>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>>,
        S::Error: Into<BoxError>,
        B: Body,
        R: Body<Data = Bytes>,
        R::Error: Into<BoxError>,
    {
        let shared = self.shared.clone();
        let gate = &shared.gate;
        let server = shared
            .routes
            .server(parts.uri.path())
            .ok_or_else(|| Rejection::new(Kind::NoSuchPath))?;
        let identity = gate.authenticate(&parts.headers, Some(&server)).await?;
        let door = gate
            .door(&server)
            .ok_or_else(|| Rejection::new(Kind::UnknownServer))?;
        // What is held counts until the answer's head is here: the body may have to be sent again.
        let (body, judged, _held) = match has_body(&parts.method) {
            Some(true) => {
                let (body, held) = shared.budget.read_in_time(body).await?;
                let judged = Judged::body(&parts.headers, &body)?;
                (body, judged, Some(held))
            }
            Some(false) => (Bytes::new(), Judged::bodiless(&parts.headers)?, None),
            None => return Err(Rejection::new(Kind::MethodNotAllowed)),
        };
        let profile = gate.profile(&identity, door, None)?;
        let holding = Holding {
            user: identity.user_id(),
            profile,
        };
        let context = Exchanged {
            identity,
            door,
            holding,
            judged,
        };
        let answered = self.forward(parts, body, &context).await;
        answered.map_err(|rejection| rejection.for_ids(&context.judged.ids))
    }

    async fn forward<R>(
        &mut self,
        parts: Parts,
        body: Bytes,
        context: &Exchanged<'_>,
    ) -> Result<Response<AnswerBody<R>>, Rejection>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>>,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes>,
        R::Error: Into<BoxError>,
    {
        let Exchanged {
            identity,
            door,
            holding,
            judged,
        } = context;
        let opened = Opened::from_headers(&parts.headers, judged.era, door, holding)?;
        let grant = self
            .shared
            .gate
            .admit(identity, door, &holding.profile, &Asked::default())
            .await?;
        self.shared
            .count_replaced(door, &parts.headers, parts.uri.query());
        let secret_version = grant.secret_version();
        let head = head_for_backend(parts, &opened);
        let request = granted(head, body, grant, context);
        let answer = self
            .call(request)
            .await
            .map_err(|e| failure::rejection(door.server(), &e))?;
        let (backend, body) = answer.into_parts();
        answer::judge(door, backend.status, &backend.headers)?;
        let sealing = Sealing {
            door,
            holding,
            capabilities: judged.capabilities,
            secret_version,
            known: opened.session.as_ref(),
            era: judged.era,
        };
        let (head, session) = answer::head_for_client(&backend, &sealing)?;
        let body = if answer::is_stream(&backend.headers) {
            self.stream(body, context, session_bytes(session.as_ref()))
        } else {
            AnswerBody::plain(body, self.shared.clone(), identity.clone())
        };
        Ok(Response::from_parts(head, body))
    }

    async fn call<R>(&mut self, request: Request<Full<Bytes>>) -> Result<Response<R>, BoxError>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>>,
        S::Error: Into<BoxError>,
    {
        poll_fn(|cx| self.inner.poll_ready(cx))
            .await
            .map_err(Into::into)?;
        self.inner.call(request).await.map_err(Into::into)
    }

    fn stream<R>(&self, body: R, context: &Exchanged<'_>, session: &[u8]) -> AnswerBody<R> {
        let (shared, session) = (self.shared.clone(), session.to_vec());
        let server = context.door.server().clone();
        let Holding { user, profile } = &context.holding;
        let (user, profile) = (*user, profile.clone());
        let seal = move |id: &[u8]| match shared.gate.door(&server) {
            Some(door) => {
                let holder = Holder {
                    user_id: user.as_bytes(),
                    server: &server,
                    profile: &profile,
                };
                seal_event(door.sealer(), &holder, &session, id)
            }
            // Doors do not vanish from a gate; were it so, no id is better than an unsealed one.
            None => Vec::new(),
        };
        let (shared, identity) = (self.shared.clone(), context.identity.clone());
        AnswerBody::events(body, Box::new(seal), shared, identity)
    }
}

/// What is known of a request once it was read.
struct Exchanged<'a> {
    identity: Identity,
    door: &'a Door,
    holding: Holding,
    judged: Judged,
}

/// The request for the backend. Takes the grant: without one there is none.
fn granted(
    mut head: Parts,
    body: Bytes,
    mut grant: Grant<'_>,
    context: &Exchanged<'_>,
) -> Request<Full<Bytes>> {
    grant.apply(&mut head.headers);
    head.extensions.insert(Caller {
        identity: context.identity.clone(),
        server: context.door.server().clone(),
        profile: context.holding.profile.clone(),
    });
    Request::from_parts(head, Full::new(body))
}
