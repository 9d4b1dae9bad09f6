//! One request whose sender is known: injected, sent, and its answer passed on.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, response};
use http_body::Body;
use http_body_util::Full;
use url::Url;
use zeroize::Zeroizing;

use super::answer::{self, Arrived, Sealing};
use super::body::{AnswerBody, Rewriting};
use super::budget::{Counted, Open, Turn};
use super::call::{Holding, Judged, Opened, head_for_backend, session_bytes};
use super::closing::Step;
use super::failure::{self, BoxError};
use super::inside::Inside;
use super::lease::Lease;
use super::merged::Names;
use super::mirror::{Behalf, Mirrored};
use super::observe::{self, Forwarded, Observer, Recorded};
use super::rules::{Answering, Messages, Tasks};
use super::setup::{Client, Reply, fitted, reply};
use super::standing::Standing;
use super::way::Way;
use super::{Affinity, BackendPath, Caller, RequestBody, ServedBy, Shared, opening, splice};
use crate::gate::{Discovery, Door, Grant, Permits, Request as Asked};
use crate::mcp::answer::{EventAnswer, JsonAnswer};
use crate::mcp::edit::Edits;
use crate::mcp::headers::{MCP_NAME, mirrored};
use crate::mcp::ids::Session;
use crate::mcp::revision::Era;
use crate::mcp::scan::Capabilities;
use crate::mcp::tasks::{TaskError, open_ids};
use crate::rejection::{Ids, Kind, Rejection};
use crate::resolve::Identity;

/// How long a request waits for the secret its user was sent to set. Clients that ask again at once
/// would otherwise ask as fast as they can.
const SETUP_PATIENCE: Duration = Duration::from_secs(20);

/// Bytes a body may have to be held that long.
const HELD: usize = 64 * 1024;

/// Bytes of a body up to which it is copied where something is set in it: less than pieces cost.
const IN_ONE: usize = 16 * 1024;

/// Places in which something may be set for a body to be sent in pieces, each of which is written alone: more have
/// batches, and whoever writes an argument in many ways.
const PLACES: usize = 8;

/// Where a child's stream would be, if it had a place.
const CHILD: &str = "http://child.invalid/sse";

/// One request and its answer.
pub(super) struct Exchange<'b> {
    pub(super) shared: Arc<Shared>,
    pub(super) identity: Identity,
    pub(super) permits: Permits,
    pub(super) door: Arc<Door>,
    pub(super) holding: Holding,
    pub(super) judged: Judged<'b>,
    pub(super) way: Way,
}

/// What the backend is sent of a request's body.
struct Outgoing {
    body: RequestBody,
    /// The task it is about, by the backend's id.
    task: Option<String>,
}

impl Exchange<'_> {
    pub(super) async fn run<S: Inside>(
        &self,
        inner: &mut S,
        parts: &mut Parts,
        body: &Bytes,
        turn: Turn,
    ) -> Result<Response<AnswerBody<S::Body>>, Rejection> {
        let opened = self.opened(parts)?;
        let door = self.door.clone();
        let mut edits = Edits::default();
        let reply = self.reply(&mut edits);
        let tools = self.judged.tools()?;
        let mut grant = self.grant(&door, &tools, &opened, reply).await?;
        let rewritten = self.rewrite(parts, body, &grant, edits)?;
        let mut head = head_for_backend(parts, &opened);
        if let Some(task) = &rewritten.task
            && head.headers.contains_key(MCP_NAME)
        {
            head.headers.insert(MCP_NAME, mirrored(task));
        }
        self.aim(&mut head, &mut grant)?;
        if let Some(replica) = self.replica(&opened) {
            head.extensions.insert(Affinity(replica));
        }
        // Before the backend is asked: on a stream of HTTP+SSE its list may come before its answer here.
        let merged = self.merged(&grant);
        let open = self.stream(&parts.method)?;
        // Of what waits for an answer little is held: many do.
        parts.headers = HeaderMap::new();
        let observer = observe::of(&parts.extensions);
        if let Some(observer) = observer {
            if let Some(recorded) = self.recorded(observer, tools, &grant) {
                recorded.await?;
            }
            observer.sending(&mut head.headers);
        }
        let secret_version = grant.secret_version();
        let asked = self.ask(inner, head, rewritten.body, grant).await;
        if let Some(observer) = observer {
            observer.returned(asked.as_ref().ok().map(|(head, _)| head.status));
        }
        let (head, answer) = asked?;
        let is_stream = answer::is_stream(&head.headers);
        let place = self.place(is_stream, open, turn);
        let passed = self
            .pass_on(head, answer, is_stream, &opened, secret_version, merged)
            .await?;
        Ok(passed.map(|body| body.counted(place)))
    }

    /// Tells who keeps a record what is about to be forwarded.
    fn recorded(
        &self,
        observer: &dyn Observer,
        tools: Vec<&str>,
        grant: &Grant<'_>,
    ) -> Option<Recorded> {
        if !observer.records() {
            return None;
        }
        let asked = Asked {
            tools: &tools,
            optional: false,
        };
        let secrets = grant.used(&self.door, &asked);
        observer.forwarding(Forwarded {
            caller: &self.identity,
            server: self.door.server(),
            profile: &self.holding.profile,
            methods: self.judged.messages().iter().map(observe::shown).collect(),
            tools,
            secrets,
        })
    }

    /// Opens the stream that is asked for.
    ///
    /// # Errors
    /// One more would be too many; or would be if a request is answered by one.
    fn stream(&self, method: &Method) -> Result<Option<Open>, Rejection> {
        let (budget, user) = (&self.shared.budget, self.holding.user);
        if method == Method::GET {
            return budget.open(user).map(Some);
        }
        // Of what answers no request there is no stream, and over HTTP+SSE answers come by another.
        if !matches!(self.judged.ids, Ids::None) && self.way == Way::Streamable {
            budget.may_open(user)?;
        }
        Ok(None)
    }

    /// What the answer counts as until it was passed on.
    fn place(&self, is_stream: bool, open: Option<Open>, turn: Turn) -> Counted {
        if !is_stream {
            return Counted::Request(turn);
        }
        let (budget, user) = (&self.shared.budget, self.holding.user);
        Counted::Stream(open.unwrap_or_else(|| budget.open_answer(user)))
    }

    /// Opens the ids the headers bring, and remembers what a client of HTTP+SSE declares.
    fn opened(&self, parts: &Parts) -> Result<Opened, Rejection> {
        if let Way::Message { sealed, .. } = &self.way {
            let message = self.judged.single();
            if let Some(message) = message.filter(|m| m.method.as_deref() == Some("initialize")) {
                self.shared.streams.declare(sealed, message.capabilities);
            }
            // Its session is in its path.
            return Ok(Opened::default());
        }
        Opened::from_headers(&parts.headers, self.judged.era, &self.door, &self.holding)
    }

    /// Whether the request answers a question of ours.
    fn reply(&self, edits: &mut Edits<'_>) -> Reply {
        match self
            .judged
            .single()
            .filter(|_| self.judged.era == Era::Modern)
        {
            Some(message) => {
                let holder = self.holding.holder(&self.door);
                reply(self.judged.text, message, &self.door, &holder, edits)
            }
            None => Reply::None,
        }
    }

    async fn grant<'d>(
        &self,
        door: &'d Door,
        tools: &[&str],
        opened: &Opened,
        reply: Reply,
    ) -> Result<Grant<'d>, Rejection> {
        self.permits.check_tools(tools)?;
        let asked = Asked {
            tools,
            optional: door.discovery() == Discovery::Omit && self.judged.only_discovers(),
        };
        let (gate, profile) = (&self.shared.gate, &self.holding.profile);
        let admitted = if reply == Reply::Accepted && self.judged.text.len() <= HELD {
            let later = gate.admit_later(&self.identity, door, profile, &asked, SETUP_PATIENCE);
            Box::pin(later).await
        } else {
            gate.admit(&self.identity, door, profile, &asked).await
        };
        admitted.map_err(|rejection| {
            if rejection.kind() != Kind::SecretMissing {
                return rejection;
            }
            let client = Client {
                era: self.judged.era,
                capabilities: self.capabilities(opened),
                message: self.judged.single(),
                text: self.judged.text,
                reply,
            };
            let page = self.shared.setup_page.as_ref();
            let holder = self.holding.holder(door);
            fitted(rejection, &client, page, door, &holder)
        })
    }

    /// What the client can do: as it says now, or said when its session began.
    fn capabilities(&self, opened: &Opened) -> Capabilities {
        match (&self.way, &opened.session) {
            (Way::Message { sealed, .. }, _) => self.shared.streams.declared(sealed),
            (_, Some(session)) => session.capabilities,
            (_, None) => self.judged.capabilities(),
        }
    }

    /// The body for the backend: arguments set, task ids opened, nothing else touched.
    fn rewrite(
        &self,
        parts: &Parts,
        body: &Bytes,
        grant: &Grant<'_>,
        mut edits: Edits<'_>,
    ) -> Result<Outgoing, Rejection> {
        let text = self.judged.text;
        let tasks = Tasks {
            door: &self.door,
            holder: self.holding.holder(&self.door),
        };
        let (mut replaced, mut task) = (0, None);
        for message in self.judged.messages() {
            let about = open_ids(text, message, &tasks, &mut edits);
            task = about.map_err(|error| self.task_refusal(error))?;
            if let Some(tool) = splice::tool(message)? {
                let planned: Vec<_> = grant.arguments(tool).collect();
                replaced += splice::set_arguments(text, message, &planned, &mut edits)?;
            }
        }
        self.shared.count_replaced(&self.door, parts, replaced);
        let body = if edits.is_empty() {
            body.clone().into()
        } else if body.len() <= IN_ONE || edits.count() > PLACES {
            edits.apply(body).into()
        } else {
            RequestBody::new(edits.pieces(body))
        };
        Ok(Outgoing { body, task })
    }

    fn task_refusal(&self, error: TaskError) -> Rejection {
        match error {
            TaskError::Listed => {
                let text = "Method not found: tasks are not listed here, since a server may not know \
                            whose they are";
                Rejection::with_text(Kind::MethodNotFound, text.to_owned())
                    .with_not_found(self.judged.era == Era::Modern)
            }
            TaskError::Ambiguous => Rejection::with_text(
                Kind::NotAMessage,
                "a key that names tasks differs from it in upper and lower case, or is no list"
                    .into(),
            ),
        }
    }

    /// Fills the slots of the head and says for whom it is and where it goes. Takes the grant: without
    /// one there is no request.
    ///
    /// # Errors
    /// A query no URL can hold: without it the request would go without its secrets.
    fn aim(&self, head: &mut Parts, grant: &mut Grant<'_>) -> Result<(), Rejection> {
        grant.apply(&mut head.headers);
        let query = grant.expose_query();
        if !query.is_empty() {
            let target = Zeroizing::new(format!("{}?{query}", head.uri.path()));
            head.uri = target.parse().map_err(|_| self.query_too_long())?;
        }
        head.extensions.insert(Caller {
            identity: self.identity.clone(),
            server: self.door.server().clone(),
            profile: self.holding.profile.clone(),
        });
        let caller = (&self.shared.gate, &self.identity, &self.permits);
        if let Some(lease) = Lease::of(&self.door, caller, grant, &self.way) {
            head.extensions.insert(lease);
        }
        if let Way::Message { target, .. } = &self.way {
            head.extensions.insert(BackendPath(target.clone()));
        }
        Ok(())
    }

    /// The replica of the backend that holds what the request belongs to.
    fn replica(&self, opened: &Opened) -> Option<u64> {
        match &self.way {
            Way::Message { served_by, .. } => *served_by,
            Way::Streamable | Way::Stream { .. } => opened.session.as_ref()?.served_by,
        }
    }

    fn query_too_long(&self) -> Rejection {
        let server = self.door.server();
        let text = format!(
            "the secrets of the query of the server `{server}` are longer than a URL can be: set shorter ones"
        );
        Rejection::with_text(Kind::SecretUnreadable, text)
    }

    /// Asks the backend, with the headers that mirror injected arguments where it wants them.
    async fn ask<S: Inside>(
        &self,
        inner: &mut S,
        head: Parts,
        body: RequestBody,
        grant: Grant<'_>,
    ) -> Result<(response::Parts, Arrived<S::Body>), Rejection> {
        let behalf = Behalf {
            shared: &self.shared,
            identity: &self.identity,
            door: &self.door,
            holding: &self.holding,
        };
        let mirrored = Mirrored::wanted(&self.judged, behalf, &head, &grant);
        // The secrets are where they belong.
        drop(grant);
        if let Some(mirrored) = mirrored {
            return Box::pin(mirrored.ask(inner, head, body)).await;
        }
        let request = Request::from_parts(head, body);
        let answer = inner.ask(request).await;
        let answer = answer.map_err(|error| self.failed(&error))?;
        let (head, body) = answer.into_parts();
        Ok((head, Arrived::coming(body)))
    }

    fn failed(&self, error: &BoxError) -> Rejection {
        let rejection = failure::rejection(self.door.server(), error);
        match (&self.way, rejection.kind()) {
            // Its session is the stream.
            (Way::Message { .. }, Kind::UnknownSession) => Rejection::new(Kind::UnknownStream),
            _ => rejection,
        }
    }

    async fn pass_on<R>(
        &self,
        backend: response::Parts,
        body: Arrived<R>,
        is_stream: bool,
        opened: &Opened,
        secret_version: u64,
        merged: Option<Arc<Names>>,
    ) -> Result<Response<AnswerBody<R>>, Rejection>
    where
        R: Body<Data = Bytes>,
        R::Error: Into<BoxError>,
    {
        answer::judge(&self.door, backend.status, &backend.headers)?;
        let sealing = Sealing {
            door: &self.door,
            holding: &self.holding,
            capabilities: self.judged.capabilities(),
            secret_version,
            known: opened.session.as_ref(),
            era: self.judged.era,
        };
        let (head, session) = answer::head_for_client(&backend, &sealing)?;
        let rules = self.rules(session.as_ref(), merged);
        let body = match &self.way {
            Way::Stream { messages } if backend.status.is_success() => {
                if !is_stream || body.is_empty() {
                    return Err(opening::no_stream(self.door.server()));
                }
                let served_by = backend.extensions.get().map(|ServedBy(replica)| *replica);
                let messages = self.messages(messages, served_by)?;
                Box::pin(self.open_stream(body, rules, messages)).await?
            }
            _ if body.is_empty() => AnswerBody::own(Full::default()),
            _ => self.coming(body, self.rewriting(rules, is_stream)),
        };
        Ok(Response::from_parts(head, body))
    }

    fn rewriting(&self, rules: Answering, is_stream: bool) -> Rewriting {
        let list_max = self.shared.budget.list_max();
        if is_stream {
            Rewriting::Events(EventAnswer::new(rules, list_max))
        } else {
            Rewriting::Json(JsonAnswer::new(rules, list_max))
        }
    }

    fn coming<R>(&self, body: Arrived<R>, rewriting: Rewriting) -> AnswerBody<R> {
        let ends_at = matches!(rewriting, Rewriting::Events(_)).then(|| self.ends_at());
        let caller = (self.identity.clone(), self.permits.clone());
        let standing = Standing::new(self.shared.clone(), caller, ends_at);
        AnswerBody::backend(body, rewriting, standing)
    }

    /// When its stream ends because the process is about to stop.
    fn ends_at(&self) -> Step {
        let only_listens = match self.judged.single() {
            Some(message) => message.method.as_deref() == Some("subscriptions/listen"),
            None => self.judged.text.is_empty(),
        };
        match self.way {
            Way::Streamable if only_listens => Step::Listening,
            // On that of HTTP+SSE come the answers to messages of its own.
            _ => Step::All,
        }
    }

    /// The stream of HTTP+SSE, from where it said by which path its messages are to come.
    async fn open_stream<R>(
        &self,
        body: Arrived<R>,
        mut rules: Answering,
        messages: Messages,
    ) -> Result<AnswerBody<R>, Rejection>
    where
        R: Body<Data = Bytes>,
        R::Error: Into<BoxError>,
    {
        let sealed = messages.sealed.clone();
        rules.messages = Some(messages);
        let body = self.coming(body, self.rewriting(rules, true));
        opening::announced(body, &sealed, &self.shared.streams, self.door.server()).await
    }

    fn merged(&self, grant: &Grant<'_>) -> Option<Arc<Names>> {
        self.door.slots().merges_all().then(|| {
            let (merged, server) = (&self.shared.merged, self.door.server());
            merged.now(&self.holding, server, grant.merged())
        })
    }

    fn rules(&self, session: Option<&Session>, merged: Option<Arc<Names>>) -> Answering {
        Answering {
            door: self.door.clone(),
            holding: self.holding.clone(),
            permits: self.permits.clone(),
            session: session_bytes(session).to_vec(),
            merged,
            messages: None,
        }
    }

    fn messages(&self, path: &str, served_by: Option<u64>) -> Result<Messages, Rejection> {
        let stream = self.door.sse_url().map(ToString::to_string);
        // Of a child only the path for messages counts.
        let stream = stream.or_else(|| self.door.has_children().then(|| CHILD.to_owned()));
        let stream = stream.and_then(|url| Url::parse(&url).ok());
        Ok(Messages {
            stream: stream.ok_or_else(|| Rejection::new(Kind::BackendBroken))?,
            served_by,
            path: path.to_owned(),
            sealed: Arc::new(OnceLock::new()),
        })
    }
}
