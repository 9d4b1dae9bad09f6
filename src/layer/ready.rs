//! The request as its backend gets it: arguments set, ids opened, slots filled.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request};
use zeroize::Zeroizing;

use super::budget::Open;
use super::call::{Opened, head_for_backend};
use super::exchange::Exchange;
use super::inside::Told;
use super::lease::Lease;
use super::merged::Names;
use super::mirror::{Behalf, Mirrored};
use super::observe::{self, Forwarded, Observer, Recorded};
use super::rules::Tasks;
use super::way::Way;
use super::{Affinity, BackendPath, Caller, Head, RequestBody, splice};
use crate::gate::{Grant, Request as Asked};
use crate::mcp::edit::Edits;
use crate::mcp::headers::{MCP_NAME, mirrored};
use crate::mcp::revision::Era;
use crate::mcp::tasks::{TaskError, open_ids};
use crate::rejection::{Ids, Kind, Rejection};

/// Bytes of a body up to which it is copied where something is set in it: less than pieces cost.
const IN_ONE: usize = 16 * 1024;

/// Places in which something may be set for a body to be sent in pieces, each of which is written alone: more have
/// batches, and whoever writes an argument in many ways.
const PLACES: usize = 8;

/// What the backend is sent of a request's body.
struct Rewritten {
    body: RequestBody,
    /// The task it is about, by the backend's id.
    task: Option<String>,
}

/// A request with its secrets in it. Of the grant nothing is left besides.
pub(super) struct Ready<'e> {
    pub(super) request: Box<Request<RequestBody>>,
    pub(super) told: Told,
    pub(super) mirrored: Option<Box<Mirrored<'e>>>,
    pub(super) merged: Option<Arc<Names>>,
    /// The stream that is asked for.
    pub(super) open: Option<Open>,
    pub(super) secret_version: u64,
    /// To be waited for before it goes.
    pub(super) recorded: Option<Recorded>,
}

impl Exchange<'_> {
    /// Makes the request for the backend. Takes the grant: without one there is no request. Takes the
    /// client's head, too: of what waits for an answer little is held, for many do.
    pub(super) fn ready(
        &self,
        (client, body): (Arc<Head>, &Bytes),
        opened: &Opened,
        (edits, tools): (Edits<'_>, Vec<&str>),
        mut grant: Grant<'_>,
        observer: Option<&dyn Observer>,
    ) -> Result<Ready<'_>, Rejection> {
        let Rewritten { body, task } = self.rewrite(&client, body, &grant, edits)?;
        let mut request = Box::new(Request::new(body));
        head_for_backend(&client, opened, &mut request);
        if let Some(task) = &task
            && request.headers().contains_key(MCP_NAME)
        {
            request.headers_mut().insert(MCP_NAME, mirrored(task));
        }
        self.fill(&mut request, &mut grant)?;
        let behalf = Behalf {
            shared: self.shared,
            identity: self.identity,
            door: self.door,
            holding: self.holding,
        };
        let mirrored = Mirrored::wanted(&self.judged, behalf, request.headers(), &grant);
        // Before the backend is asked: on a stream of HTTP+SSE its list may come before its answer here.
        let merged = self.merged(&grant);
        // What is refused for a stream too many is not recorded as forwarded.
        let open = self.stream(&client.method)?;
        let recorded = observer.and_then(|observer| self.recorded(observer, tools, &grant));
        Ok(Ready {
            told: self.told(&grant, opened),
            mirrored: mirrored.map(Box::new),
            merged,
            open,
            secret_version: grant.secret_version(),
            recorded,
            request,
        })
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
        let secrets = grant.used(self.door, &asked);
        observer.forwarding(Forwarded {
            caller: self.identity,
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
        if !matches!(self.judged.ids, Ids::None) && *self.way == Way::Streamable {
            budget.may_open(user)?;
        }
        Ok(None)
    }

    /// The body for the backend: arguments set, task ids opened, nothing else touched.
    fn rewrite(
        &self,
        parts: &Parts,
        body: &Bytes,
        grant: &Grant<'_>,
        mut edits: Edits<'_>,
    ) -> Result<Rewritten, Rejection> {
        let text = self.judged.text;
        let tasks = Tasks {
            door: self.door,
            holder: self.holding.holder(self.door),
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
        self.shared.count_replaced(self.door, parts, replaced);
        let body = if edits.is_empty() {
            body.clone().into()
        } else if body.len() <= IN_ONE || edits.count() > PLACES {
            edits.apply(body).into()
        } else {
            RequestBody::new(edits.pieces(body))
        };
        Ok(Rewritten { body, task })
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

    /// Fills the slots of the head.
    ///
    /// # Errors
    /// A query no URL can hold: without it the request would go without its secrets.
    fn fill<B>(&self, request: &mut Request<B>, grant: &mut Grant<'_>) -> Result<(), Rejection> {
        grant.apply(request.headers_mut());
        let query = grant.expose_query();
        if !query.is_empty() {
            let target = Zeroizing::new(format!("{}?{query}", request.uri().path()));
            *request.uri_mut() = target.parse().map_err(|_| self.query_too_long())?;
        }
        Ok(())
    }

    /// For whom the request is, and where it goes.
    fn told(&self, grant: &Grant<'_>, opened: &Opened) -> Told {
        let caller = (&self.shared.gate, self.identity, self.permits);
        Told {
            caller: Caller {
                identity: self.identity.clone(),
                server: self.door.server().clone(),
                profile: self.holding.profile.clone(),
            },
            affinity: self.replica(opened).map(Affinity),
            path: match self.way {
                Way::Message { target, .. } => Some(BackendPath(target.clone())),
                Way::Streamable | Way::Stream { .. } => None,
            },
            lease: Lease::of(self.door, caller, grant, self.way).map(Box::new),
        }
    }

    fn query_too_long(&self) -> Rejection {
        let server = self.door.server();
        let text = format!(
            "the secrets of the query of the server `{server}` are longer than a URL can be: set shorter ones"
        );
        Rejection::with_text(Kind::SecretUnreadable, text)
    }

    fn merged(&self, grant: &Grant<'_>) -> Option<Arc<Names>> {
        self.door.slots().merges_all().then(|| {
            let (merged, server) = (&self.shared.merged, self.door.server());
            merged.now(self.holding, server, grant.merged())
        })
    }

    /// The replica of the backend that holds what the request belongs to.
    fn replica(&self, opened: &Opened) -> Option<u64> {
        match self.way {
            Way::Message { served_by, .. } => *served_by,
            Way::Streamable | Way::Stream { .. } => opened.session.as_ref()?.served_by,
        }
    }
}
