//! One request whose sender is known: injected, sent, and its answer passed on.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use http_body_util::Full;
use url::Url;

use super::answer::{self, Arrived, Sealing};
use super::body::{AnswerBody, Rewriting};
use super::budget::{Counted, Open, Turn};
use super::call::{Holding, Judged, Opened, session_bytes};
use super::closing::Step;
use super::failure::{self, BoxError};
use super::inside::{Inside, Returned};
use super::merged::Names;
use super::observe::Observer;
use super::rules::{Answering, Messages};
use super::setup::{Client, Reply, fitted, reply};
use super::standing::Standing;
use super::way::Way;
use super::{Head, ServedBy, Shared, opening};
use crate::gate::{Discovery, Door, Grant, Permits, Request as Asked};
use crate::mcp::answer::{EventAnswer, JsonAnswer, whole_json};
use crate::mcp::edit::Edits;
use crate::mcp::ids::Session;
use crate::mcp::revision::Era;
use crate::mcp::scan::Capabilities;
use crate::rejection::{Kind, Rejection};
use crate::resolve::Identity;

/// How long a request waits for the secret its user was sent to set. Clients that ask again at once
/// would otherwise ask as fast as they can.
const SETUP_PATIENCE: Duration = Duration::from_secs(20);

/// Bytes a body may have to be held that long.
const HELD: usize = 64 * 1024;

/// Where a child's stream would be, if it had a place.
const CHILD: &str = "http://child.invalid/sse";

/// One request and its answer.
pub(super) struct Exchange<'b> {
    pub(super) shared: &'b Arc<Shared>,
    pub(super) identity: &'b Identity,
    pub(super) permits: &'b Permits,
    pub(super) door: &'b Arc<Door>,
    pub(super) holding: &'b Holding,
    pub(super) way: &'b Way,
    pub(super) judged: Judged<'b>,
}

impl Exchange<'_> {
    pub(super) async fn run<S: Inside>(
        &self,
        inner: &mut S,
        client: Arc<Head>,
        body: &Bytes,
        turn: Turn,
        observer: Option<&dyn Observer>,
    ) -> Result<Response<AnswerBody<S::Body>>, Rejection> {
        let opened = self.opened(&client)?;
        let mut edits = Edits::default();
        let reply = self.reply(&mut edits);
        let tools = self.judged.tools()?;
        let grant = self.grant(&tools, &opened, reply).await?;
        let made = (edits, tools);
        let mut ready = self.ready((client, body), &opened, made, grant, observer)?;
        if let Some(recorded) = ready.recorded.take() {
            recorded.await?;
        }
        if let Some(observer) = observer {
            observer.sending(ready.request.headers_mut());
        }
        let (request, told) = (ready.request, ready.told);
        let returned = match ready.mirrored {
            Some(mirrored) => Box::pin(mirrored.ask(inner, request, told)).await,
            None => match inner.ask(request, told).await {
                Ok(returned) => Ok(returned.map(Arrived::coming)),
                Err(error) => Err(self.failed(&error)),
            },
        };
        if let Some(observer) = observer {
            observer.returned(returned.as_ref().ok().map(|returned| returned.head.status));
        }
        let returned = returned?;
        let is_stream = returned.head.is_stream();
        let place = self.place(is_stream, ready.open, turn);
        let passed = self
            .pass_on(
                returned,
                is_stream,
                &opened,
                ready.secret_version,
                ready.merged,
            )
            .await?;
        Ok(passed.map(|body| body.counted(place)))
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
    fn opened(&self, head: &Head) -> Result<Opened, Rejection> {
        if let Way::Message { sealed, .. } = self.way {
            let message = self.judged.single();
            if let Some(message) = message.filter(|m| m.method.as_deref() == Some("initialize")) {
                self.shared.streams.declare(sealed, message.capabilities);
            }
            // Its session is in its path.
            return Ok(Opened::default());
        }
        Opened::from_head(head, self.judged.era, self.door, self.holding)
    }

    /// Whether the request answers a question of ours.
    fn reply(&self, edits: &mut Edits<'_>) -> Reply {
        match self
            .judged
            .single()
            .filter(|_| self.judged.era == Era::Modern)
        {
            Some(message) => {
                let holder = self.holding.holder(self.door);
                reply(self.judged.text, message, self.door, &holder, edits)
            }
            None => Reply::None,
        }
    }

    async fn grant(
        &self,
        tools: &[&str],
        opened: &Opened,
        reply: Reply,
    ) -> Result<Grant<'_>, Rejection> {
        let door = self.door;
        self.permits.check_tools(tools)?;
        let asked = Asked {
            tools,
            optional: door.discovery() == Discovery::Omit && self.judged.only_discovers(),
        };
        let (gate, profile) = (&self.shared.gate, &self.holding.profile);
        let admitted = if reply == Reply::Accepted && self.judged.text.len() <= HELD {
            let later = gate.admit_later(self.identity, door, profile, &asked, SETUP_PATIENCE);
            Box::pin(later).await
        } else {
            gate.admit(self.identity, door, profile, &asked).await
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
        match (self.way, &opened.session) {
            (Way::Message { sealed, .. }, _) => self.shared.streams.declared(sealed),
            (_, Some(session)) => session.capabilities,
            (_, None) => self.judged.capabilities(),
        }
    }

    fn failed(&self, error: &BoxError) -> Rejection {
        let rejection = failure::rejection(self.door.server(), error);
        match (self.way, rejection.kind()) {
            // Its session is the stream.
            (Way::Message { .. }, Kind::UnknownSession) => Rejection::new(Kind::UnknownStream),
            _ => rejection,
        }
    }

    async fn pass_on<R>(
        &self,
        returned: Returned<Arrived<R>>,
        is_stream: bool,
        opened: &Opened,
        secret_version: u64,
        merged: Option<Arc<Names>>,
    ) -> Result<Response<AnswerBody<R>>, Rejection>
    where
        R: Body<Data = Bytes> + Unpin,
        R::Error: Into<BoxError>,
    {
        let Returned {
            head: backend,
            body,
            served_by,
        } = returned;
        answer::judge(self.door, &backend)?;
        let sealing = Sealing {
            door: self.door,
            holding: self.holding,
            capabilities: self.judged.capabilities(),
            secret_version,
            known: opened.session.as_ref(),
            served_by,
            era: self.judged.era,
        };
        let (head, session) = answer::head_for_client(&backend, &sealing)?;
        let rules = self.rules(session.as_ref(), merged);
        let body = match self.way {
            Way::Stream { messages } if backend.status.is_success() => {
                if !is_stream || body.is_empty() {
                    return Err(opening::no_stream(self.door.server()));
                }
                let served_by = served_by.map(|ServedBy(replica)| replica);
                let messages = self.messages(messages, served_by)?;
                Box::pin(self.open_stream(body, rules, messages)).await?
            }
            _ if body.is_empty() => AnswerBody::own(Full::default()),
            _ if is_stream => self.coming(body, self.rewriting(rules, true)),
            _ => self.at_once(body, rules).await,
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

    /// An answer that is no stream: most are here whole by now, and need nobody to follow them.
    async fn at_once<R>(&self, mut body: Arrived<R>, rules: Answering) -> AnswerBody<R>
    where
        R: Body<Data = Bytes> + Unpin,
        R::Error: Into<BoxError>,
    {
        if let Some(data) = body.whole().await {
            match whole_json(&rules, &data, self.shared.budget.list_max()) {
                Ok(pieces) => return AnswerBody::whole(pieces),
                // Is cut where it cannot be followed, as one that comes little by little.
                Err(_) => body.first.push_back(Ok(data)),
            }
        }
        self.coming(body, self.rewriting(rules, false))
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
        rules.messages = Some(Box::new(messages));
        let body = self.coming(body, self.rewriting(rules, true));
        opening::announced(body, &sealed, &self.shared.streams, self.door.server()).await
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
