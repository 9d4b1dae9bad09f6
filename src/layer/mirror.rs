//! Calls whose injected arguments a server wants mirrored in headers: see [`super::schema`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, response};
use http_body::Body;
use http_body_util::{BodyExt as _, Full, Limited};
use tower_service::Service;
use zeroize::Zeroizing;

use super::answer::Arrived;
use super::exchange::Exchange;
use super::failure::{self, BoxError};
use super::schema::{Mirrors, PAGES, Viewer, is_header_mismatch, list_request, list_result};
use super::service;
use crate::gate::Grant;
use crate::mcp::headers::{MCP_METHOD, MCP_NAME, mirrored};
use crate::mcp::revision::Era;
use crate::rejection::Rejection;

/// Bytes of an error answer that are looked at.
const ERROR_MAX: usize = 64 * 1024;
/// How long listing may take; a call does not wait longer for what it may not need.
const PATIENCE: Duration = Duration::from_secs(30);

/// A call that may need such headers.
pub(super) struct Mirrored {
    tool: String,
    version: String,
    viewer: Viewer,
    /// The arguments set, with their values.
    values: Vec<(String, Zeroizing<String>)>,
}

impl Mirrored {
    /// `None` for anything but a call of 2026-07-28 or later with arguments set.
    pub(super) fn wanted(exchange: &Exchange<'_>, grant: &Grant<'_>) -> Option<Self> {
        let message = exchange.judged.single()?;
        if exchange.judged.era != Era::Modern || message.method.as_deref() != Some("tools/call") {
            return None;
        }
        let tool = message.name.as_deref()?;
        let value = |value: &str| Zeroizing::new(value.to_owned());
        let set = grant.arguments(tool);
        let values: Vec<_> = set
            .map(|set| (set.name().to_owned(), value(set.expose_value())))
            .collect();
        let wanted = Self {
            tool: tool.to_owned(),
            version: message.protocol_version.as_deref()?.to_owned(),
            viewer: Viewer {
                user: exchange.holding.user,
                server: exchange.door.server().clone(),
                profile: exchange.holding.profile.clone(),
                secret_version: grant.secret_version(),
            },
            values,
        };
        (!wanted.values.is_empty()).then_some(wanted)
    }

    /// Makes the call. If the backend says that a header contradicts the body, its schema has changed:
    /// it has done nothing then, so the list is read again and the call made once more.
    pub(super) async fn ask<S, R>(
        self,
        exchange: &Exchange<'_>,
        inner: &mut S,
        head: Parts,
        body: Bytes,
    ) -> Result<(response::Parts, Arrived<R>), Rejection>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>>,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes>,
        R::Error: Into<BoxError>,
    {
        let known = match exchange.shared.schemas.get(&self.viewer) {
            Some(known) => known,
            None => self.list_anew(exchange, inner, &head).await?,
        };
        let (answer, coming) = self.call(exchange, inner, &head, &body, &known).await?;
        if answer.status != StatusCode::BAD_REQUEST {
            return Ok((answer, Arrived::Coming(coming)));
        }
        let whole = collect(coming, ERROR_MAX).await.unwrap_or_default();
        if is_header_mismatch(&whole) {
            let now = self.list_anew(exchange, inner, &head).await?;
            if now.of(&self.tool) != known.of(&self.tool) {
                let (answer, coming) = self.call(exchange, inner, &head, &body, &now).await?;
                return Ok((answer, Arrived::Coming(coming)));
            }
        }
        Ok((answer, Arrived::Whole(whole)))
    }

    /// As [`Self::list`]; what is sent after it is sent for a key that stood after it.
    async fn list_anew<S, R>(
        &self,
        exchange: &Exchange<'_>,
        inner: &mut S,
        call: &Parts,
    ) -> Result<Arc<Mirrors>, Rejection>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>>,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes>,
        R::Error: Into<BoxError>,
    {
        let listed = self.list(exchange, inner, call).await;
        exchange.shared.gate.again(&exchange.identity).await?;
        Ok(listed)
    }

    async fn call<S, R>(
        &self,
        exchange: &Exchange<'_>,
        inner: &mut S,
        head: &Parts,
        body: &Bytes,
        known: &Mirrors,
    ) -> Result<(response::Parts, R), Rejection>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>>,
        S::Error: Into<BoxError>,
    {
        let mut head = head.clone();
        for (argument, header) in known.of(&self.tool) {
            // Any other argument is the client's to mirror.
            if let Some((_, value)) = self.values.iter().find(|(name, _)| name == argument) {
                let mut value = mirrored(value);
                value.set_sensitive(true);
                remove_respelled(&mut head.headers, header);
                head.headers.insert(header, value);
            }
        }
        let request = Request::from_parts(head, Full::new(body.clone()));
        let answer = service::call(inner, request).await;
        let answer = answer.map_err(|e| failure::rejection(exchange.door.server(), &e))?;
        Ok(answer.into_parts())
    }

    /// What the server's list of tools says, read as this user. A list that cannot be had says nothing,
    /// and is not remembered: the call itself will tell what is wrong.
    async fn list<S, R>(&self, exchange: &Exchange<'_>, inner: &mut S, call: &Parts) -> Arc<Mirrors>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>>,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes>,
        R::Error: Into<BoxError>,
    {
        let pages = tokio::time::timeout(PATIENCE, self.pages(exchange, inner, call)).await;
        let Some(mirrors) = pages.ok().flatten().map(Arc::new) else {
            tracing::warn!(server = %exchange.door.server(), "the server's tools cannot be listed");
            return Arc::default();
        };
        if let Some((argument, _)) = mirrors
            .of(&self.tool)
            .iter()
            .find(|(name, _)| self.sets(name))
        {
            // Headers end up in logs that bodies do not.
            let server = exchange.door.server();
            tracing::warn!(%server, tool = self.tool, argument, "the server wants a secret mirrored in a header");
        }
        exchange.shared.schemas.keep(&self.viewer, mirrors.clone());
        mirrors
    }

    fn sets(&self, argument: &str) -> bool {
        self.values.iter().any(|(name, _)| name == argument)
    }

    async fn pages<S, R>(
        &self,
        exchange: &Exchange<'_>,
        inner: &mut S,
        call: &Parts,
    ) -> Option<Mirrors>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<R>>,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes>,
        R::Error: Into<BoxError>,
    {
        let (mut mirrors, mut cursor) = (Mirrors::default(), None);
        for _ in 0..PAGES {
            let body = list_request(&self.version, cursor.as_deref());
            let request = Request::from_parts(head_for_list(call), Full::new(body));
            let answer = service::call(inner, request).await.ok()?;
            if !answer.status().is_success() {
                return None;
            }
            let max = exchange.shared.budget.list_max();
            let page = collect(answer.into_body(), max).await?;
            cursor = mirrors.add(&list_result(&page)?);
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
    let mirrors = |name: &&http::HeaderName| name.as_str().starts_with("mcp-param-");
    let mirrors: Vec<_> = call.headers.keys().filter(mirrors).collect();
    for name in mirrors {
        head.headers.remove(name);
    }
    head.headers.remove(MCP_NAME);
    for (name, value) in [
        (MCP_METHOD, "tools/list"),
        (CONTENT_TYPE, "application/json"),
        (ACCEPT, "application/json, text/event-stream"),
    ] {
        head.headers.insert(name, HeaderValue::from_static(value));
    }
    head
}

/// To a backend behind CGI or WSGI, which write every `-` as `_`, a name with either is the same.
fn remove_respelled(headers: &mut HeaderMap, name: &HeaderName) {
    let folded = |name: &HeaderName| name.as_str().replace('_', "-");
    let ours = folded(name);
    let same: Vec<_> = headers
        .keys()
        .filter(|name| folded(name) == ours)
        .cloned()
        .collect();
    for name in same {
        headers.remove(name);
    }
}

async fn collect<R>(body: R, max: usize) -> Option<Bytes>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    let whole = Limited::new(body, max).collect().await;
    whole.ok().map(|whole| whole.to_bytes())
}
