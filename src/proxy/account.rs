//! The account of every request: metrics always; spans and a line in the log where they are wanted.
//!
//! A request is counted from its head to the end of its answer. Counting takes a few atomic operations
//! and no allocation: the server's handles are found by the first segment of the path.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::body::BackendBody;
use crate::layer::{AnswerBody, BoxError, Endpoint, Observed, Observer, Seen, is_stream};
use crate::names::ServerName;
use crate::rejection::{Kind, Rejection};
use crate::resolve::Identity;
use crate::telemetry::{ACCESS, Ended, Metrics, ServerMetrics, Trace, Tracer};

/// Where requests are counted, and what is told of them besides.
pub struct Account {
    metrics: Arc<Metrics>,
    /// First what asks for no server there is.
    servers: Vec<(Option<ServerName>, ServerMetrics)>,
    /// By the first segment of a path.
    places: HashMap<Box<str>, usize>,
    tracer: Option<Arc<Tracer>>,
}

impl Account {
    /// An account of requests to `servers`, of which `default` is the one behind paths that name none.
    #[must_use]
    pub fn new<'a>(
        metrics: Arc<Metrics>,
        servers: impl IntoIterator<Item = &'a ServerName>,
        default: Option<&ServerName>,
        tracer: Option<Arc<Tracer>>,
    ) -> Self {
        let mut known = vec![(None, metrics.server(None))];
        let mut places = HashMap::new();
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
            tracer,
        }
    }

    /// All that is counted in this process.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
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
    begun: Instant,
    status: Option<StatusCode>,
    rejection: Option<Kind>,
    is_stream: bool,
    sent: u64,
    watched: Option<(&'static str, Arc<Watched>)>,
}

impl Entry {
    /// A request begins.
    pub(super) fn begin<B>(account: &Arc<Account>, request: &mut Request<B>) -> Self {
        let place = account.place(request.uri().path());
        account.servers[place].1.under_way.inc();
        let logged = tracing::enabled!(target: ACCESS, tracing::Level::DEBUG);
        let watched = (logged || account.tracer.is_some()).then(|| {
            let trace = account.tracer.as_ref().map(|t| t.begin(request.headers()));
            let facts = Mutex::default();
            let watched = Arc::new(Watched { trace, facts });
            request.extensions_mut().insert(Observed(watched.clone()));
            (shown(request.method()), watched)
        });
        Self {
            account: account.clone(),
            place,
            begun: Instant::now(),
            status: None,
            rejection: None,
            is_stream: false,
            sent: 0,
            watched,
        }
    }

    /// It is answered; the answer is on its way.
    pub(super) fn answered(
        mut self,
        response: Response<AnswerBody<BackendBody>>,
    ) -> Response<Accounted> {
        let rejection = response.extensions().get::<Rejection>();
        self.status = Some(response.status());
        self.rejection = rejection.map(Rejection::kind);
        self.is_stream = response.status().is_success() && is_stream(response.headers());
        let (server, metrics) = (self.server(), self.account.metrics());
        server.duration.observe(self.begun.elapsed());
        server.answered(self.status);
        if self.is_stream {
            server.streams.inc();
        }
        if let Some(kind) = self.rejection {
            server.rejected(kind);
            metrics.rejected(kind);
        }
        response.map(|body| Accounted { body, entry: self })
    }

    fn server(&self) -> &ServerMetrics {
        &self.account.servers[self.place].1
    }

    fn tell(&self, http_method: &'static str, watched: &Watched) {
        let facts = watched.facts();
        let name = &self.account.servers[self.place].0;
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
            user = facts.user,
            key = facts.key,
            duration_ms = self.begun.elapsed().as_micros() as f64 / 1e3,
            bytes_in = facts.received,
            bytes_out = self.sent,
            trace_id = watched.trace.as_ref().and_then(Trace::id),
            "request"
        );
        if let Some(trace) = &watched.trace {
            trace.end(&ended);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let server = self.server();
        server.under_way.dec();
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
    trace: Option<Trace>,
    // Of one request, so never waited for.
    facts: Mutex<Facts>,
}

/// No name of a user: the ids are enough for whoever may look them up.
#[derive(Default, Clone)]
struct Facts {
    user: Option<String>,
    key: Option<String>,
    method: Option<&'static str>,
    era: Option<&'static str>,
    received: usize,
}

impl Watched {
    fn facts(&self) -> Facts {
        let facts = self.facts.lock();
        facts.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, note: impl FnOnce(&mut Facts)) {
        let facts = self.facts.lock();
        note(&mut facts.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Observer for Watched {
    fn authenticated(&self, caller: &Identity) {
        self.note(|facts| {
            facts.user = Some(caller.user_id().to_string());
            facts.key = Some(caller.key_id().to_string());
        });
    }

    fn judged(&self, request: &Seen<'_>) {
        self.note(|facts| {
            facts.method = request.method;
            facts.era = Some(request.era.name());
            facts.received = request.bytes;
        });
        if let (Some(trace), Some(parent)) = (&self.trace, request.trace_parent) {
            trace.parent_in_body(parent, request.trace_state);
        }
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

pin_project! {
    /// The body of an answer; its end is the request's.
    pub(super) struct Accounted {
        #[pin]
        body: AnswerBody<BackendBody>,
        entry: Entry,
    }
}

impl Body for Accounted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let polled = this.body.poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            this.entry.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
