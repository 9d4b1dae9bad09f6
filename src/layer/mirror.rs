//! Calls whose injected arguments a server wants mirrored in headers: see [`super::schema`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Request, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::answer::Arrived;
use super::budget::Held;
use super::call::{Holding, Judged};
use super::failure::{self, BoxError};
use super::inside::{Inside, Returned, Told};
use super::schema::{Mirrors, Viewer, event_end, is_header_mismatch, list_request, list_result};
use super::{RequestBody, Shared};
use crate::gate::{Door, Grant};
use crate::mcp::headers::{MCP_METHOD, MCP_NAME, MCP_PROTOCOL_VERSION, mirrored};
use crate::mcp::revision::Era;
use crate::rejection::Rejection;
use crate::resolve::Identity;

/// Bytes of an error answer that are looked at.
const ERROR_MAX: usize = 64 * 1024;
/// How long a call waits for what it may not need: a list, or the end of an error.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pages of one list.
const PAGES: usize = 64;

/// On whose behalf a call is made, and where.
#[derive(Clone, Copy)]
pub(super) struct Behalf<'a> {
    pub(super) shared: &'a Shared,
    pub(super) identity: &'a Identity,
    pub(super) door: &'a Door,
    pub(super) holding: &'a Holding,
}

/// A call that may need such headers.
pub(super) struct Mirrored<'a> {
    behalf: Behalf<'a>,
    tool: String,
    version: String,
    viewer: Viewer,
    /// The arguments set, with their values.
    values: Vec<(String, Zeroizing<String>)>,
}

impl<'a> Mirrored<'a> {
    /// `None` for anything but a call of 2026-07-28 or later with arguments set.
    pub(super) fn wanted(
        judged: &Judged<'_>,
        behalf: Behalf<'a>,
        headers: &HeaderMap,
        grant: &Grant<'_>,
    ) -> Option<Self> {
        let message = judged.single()?;
        if judged.era != Era::Modern || message.method.as_deref() != Some("tools/call") {
            return None;
        }
        let tool = message.name.as_deref()?;
        // A body that does not say its version is one of the era the header tells (see `Era::of`).
        let told = || headers.get(MCP_PROTOCOL_VERSION)?.to_str().ok();
        let version = message.protocol_version.as_deref().or_else(told)?;
        let value = |value: &str| Zeroizing::new(value.to_owned());
        let set = grant.arguments(tool);
        let values: Vec<_> = set
            .map(|set| (set.name().to_owned(), value(set.expose_value())))
            .collect();
        let wanted = Self {
            behalf,
            tool: tool.to_owned(),
            version: version.trim_matches([' ', '\t']).to_owned(),
            viewer: Viewer {
                user: behalf.holding.user,
                server: behalf.door.server().clone(),
                profile: behalf.holding.profile.clone(),
                secret_version: grant.secret_version(),
            },
            values,
        };
        (!wanted.values.is_empty()).then_some(wanted)
    }

    /// Makes the call. If the backend says that a header contradicts the body, its schema has changed:
    /// it has done nothing then, so the list is read again and the call made once more.
    pub(super) async fn ask<S: Inside>(
        self,
        inner: &mut S,
        request: Box<Request<RequestBody>>,
        told: Told,
    ) -> Result<Returned<Arrived<S::Body>>, Rejection> {
        let told = &told;
        let (head, body) = request.into_parts();
        let known = self.known(inner, &head, told).await?;
        let answer = self.call(inner, &head, &body, told, &known).await?;
        if answer.head.status != StatusCode::BAD_REQUEST {
            return Ok(answer.map(Arrived::coming));
        }
        let Returned {
            head: refused,
            body: coming,
            served_by,
        } = answer;
        let (beginning, whole) = beginning(coming).await;
        if is_header_mismatch(&whole) {
            // The answer may have been long in coming.
            self.behalf.shared.gate.again(self.behalf.identity).await?;
            self.behalf.shared.schemas.forget(&self.viewer, &known);
            let now = self.known(inner, &head, told).await?;
            if now.of(&self.tool) != known.of(&self.tool) {
                let answer = self.call(inner, &head, &body, told, &now).await?;
                return Ok(answer.map(Arrived::coming));
            }
        }
        Ok(Returned {
            head: refused,
            body: beginning,
            served_by,
        })
    }

    async fn call<S: Inside>(
        &self,
        inner: &mut S,
        head: &Parts,
        body: &RequestBody,
        told: &Told,
        known: &Mirrors,
    ) -> Result<Returned<S::Body>, Rejection> {
        let mut head = head.clone();
        if !known.listed {
            // Any of them may be of an argument that is set here. One the server misses it will ask for.
            remove(&mut head.headers, |name| {
                name.as_str().starts_with("mcp-param-")
            });
        }
        for (argument, header) in known.of(&self.tool) {
            let set = self.values.iter().find(|(name, _)| name == argument);
            // Any other argument is the client's to mirror.
            if let Some((_, value)) = set {
                let mut value = mirrored(value);
                value.set_sensitive(true);
                // To a backend behind CGI or WSGI, which write every `-` as `_`, either is the same.
                let folded = |name: &HeaderName| name.as_str().replace('_', "-");
                remove(&mut head.headers, |name| folded(name) == folded(header));
                head.headers.insert(header, value);
            }
        }
        let request = Request::from_parts(head, body.clone());
        let answer = inner.ask(Box::new(request), told.clone()).await;
        answer.map_err(|e| failure::rejection(self.behalf.door.server(), &e))
    }

    /// What the server's list of tools says. Whatever is sent after it is sent for a key that stood
    /// after it.
    async fn known<S: Inside>(
        &self,
        inner: &mut S,
        call: &Parts,
        told: &Told,
    ) -> Result<Arc<Mirrors>, Rejection> {
        let schemas = &self.behalf.shared.schemas;
        if let Some(known) = schemas.get(&self.viewer) {
            return Ok(known);
        }
        let known = schemas.of(&self.viewer, self.list(inner, call, told)).await;
        self.behalf.shared.gate.again(self.behalf.identity).await?;
        Ok(known)
    }

    /// Lists as this user. A list that cannot be had says nothing, and that is remembered too: a server
    /// that wants a header will say so, and is listed again then.
    async fn list<S: Inside>(&self, inner: &mut S, call: &Parts, told: &Told) -> Mirrors {
        let server = self.behalf.door.server();
        let pages = timeout(PATIENCE, self.pages(inner, call, told)).await;
        let Some(mirrors) = pages.ok().flatten() else {
            tracing::warn!(%server, "the server's tools cannot be listed");
            return Mirrors::default();
        };
        if let Some((argument, _)) = mirrors.of(&self.tool).first() {
            // Headers end up in logs that bodies do not.
            tracing::warn!(%server, tool = self.tool, argument, "the server wants a secret mirrored in a header");
        }
        mirrors
    }

    async fn pages<S: Inside>(&self, inner: &mut S, call: &Parts, told: &Told) -> Option<Mirrors> {
        let slots = self.behalf.door.slots();
        let ours = |tool: &str, argument: &str| {
            slots.arguments_of(tool).any(|name| name == argument)
                || self.values.iter().any(|(name, _)| name == argument)
        };
        let (mut mirrors, mut cursor) = (Mirrors::default(), None);
        for _ in 0..PAGES {
            let body = list_request(&self.version, cursor.as_deref());
            let request = Request::from_parts(head_for_list(call), body.into());
            let answer = inner.ask(Box::new(request), told.clone()).await;
            let Returned { head, body, .. } = answer.ok()?;
            if !head.status.is_success() {
                return None;
            }
            let is_stream = head.is_stream();
            let max = self.behalf.shared.budget.list_max();
            let held = self.behalf.shared.budget.hold(self.behalf.holding.user);
            let result = page(body, is_stream, max, held).await?;
            cursor = mirrors.add(&result, ours);
            if cursor.is_none() {
                break;
            }
        }
        Some(mirrors)
    }
}

/// The head of a call made the head of a list: the slots of the head are the same for both.
fn head_for_list(call: &Parts) -> Parts {
    let mut head = call.clone();
    remove(&mut head.headers, |name| {
        *name == MCP_NAME || name.as_str().starts_with("mcp-param-")
    });
    for (name, value) in [
        (MCP_METHOD, "tools/list"),
        (CONTENT_TYPE, "application/json"),
        (ACCEPT, "application/json, text/event-stream"),
    ] {
        head.headers.insert(name, HeaderValue::from_static(value));
    }
    head
}

fn remove(headers: &mut HeaderMap, gone: impl Fn(&HeaderName) -> bool) {
    let names: Vec<_> = headers.keys().filter(|name| gone(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// The result of one page, of at most `max` bytes, all of which count as `held`. A stream need not end
/// for it.
async fn page<R: Body<Data = Bytes> + Unpin>(
    mut body: R,
    is_stream: bool,
    max: usize,
    mut held: Held,
) -> Option<serde_json::Value> {
    let (mut read, mut total) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let data = frame.ok()?.into_data().unwrap_or_default();
        let from = read.len();
        read.extend_from_slice(&data);
        total += data.len();
        if total > max || held.count(data.len()).is_err() {
            return None;
        }
        let mut searched = from;
        while is_stream && let Some(end) = event_end(&read, searched) {
            let found = list_result(&read.split_to(end), true);
            if found.is_some() {
                return found;
            }
            searched = 0;
        }
    }
    list_result(&read, is_stream)
}

/// The beginning of an error, as far as it is looked at, and all of it if it was whole by then.
async fn beginning<R>(mut body: R) -> (Arrived<R>, Bytes)
where
    R: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let (mut first, mut whole, mut ended) = (VecDeque::new(), BytesMut::new(), false);
    let read = async {
        while whole.len() <= ERROR_MAX {
            let Some(frame) = body.frame().await else {
                ended = true;
                return;
            };
            let frame = frame.map_err(Into::into);
            let data = frame.map(|frame| frame.into_data().unwrap_or_default());
            let broken = data.is_err();
            whole.extend_from_slice(data.as_deref().unwrap_or_default());
            first.push_back(data);
            if broken {
                return;
            }
        }
    };
    // One that takes its time is passed on as it comes.
    let _ = timeout(PATIENCE, read).await;
    let rest = (!ended).then_some(body);
    let whole = if ended { whole.freeze() } else { Bytes::new() };
    (Arrived { first, rest }, whole)
}
