//! The account of every request: metrics, the audit trail and usage; spans and a line in the log where they
//! are wanted.
//!
//! A request is counted from its head to the end of its answer. Counting takes a few atomic operations
//! and no allocation: the server's handles are found by the first segment of the path.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use foldhash::fast::RandomState;
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::body::BackendBody;
use super::tool_call::{self, Destination};
use crate::audit::{self, Trail};
use crate::identity::KeyDigest;
use crate::layer::{
    AnswerBody, BoxError, Endpoint, Forwarded, Observed, Observer, Recorded, Seen, is_stream,
};
use crate::names::ServerName;
use crate::rejection::{Kind, Rejection};
use crate::resolve::Identity;
use crate::sys::Tick;
use crate::telemetry::{ACCESS, Ended, Metrics, ServerMetrics, Trace, Tracer};
use crate::usage::{self, Usage};
use crate::vault::UserId;

/// Where requests are counted, and what is told of them besides.
pub struct Account {
    metrics: Arc<Metrics>,
    /// First what asks for no server there is.
    servers: Vec<(Option<ServerName>, ServerMetrics)>,
    /// By the first segment of a path.
    places: HashMap<Box<str>, usize, RandomState>,
    keepers: Keepers,
}

/// Who else keeps an account of requests.
#[derive(Clone, Default)]
pub struct Keepers {
    /// Traces them.
    pub tracer: Option<Arc<Tracer>>,
    /// Records each that is forwarded.
    pub trail: Option<Trail>,
    /// Counts them by user, key and server.
    pub usage: Option<Usage>,
}

impl Account {
    /// An account of requests to `servers`, of which `default` is the one behind paths that name none.
    #[must_use]
    pub fn new<'a>(
        metrics: Arc<Metrics>,
        servers: impl IntoIterator<Item = &'a ServerName>,
        default: Option<&ServerName>,
        keepers: Keepers,
    ) -> Self {
        let mut known = vec![(None, metrics.server(None))];
        let mut places = HashMap::default();
        for name in servers {
            if Some(name) == default {
                let ends = [Endpoint::Mcp, Endpoint::Sse, Endpoint::Message];
                places.extend(ends.map(|end| (end.name().into(), known.len())));
            }
            places.insert(name.as_str().into(), known.len());
            known.push((Some(name.clone()), metrics.server(Some(name))));
        }
        Self {
            metrics,
            servers: known,
            places,
            keepers,
        }
    }

    /// All that is counted in this process.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The account of one request from `address` that is answered with nothing; `layer` tells of it what the
    /// layer would. For benches.
    #[doc(hidden)]
    pub fn rehearse(
        self: &Arc<Self>,
        head: &Parts,
        address: Option<IpAddr>,
        layer: impl FnOnce(&dyn Observer),
    ) {
        let entry = Entry::begin(self, head, address);
        if let Some(Observed(observer)) = entry.observed() {
            layer(&*observer);
        }
        let answer = AnswerBody::own(http_body_util::Full::default());
        drop(entry.answered(Response::new(answer), false));
    }

    fn place(&self, path: &str) -> usize {
        let first = path.strip_prefix('/').unwrap_or(path).split('/').next();
        let known = first.and_then(|first| self.places.get(first));
        known.copied().unwrap_or_default()
    }
}

/// One request, from its head on. What is not said until it is dropped did not happen.
pub(super) struct Entry {
    account: Arc<Account>,
    place: usize,
    begun: Tick,
    status: Option<StatusCode>,
    rejection: Option<Kind>,
    is_stream: bool,
    sent: u64,
    /// Whether the answer was passed on to its end.
    complete: bool,
    watched: Option<(&'static str, Arc<Watched>)>,
    /// Of a tool call with plain JSON: its server, once that is known.
    destination: Option<Destination>,
}

impl Entry {
    /// A request begins, which comes from `address`.
    pub(super) fn begin(account: &Arc<Account>, head: &Parts, address: Option<IpAddr>) -> Self {
        let path = head.uri.path();
        let destination = (path == tool_call::PATH).then(Destination::default);
        let place = match destination {
            None => account.place(path),
            Some(_) => 0,
        };
        account.servers[place].1.under_way.inc();
        let logged = tracing::enabled!(target: ACCESS, tracing::Level::DEBUG);
        let Keepers {
            tracer,
            trail,
            usage,
        } = &account.keepers;
        let is_kept = logged || tracer.is_some() || trail.is_some() || usage.is_some();
        let watched = is_kept.then(|| {
            let watched = Watched {
                trace: tracer.as_ref().map(|t| Box::new(t.begin(&head.headers))),
                trail: trail.clone(),
                address,
                facts: Mutex::default(),
            };
            (shown(&head.method), Arc::new(watched))
        });
        Self {
            account: account.clone(),
            place,
            begun: Tick::now(),
            status: None,
            rejection: None,
            is_stream: false,
            sent: 0,
            complete: false,
            watched,
            destination,
        }
    }

    /// Who is to be told of it, if anybody is.
    pub(super) fn observed(&self) -> Option<Observed> {
        let (_, watched) = self.watched.as_ref()?;
        Some(Observed(watched.clone()))
    }

    /// Where the server is to be named that a tool call with plain JSON is for.
    pub(super) fn destination(&self) -> Option<&Destination> {
        self.destination.as_ref()
    }

    /// It is answered; the answer is on its way.
    pub(super) fn answered(
        mut self,
        response: Response<AnswerBody<BackendBody>>,
        over_http2: bool,
    ) -> Response<Accounted> {
        let rejection = response.extensions().get::<Rejection>();
        self.status = Some(response.status());
        self.rejection = rejection.map(Rejection::kind);
        self.is_stream = response.status().is_success() && is_stream(response.headers());
        let (server, metrics) = (self.server(), self.account.metrics());
        server.duration.observe(Tick::now().since(self.begun));
        server.answered(self.status);
        if self.is_stream {
            server.streams.inc();
        }
        if let Some(kind) = self.rejection {
            server.rejected(kind);
            metrics.rejected(kind);
        }
        response.map(|body| {
            self.complete = body.is_end_stream();
            Accounted {
                body,
                entry: self,
                over_http2,
            }
        })
    }

    fn server(&self) -> &ServerMetrics {
        &self.account.servers[self.known_place()].1
    }

    /// The place it began at, unless its path did not say it.
    fn known_place(&self) -> usize {
        let destination = self.destination.as_ref();
        let server = destination.and_then(|Destination(server)| server.get());
        let known = server.and_then(|name| self.account.places.get(name.as_str()));
        known.copied().unwrap_or(self.place)
    }

    fn tell(&self, http_method: &'static str, watched: &Watched) {
        let facts = &*watched.facts();
        let name = &self.account.servers[self.known_place()].0;
        let ended = Ended {
            http_method,
            server: name.as_ref().map(ServerName::as_str),
            method: facts.method,
            era: facts.era,
            status: self.status,
            rejection: self.rejection.map(Kind::name),
        };
        tracing::debug!(
            target: ACCESS,
            server = ended.server,
            http_method,
            method = ended.method,
            status = self.status.map(|status| status.as_u16()),
            rejection = ended.rejection,
            user = facts.caller.map(|(user, _)| user.to_string()),
            key = facts.caller.map(|(_, key)| key.key_id().to_string()),
            duration_ms = Tick::now().since(self.begun).as_micros() as f64 / 1e3,
            bytes_in = facts.received,
            bytes_out = self.sent,
            trace_id = watched.trace.as_deref().and_then(Trace::id),
            "request"
        );
        if let Some(trace) = &watched.trace {
            trace.end(&ended);
        }
        self.keep(facts, watched.address);
    }

    /// Tells the trail and the count of usage.
    fn keep(&self, facts: &Facts, address: Option<IpAddr>) {
        let keepers = &self.account.keepers;
        let duration = Tick::now().since(self.begun);
        if let (Some(trail), Some(request)) = (&keepers.trail, facts.recorded) {
            let end = audit::End {
                request,
                status: self.status.map(|status| status.as_u16()),
                rejection: self.rejection.map(Kind::name),
                bytes_out: self.sent,
                duration_us: duration.as_micros().try_into().unwrap_or(u64::MAX),
                complete: self.complete,
            };
            trail.note(&end.into());
        }
        let server = self.account.servers[self.known_place()].0.as_ref();
        if let (Some(usage), Some((user, key)), Some(server)) =
            (&keepers.usage, facts.caller, server)
        {
            let refused = self.rejection.is_some();
            let error = self.status.is_none_or(|status| status.as_u16() >= 400);
            usage.note(&usage::Request {
                user,
                key,
                server,
                failed: refused || error,
                address,
                client: facts.client.as_deref(),
            });
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Where it was counted when it began.
        self.account.servers[self.place].1.under_way.dec();
        let server = self.server();
        if self.is_stream {
            server.streams.dec();
        }
        if self.status.is_none() {
            server.answered(None);
        }
        if let Some((http_method, watched)) = &self.watched {
            self.tell(http_method, watched);
        }
    }
}

/// A method may be any word a client likes.
fn shown(method: &Method) -> &'static str {
    let known = [Method::POST, Method::GET, Method::DELETE, Method::OPTIONS];
    let names = ["POST", "GET", "DELETE", "OPTIONS"];
    let at = known.iter().position(|known| known == method);
    at.map_or("_OTHER", |at| names[at])
}

/// What the layer tells of one request.
struct Watched {
    // Boxed: it is large, and most have none.
    trace: Option<Box<Trace>>,
    trail: Option<Trail>,
    address: Option<IpAddr>,
    // Of one request, so never waited for.
    facts: Mutex<Facts>,
}

/// No name of a user: the ids are enough for whoever may look them up.
#[derive(Default)]
struct Facts {
    caller: Option<(UserId, KeyDigest)>,
    client: Option<Arc<str>>,
    /// The number of its record.
    recorded: Option<u64>,
    method: Option<&'static str>,
    era: Option<&'static str>,
    received: usize,
}

impl Watched {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Watched {
    fn authenticated(&self, caller: &Identity) {
        self.facts().caller = Some((caller.user_id(), caller.digest()));
    }

    fn judged(&self, request: &Seen<'_>) {
        let mut facts = self.facts();
        facts.method = request.method;
        facts.era = Some(request.era.name());
        facts.received = request.bytes;
        facts.client.clone_from(&request.client);
        drop(facts);
        if let (Some(trace), Some(parent)) = (&self.trace, request.trace_parent) {
            trace.parent_in_body(parent, request.trace_state);
        }
    }

    fn records(&self) -> bool {
        // A tool call was recorded before the requests that are made for it.
        self.trail.is_some() && self.facts().recorded.is_none()
    }

    fn forwarding(&self, forwarded: Forwarded<'_>) -> Option<Recorded> {
        let trail = self.trail.as_ref()?;
        let number = trail.next_request();
        let client = {
            let mut facts = self.facts();
            facts.recorded = Some(number);
            facts.client.clone()
        };
        let start = start(forwarded, number, self.address, client.as_deref()).into();
        if !trail.is_required() {
            trail.note(&start);
            return None;
        }
        let trail = trail.clone();
        Some(Box::pin(async move {
            let recorded = trail.record(start).await;
            recorded.map_err(|_| Rejection::new(Kind::AuditUnavailable))
        }))
    }

    fn sending(&self, headers: &mut HeaderMap) {
        if let Some(trace) = &self.trace {
            trace.sending(headers);
        }
    }

    fn returned(&self, status: Option<StatusCode>) {
        if let Some(trace) = &self.trace {
            trace.returned(status);
        }
    }
}

/// The record of a request that is about to be forwarded.
fn start<'a>(
    forwarded: Forwarded<'a>,
    number: u64,
    address: Option<IpAddr>,
    client: Option<&'a str>,
) -> audit::Start<'a> {
    let caller = forwarded.caller;
    let secrets = forwarded.secrets.into_iter().map(|used| audit::SecretUsed {
        name: used.name,
        version: used.version,
        from: match used.group {
            None => audit::Owner::User,
            Some(group) => audit::Owner::Group(group.into()),
        },
    });
    audit::Start {
        request: number,
        user: caller.user_name().into(),
        user_id: caller.user_id(),
        by: caller.actor().map(|actor| actor.name.as_str().into()),
        key: (caller.digest() != KeyDigest::of_nothing()).then(|| caller.key_id()),
        server: forwarded.server,
        profile: forwarded.profile,
        called: audit::Called::new(forwarded.methods, &forwarded.tools),
        secrets: secrets.collect(),
        address,
        client: client.map(Into::into),
    }
}

pin_project! {
    /// The body of an answer; its end is the request's.
    pub(super) struct Accounted {
        #[pin]
        body: AnswerBody<BackendBody>,
        entry: Entry,
        over_http2: bool,
    }
}

impl Body for Accounted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let polled = this.body.as_mut().poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            this.entry.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        // HTTP/1 does not ask a body of known length again after its last frame; HTTP/2 does, once its client had
        // room for that.
        let was_last = |body: &AnswerBody<_>| {
            !*this.over_http2 && (body.is_end_stream() || body.size_hint().exact() == Some(0))
        };
        this.entry.complete |= match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => was_last(&this.body),
            _ => false,
        };
        polled
    }

    fn is_end_stream(&self) -> bool {
        if self.over_http2 && self.entry.sent > 0 {
            return self.entry.complete;
        }
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
