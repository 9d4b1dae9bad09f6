//! Requests of HTTP to children: which tenant each is for, and how it is answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use tokio::time::sleep;

use super::answer::{Answer, Leaving, event_id, parse_event_id};
use super::child::{Child, Stop, To};
use super::mailbox::{Front, LOOSE, Read, Reader};
use super::pool::Children;
use super::settings::Settings;
use super::tenant::{Place, Tenant};
use super::{Owner, modern, session, sse, told};
use crate::layer::{BackendPath, BoxError, Caller, Endpoint, Failure, Lease, RequestBody, Told};
use crate::mcp::edit;
use crate::mcp::headers::{LAST_EVENT_ID, MCP_PROTOCOL_VERSION, MCP_SESSION_ID};
use crate::mcp::revision::{Era, Revision};
use crate::mcp::scan::{Body, Message, Shape, scan_text};
use crate::rejection::Kind;

/// How long a request's answer is waited for before a stream begins: most are there by then, and are
/// no stream.
const DECIDED: Duration = Duration::from_secs(1);

/// A request, as far as children care.
pub(super) struct Visit<'s> {
    pub(super) children: &'s Children,
    pub(super) settings: &'s Arc<Settings>,
    pub(super) caller: Caller,
    pub(super) lease: Lease,
    pub(super) headers: HeaderMap,
}

impl Children {
    /// Answers a request that passed the layer, to a server as `settings` say.
    ///
    /// # Errors
    /// A [`Failure`]: what the client is told.
    pub(crate) async fn serve(
        &self,
        settings: &Arc<Settings>,
        request: Request<RequestBody>,
        told: Told,
    ) -> Result<Response<Answer>, BoxError> {
        let lost = || Failure::Broken("a request without a lease".to_owned());
        let (mut parts, body) = request.into_parts();
        let lease = *told.lease.ok_or_else(lost)?;
        let visit = Visit {
            children: self,
            settings,
            caller: told.caller,
            lease,
            headers: std::mem::take(&mut parts.headers),
        };
        let (method, path) = (&parts.method, told.path.as_ref());
        Ok(visit.answer(method, path, &body.into_bytes()).await?)
    }
}

impl Visit<'_> {
    async fn answer(
        &self,
        method: &Method,
        path: Option<&BackendPath>,
        body: &Bytes,
    ) -> Result<Response<Answer>, Failure> {
        match self.lease.endpoint() {
            Endpoint::Sse => Ok(sse::open(self)),
            Endpoint::Message => sse::post(self, path, body).await,
            Endpoint::Mcp => match *method {
                Method::POST => self.post(body).await,
                Method::GET => self.get(),
                Method::DELETE => self.delete(),
                _ => Err(told(
                    Kind::MethodNotAllowed,
                    "use POST, GET or DELETE".into(),
                )),
            },
        }
    }

    async fn post(&self, body: &Bytes) -> Result<Response<Answer>, Failure> {
        let messages = messages(body)?;
        if let [(text, message)] = &messages[..] {
            if Era::of(&self.headers, message) == Era::Modern {
                return modern::post(self, text, message).await;
            }
            let begins =
                message.method.as_deref() == Some("initialize") && message.shape == Shape::Request;
            if begins && self.session_id().is_none() {
                return session::begin(self, text, message).await;
            }
        }
        let tenant = self.tenant()?;
        let child = tenant
            .child(self.children, self.settings, &self.lease)
            .await?;
        let is_request = |(_, message): &&(&str, Message<'_>)| message.shape == Shape::Request;
        let owed = messages.iter().filter(is_request).count();
        if owed == 0 {
            pass_on(&tenant, &child, &messages, LOOSE).await?;
            return Ok(empty(StatusCode::ACCEPTED));
        }
        let mut reader = tenant.mailbox.open(owed);
        let sent = pass_on(&tenant, &child, &messages, reader.stream()).await;
        if let Err(failure) = sent {
            tenant.mailbox.end(reader.stream());
            return Err(failure);
        }
        let first = first(&mut reader).await;
        Ok(self.answered(&tenant, reader, first, None))
    }

    /// The answer that begins with what was read `first`; nothing so far if it is none.
    pub(super) fn answered(
        &self,
        tenant: &Tenant,
        reader: Reader,
        first: Option<Option<Read>>,
        leaving: Option<Leaving>,
    ) -> Response<Answer> {
        let first = match first {
            Some(Some(read)) if read.is_last && self.takes_json() => {
                reader.forget();
                return json(read.message);
            }
            first => first,
        };
        let priming = tenant.agreed(|agreed| agreed.is_since(Revision::V2025_11_25));
        let priming = priming.then(|| {
            // So that who is cut off can come back (MCP 2025-11-25, basic/transports).
            let number = first
                .iter()
                .flatten()
                .next()
                .map_or(0, |read| read.number - 1);
            let id = event_id(reader.stream(), number);
            Bytes::from(format!("id: {id}\ndata: \n\n"))
        });
        let front = tenant.mailbox.front();
        events(Answer::events(
            reader,
            front,
            priming,
            first.flatten(),
            leaving,
        ))
    }

    fn takes_json(&self) -> bool {
        let accepts = self.headers.get_all(ACCEPT);
        let mut accepts = accepts
            .iter()
            .filter_map(|value| value.to_str().ok())
            .peekable();
        accepts.peek().is_none()
            || accepts.any(|value| value.contains("application/json") || value.contains("*/*"))
    }

    fn get(&self) -> Result<Response<Answer>, Failure> {
        self.refuse_modern()?;
        let tenant = self.tenant()?;
        let mailbox = &tenant.mailbox;
        let reader = match self.headers.get(LAST_EVENT_ID) {
            None => Some(mailbox.listen()),
            Some(id) => {
                let id = id.to_str().ok().and_then(parse_event_id);
                id.and_then(|(stream, number)| mailbox.resume(stream, number))
            }
        };
        let unknown = || told(Kind::UnknownEvent, Kind::UnknownEvent.row().text.to_owned());
        let reader = reader.ok_or_else(unknown)?;
        Ok(events(Answer::events(
            reader,
            Front::Streamable,
            None,
            None,
            None,
        )))
    }

    fn delete(&self) -> Result<Response<Answer>, Failure> {
        self.refuse_modern()?;
        let tenant = self.tenant()?;
        self.children.remove(&tenant, Stop::Soon);
        Ok(empty(StatusCode::OK))
    }

    /// MCP 2026-07-28 knows POST only.
    fn refuse_modern(&self) -> Result<(), Failure> {
        if self.session_id().is_none() && Era::of_header(&self.headers) == Era::Modern {
            let text = "this revision of MCP knows POST only";
            return Err(told(Kind::MethodNotAllowed, text.to_owned()));
        }
        Ok(())
    }

    fn session_id(&self) -> Option<&str> {
        self.headers.get(MCP_SESSION_ID)?.to_str().ok()
    }

    /// The session the request belongs to.
    fn tenant(&self) -> Result<Arc<Tenant>, Failure> {
        let Some(id) = self.session_id() else {
            let text = "this server keeps sessions: begin with `initialize`, and send the \
                        Mcp-Session-Id it answers";
            return Err(told(Kind::EarlierEra, text.to_owned()));
        };
        // MCP 2025-06-18, basic/transports "Protocol Version Header".
        if let Some(version) = self.headers.get(MCP_PROTOCOL_VERSION) {
            let version = version
                .to_str()
                .unwrap_or_default()
                .trim_matches([' ', '\t']);
            if !Revision::parse(version).is_some_and(Revision::is_known) {
                let text = "MCP-Protocol-Version names a revision that is not known here";
                return Err(told(Kind::EarlierEra, text.to_owned()));
            }
        }
        self.find(id).ok_or(Failure::Gone)
    }

    /// The session of this id, if it is the caller's.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Tenant>> {
        let tenant = self.children.find(&self.place(Some(id.into())))?;
        self.children.hold(&tenant, &self.caller, &self.lease);
        Some(tenant)
    }

    /// Where a tenant of the caller is.
    pub(super) fn place(&self, session: Option<Box<str>>) -> Place {
        Place {
            owner: Owner::of(&self.caller),
            session,
        }
    }
}

/// What was read within the time after which a stream begins.
pub(super) async fn first(reader: &mut Reader) -> Option<Option<Read>> {
    tokio::select! {
        biased;
        read = reader.next() => Some(read),
        () = sleep(DECIDED) => None,
    }
}

/// Passes messages of a session on to its child; answers to requests go into `stream`.
///
/// # Errors
/// The child takes nothing more.
async fn pass_on(
    tenant: &Tenant,
    child: &Child,
    messages: &[(&str, Message<'_>)],
    stream: u32,
) -> Result<(), Failure> {
    for (text, message) in messages {
        session::send(tenant, child, text, message, To::Stream(stream)).await?;
    }
    Ok(())
}

/// The messages of a body, each with its own text.
pub(super) fn messages(body: &[u8]) -> Result<Vec<(&str, Message<'_>)>, Failure> {
    match scan(body)? {
        (text, Body::One(message)) => Ok(vec![(text, *message)]),
        (text, Body::Batch(_)) => batch(text),
    }
}

/// Those of a batch, read once more: each is to have places in a text of its own.
fn batch(text: &str) -> Result<Vec<(&str, Message<'_>)>, Failure> {
    let start = text.find('[').unwrap_or_default();
    let elements = edit::elements(text, &(start..text.trim_end().len()));
    let mut messages = Vec::new();
    for at in elements.unwrap_or_default() {
        if let (text, Body::One(message)) = scan(text[at].as_bytes())? {
            messages.push((text, *message));
        }
    }
    Ok(messages)
}

fn scan(body: &[u8]) -> Result<(&str, Body<'_>), Failure> {
    scan_text(body).map_err(|error| Failure::Broken(error.to_string()))
}

pub(super) fn json(message: Bytes) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Some(message)));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

pub(super) fn events(answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

pub(super) fn empty(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(None));
    *response.status_mut() = status;
    response
}
