//! The service the layer makes: authenticate, judge, inject, call, pass the answer on.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use super::body::AnswerBody;
use super::budget::Held;
use super::call::{Holding, Judged, has_body};
use super::exchange::Exchange;
use super::failure::BoxError;
use super::inside::Inside;
use super::observe::{Observed, Observer, Seen};
use super::way::Way;
use super::{Head, OnBehalf, RequestBody, Shared, Unmetered};
use crate::gate::{Door, Gate, Permits};
use crate::mcp::revision::Era;
use crate::names::ServerName;
use crate::rejection::{Kind, Rejection};
use crate::resolve::Identity;
use crate::sys::Tick;

/// How long a request may wait and its body take without its sender's key being looked at again: a key
/// revoked meanwhile must not be served.
const FRESH: Duration = Duration::from_secs(1);

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

    /// Answers a request, of which `observed` is told: what calling the service does.
    pub(crate) fn answer<B>(
        &self,
        head: Arc<Head>,
        body: B,
        observed: Option<Observed>,
    ) -> impl Future<Output = Response<AnswerBody<S::Body>>> + Send + use<S, B>
    where
        S: Inside + Clone,
        B: Body<Data: Send> + Send,
    {
        let (inner, shared) = (self.inner.clone(), self.shared.clone());
        async move {
            run(inner, shared, head, body, observed)
                .await
                .unwrap_or_else(|rejection| {
                    let (kind, status) = (rejection.kind(), rejection.status().as_u16());
                    tracing::debug!(?kind, status, "refused");
                    rejection.into_response().map(AnswerBody::own)
                })
        }
    }
}

impl<S, B, R> Service<Request<B>> for Cloakroom<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    R: Body<Data = Bytes> + Unpin + Send + 'static,
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
        let (mut head, body) = request.into_parts();
        let observed = head.extensions.remove::<Observed>();
        let answer = self.answer(Arc::new(head.into()), body, observed);
        Box::pin(async move { Ok(answer.await) })
    }
}

/// One request, up to where it is known whose it is and where it goes.
async fn run<S: Inside, B: Body>(
    inner: S,
    shared: Arc<Shared>,
    head: Arc<Head>,
    body: B,
    observed: Option<Observed>,
) -> Result<Response<AnswerBody<S::Body>>, Rejection> {
    let gate = &shared.gate;
    let route = shared.routes.lead(head.named());
    let route = route.ok_or_else(|| Rejection::new(Kind::NoSuchPath))?;
    let identity = authenticated(gate, &head, &route.server).await?;
    let at = Tick::last();
    let observer = observed.as_ref().map(|Observed(observer)| &**observer);
    if let Some(observer) = observer {
        observer.authenticated(&identity);
    }
    let door = gate.door(&route.server).cloned();
    let door = door.ok_or_else(|| Rejection::new(Kind::UnknownServer))?;
    let permits = gate.permits(&identity, &door)?;
    let holding = Holding {
        user: identity.user_id(),
        profile: gate.profile(&identity, &door, route.profile)?,
    };
    let Some(has_body) = has_body(&head.method) else {
        return Err(Rejection::new(Kind::MethodNotAllowed));
    };
    let way = Way::of(route.endpoint, &head.method, &head.uri, &door, &holding)?;
    let told = match &way {
        Way::Message { sealed, .. } => Some(sealed.clone()),
        _ => None,
    };
    let mut authenticated = Authenticated {
        identity,
        permits,
        at,
        door,
        holding,
        way,
    };
    let request = (head, has_body.then_some(body), observer);
    // Awaited where it is made, as all on this way: a future in a variable takes its room twice.
    let answered = judge(inner, &shared, request, &mut authenticated).await;
    answered.or_else(|rejection| match told {
        Some(stream) if rejection.is_answer() => tell(&shared, &stream, rejection),
        _ => Err(rejection),
    })
}

/// Who sent a request, what he may, when that was found out, and where it goes.
struct Authenticated {
    identity: Identity,
    permits: Permits,
    at: Tick,
    door: Arc<Door>,
    holding: Holding,
    way: Way,
}

async fn authenticated(
    gate: &Gate,
    head: &Head,
    server: &ServerName,
) -> Result<Identity, Rejection> {
    let caller = gate
        .authenticate_presented(&head.headers, head.presented(), Some(server))
        .await?;
    match head.extensions.get::<OnBehalf>() {
        None => Ok(caller),
        // Boxed, as all that is seldom: otherwise the future of every request had room for it.
        Some(OnBehalf(user)) => Box::pin(gate.on_behalf(&caller, user)).await,
    }
}

/// Reads and judges the body, and makes the exchange.
async fn judge<S: Inside, B: Body>(
    mut inner: S,
    shared: &Arc<Shared>,
    (head, body, observer): (Arc<Head>, Option<B>, Option<&dyn Observer>),
    caller: &mut Authenticated,
) -> Result<Response<AnswerBody<S::Body>>, Rejection> {
    let (has_body, budget) = (body.is_some(), &shared.budget);
    let most = shared.gate.concurrent(&caller.identity);
    let user = caller.holding.user;
    let turn = budget.enter(user, most).await?;
    // What is held counts until the answer's head is here: the body may have to be sent again.
    let (body, held) = match body {
        Some(body) => {
            let (body, held) = budget.read_in_time(user, body).await?;
            (body, Some(held))
        }
        None => (Bytes::new(), None),
    };
    let has_waited = turn.was_waited_for() || held.as_ref().is_some_and(Held::were_waited_for);
    if has_waited && Tick::last().since(caller.at) > FRESH {
        caller.identity = Box::pin(shared.gate.again(&caller.identity)).await?;
        caller.permits = shared.gate.permits(&caller.identity, &caller.door)?;
    }
    let text = has_body.then_some(&*body);
    let exchange = exchange(shared, (&head, text), caller, observer)?;
    let requests = match head.extensions.get::<Unmetered>() {
        Some(Unmetered) => 0,
        None => exchange.judged.requests(),
    };
    if let Err(rejection) = shared.gate.spend(&caller.identity, requests).await {
        return Err(rejection.for_ids(&exchange.judged.ids));
    }
    let answered = exchange.run(&mut inner, head, &body, turn, observer).await;
    drop(held);
    answered.map_err(|rejection| rejection.for_ids(&exchange.judged.ids))
}

/// Judges a request that was read whole, and of which the rest is to be made.
fn exchange<'b>(
    shared: &'b Arc<Shared>,
    (head, body): (&Head, Option<&'b [u8]>),
    caller: &'b Authenticated,
    observer: Option<&dyn Observer>,
) -> Result<Exchange<'b>, Rejection> {
    let mut judged = match body {
        Some(body) => Judged::body(head, body)?,
        None => Judged::bodiless(head)?,
    };
    if caller.way != Way::Streamable {
        // Its clients name later revisions in their headers, and have none of what those bring.
        judged.era = Era::Legacy;
    }
    if let Some(observer) = observer {
        observer.judged(&Seen::of(&judged));
    }
    Ok(Exchange {
        shared,
        identity: &caller.identity,
        permits: &caller.permits,
        door: &caller.door,
        holding: &caller.holding,
        way: &caller.way,
        judged,
    })
}

/// Refuses a message on the stream its sender reads.
fn tell<R>(
    shared: &Shared,
    stream: &str,
    rejection: Rejection,
) -> Result<Response<AnswerBody<R>>, Rejection> {
    if !shared.streams.tell(stream, &rejection.body()) {
        return Err(rejection);
    }
    tracing::debug!(kind = ?rejection.kind(), "refused, on the stream");
    let mut response = Response::new(AnswerBody::own(Full::default()));
    *response.status_mut() = StatusCode::ACCEPTED;
    response.extensions_mut().insert(rejection);
    Ok(response)
}
