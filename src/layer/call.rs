//! A request as it was judged: what of it goes on, and what must be remembered for its answer.

use http::{HeaderMap, HeaderValue, Method, Request, header};

use super::{Head, splice};
use crate::gate::Door;
use crate::mcp::headers::{LAST_EVENT_ID, MCP_SESSION_ID, check_batch_headers, says_json};
use crate::mcp::ids::{Holder, Session, open_event, open_session};
use crate::mcp::revision::Era;
use crate::mcp::scan::{Body, Capabilities, Message, ScanError, ScanErrorKind, Shape, scan_text};
use crate::names::ProfileName;
use crate::rejection::{Ids, Kind, Rejection};
use crate::vault::{UserId, now_seconds};

/// A request that was read whole, and judged.
pub(super) struct Judged<'b> {
    /// Its body; empty when its method has none.
    pub(super) text: &'b str,
    /// The messages in it.
    pub(super) body: Option<Body<'b>>,
    /// The requests an answer is owed to.
    pub(super) ids: Ids,
    /// How it tells who it is.
    pub(super) era: Era,
}

impl<'b> Judged<'b> {
    /// A request without a body: GET or DELETE, whose era only the header can tell.
    pub(super) fn bodiless(head: &Head) -> Result<Self, Rejection> {
        check_batch_headers(&head.headers).map_err(|error| mismatch(&error))?;
        Ok(Self {
            text: "",
            body: None,
            ids: Ids::None,
            era: head.facts().era,
        })
    }

    /// A body that was read whole.
    pub(super) fn body(head: &Head, body: &'b [u8]) -> Result<Self, Rejection> {
        let facts = head.facts();
        // Only that it was refused is known of a head, not how.
        if !facts.is_json {
            check_type(&head.headers)?;
        }
        let (text, scanned) = scan_text(body).map_err(|error| unreadable(&error))?;
        let (ids, era) = match &scanned {
            Body::One(message) => {
                let ids = id(body, message).map_or(Ids::None, Ids::One);
                let agrees = facts.metadata.check(message);
                agrees.map_err(|error| mismatch(&error).for_ids(&ids))?;
                (ids, facts.era.of_message(message))
            }
            Body::Batch(messages) => {
                check_batch_headers(&head.headers).map_err(|error| mismatch(&error))?;
                let ids: Vec<_> = messages.iter().filter_map(|m| id(body, m)).collect();
                let ids = if ids.is_empty() {
                    Ids::None
                } else {
                    Ids::Batch(ids)
                };
                (ids, Era::Legacy)
            }
        };
        Ok(Self {
            text,
            body: Some(scanned),
            ids,
            era,
        })
    }

    /// Every message, in order.
    pub(super) fn messages(&self) -> &[Message<'b>] {
        match &self.body {
            None => &[],
            Some(Body::One(message)) => std::slice::from_ref(message),
            Some(Body::Batch(messages)) => messages,
        }
    }

    /// The message, when it is one alone.
    pub(super) fn single(&self) -> Option<&Message<'b>> {
        match &self.body {
            Some(Body::One(message)) => Some(message),
            _ => None,
        }
    }

    /// What the client declares in this very request.
    pub(super) fn capabilities(&self) -> Capabilities {
        self.single()
            .map(|message| message.capabilities)
            .unwrap_or_default()
    }

    /// How many requests it holds: what wants an answer.
    pub(super) fn requests(&self) -> usize {
        let messages = self.messages().iter();
        messages
            .filter(|message| message.shape == Shape::Request)
            .count()
    }

    /// The tools it calls.
    pub(super) fn tools(&self) -> Result<Vec<&str>, Rejection> {
        let tools = self.messages().iter().map(splice::tool);
        tools.filter_map(Result::transpose).collect()
    }

    /// Whether it only looks around: what may go without a secret that is missing, where the operator
    /// says so. A request without a body opens or ends what carries notifications.
    pub(super) fn only_discovers(&self) -> bool {
        self.messages().iter().all(|message| {
            let method = message.method.as_deref().unwrap_or_default();
            match message.shape {
                Shape::Notification => true,
                Shape::Request => DISCOVERY.contains(&method),
                Shape::Response => false,
            }
        })
    }
}

const DISCOVERY: [&str; 7] = [
    "initialize",
    "server/discover",
    "ping",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
];

/// Whether there is a transfer coding besides `chunked`: the HTTP library undoes that one alone.
fn transfer_encoded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let chunked = codings.next().is_none_or(|coding| {
        coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    });
    !chunked || codings.next().is_some()
}

/// Whether the headers leave one way to read the body, which is JSON in UTF-8.
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), Rejection> {
    if headers.contains_key(header::CONTENT_ENCODING) || transfer_encoded(headers) {
        return Err(Rejection::new(Kind::BodyEncoded));
    }
    if !says_json(headers) {
        let text = "the body must be JSON in UTF-8: send it with `Content-Type: application/json`";
        return Err(Rejection::with_text(Kind::BodyEncoded, text.to_owned()));
    }
    Ok(())
}

fn id(body: &[u8], message: &Message<'_>) -> Option<Box<str>> {
    let range = message
        .id
        .clone()
        .filter(|_| message.shape == Shape::Request)?;
    std::str::from_utf8(&body[range]).ok().map(Into::into)
}

fn mismatch(error: &crate::mcp::headers::HeaderMismatch) -> Rejection {
    Rejection::with_text(Kind::HeaderMismatch, error.to_string())
}

pub(super) fn unreadable(error: &ScanError) -> Rejection {
    let kind = match error.kind() {
        ScanErrorKind::TooDeep => Kind::TooDeep,
        ScanErrorKind::DuplicateKey => Kind::DuplicateKey,
        ScanErrorKind::NotUtf8 => Kind::NotUtf8,
        ScanErrorKind::TooLarge => Kind::BodyTooLarge,
        _ if error.is_parse_error() => Kind::NotJson,
        _ => Kind::NotAMessage,
    };
    Rejection::with_text(kind, format!("{}: {error}", kind.row().text))
}

/// Whom ids of this request are bound to.
#[derive(Clone)]
pub(super) struct Holding {
    pub(super) user: UserId,
    pub(super) profile: ProfileName,
}

impl Holding {
    pub(super) fn holder<'a>(&'a self, door: &'a Door) -> Holder<'a> {
        Holder {
            user_id: self.user.as_bytes(),
            server: door.server(),
            profile: &self.profile,
        }
    }
}

/// The ids a request brought, opened.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) session: Option<Session>,
    pub(super) last_event: Option<HeaderValue>,
}

impl Opened {
    /// Opens session and event ids. A modern request has none: MCP 2026-07-28 says to ignore both
    /// headers (basic/transports/streamable-http "Compatibility").
    pub(super) fn from_head(
        head: &Head,
        era: Era,
        door: &Door,
        holding: &Holding,
    ) -> Result<Self, Rejection> {
        if era == Era::Modern || !head.facts().has_ids {
            return Ok(Self::default());
        }
        let headers = &head.headers;
        let holder = holding.holder(door);
        let session = match headers.get(MCP_SESSION_ID) {
            None => None,
            Some(value) => Some(
                open_session(door.sealer(), &holder, value.as_bytes(), now_seconds())
                    .ok_or_else(|| Rejection::new(Kind::UnknownSession))?,
            ),
        };
        let backend_session = session_bytes(session.as_ref());
        let last_event = match headers.get(LAST_EVENT_ID) {
            None => None,
            Some(value) => Some(
                open_event(door.sealer(), &holder, backend_session, value.as_bytes())
                    .and_then(|id| HeaderValue::from_bytes(&id).ok())
                    .ok_or_else(|| Rejection::new(Kind::UnknownEvent))?,
            ),
        };
        Ok(Self {
            session,
            last_event,
        })
    }
}

/// What event ids of a session are bound to.
pub(super) fn session_bytes(session: Option<&Session>) -> &[u8] {
    session
        .and_then(Session::backend_id)
        .map_or(b"", HeaderValue::as_bytes)
}

/// Writes the head of a request as it goes to the backend, the slots not yet filled.
pub(super) fn head_for_backend<B>(client: &Head, opened: &Opened, request: &mut Request<B>) {
    let (headers, known) = (request.headers_mut(), client.for_backend());
    // And those of the slots, of the session, of the coding and of the host.
    headers.reserve(known.len() + 4);
    for (name, value) in known {
        headers.append(name, value.clone());
    }
    if let Some(id) = opened.session.as_ref().and_then(Session::backend_id) {
        headers.insert(MCP_SESSION_ID, id.clone());
    }
    if let Some(id) = &opened.last_event {
        headers.insert(LAST_EVENT_ID, id.clone());
    }
    // Answers are looked into: ids must be found in them.
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    *request.method_mut() = client.method.clone();
    // The path for services that route by it; the query stays here, it may hold anything.
    *request.uri_mut() = match client.uri.query() {
        None if client.uri.authority().is_none() => client.uri.clone(),
        _ => client.uri.path().parse().unwrap_or_default(),
    };
}

/// Whether the method has a body to judge; `None` for methods MCP does not use.
pub(super) fn has_body(method: &Method) -> Option<bool> {
    match *method {
        Method::POST => Some(true),
        Method::GET | Method::DELETE => Some(false),
        _ => None,
    }
}
