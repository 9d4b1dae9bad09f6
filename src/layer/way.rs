//! How a request is taken to its backend: as Streamable HTTP, or as one half of HTTP+SSE.

use http::Method;
use http::uri::PathAndQuery;

use super::call::Holding;
use super::route::Endpoint;
use crate::gate::Door;
use crate::mcp::ids::open_message_path;
use crate::rejection::{Kind, Rejection};

/// Before the sealed path in the query of our own path for messages.
pub(super) const SESSION: &str = "session_id=";

/// The way of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// Streamable HTTP.
    Streamable,
    /// The stream of HTTP+SSE.
    Stream {
        /// Our own path for its messages.
        messages: String,
    },
    /// A message to such a stream.
    Message {
        /// The path, as the client has it: sealed.
        sealed: String,
        /// Where the backend wants it.
        target: PathAndQuery,
        /// The replica that has the stream.
        served_by: Option<u64>,
    },
}

impl Way {
    /// The way of a request by `method` to `endpoint` of the server behind `door`.
    ///
    /// # Errors
    /// A server that speaks the other transport, or a message path that is not the caller's.
    pub(super) fn of(
        endpoint: Endpoint,
        method: &Method,
        uri: &http::Uri,
        door: &Door,
        holding: &Holding,
    ) -> Result<Self, Rejection> {
        let get = *method == Method::GET;
        if door.has_children() {
            return Self::to_child(endpoint, method, uri, door, holding);
        }
        match (endpoint, door.sse_url()) {
            (Endpoint::Mcp, None) => Ok(Self::Streamable),
            // Who cannot POST to an MCP endpoint tries to GET its stream (MCP 2025-03-26,
            // basic/transports "Backwards Compatibility").
            (Endpoint::Sse | Endpoint::Mcp, Some(_)) if get => Ok(Self::Stream {
                messages: message_path(uri.path()),
            }),
            (Endpoint::Message, Some(_)) if *method == Method::POST => {
                message(uri.query(), door, holding)
            }
            // Around one service every path is an MCP endpoint, also the one for messages.
            (Endpoint::Mcp, Some(_))
                if *method == Method::POST && uri.query().is_some_and(|q| q.contains(SESSION)) =>
            {
                message(uri.query(), door, holding)
            }
            (Endpoint::Message | Endpoint::Sse, Some(_)) => {
                Err(Rejection::new(Kind::MethodNotAllowed))
            }
            (Endpoint::Mcp, Some(_)) => Err(other_transport(door, "HTTP+SSE", Endpoint::Sse)),
            (_, None) => Err(other_transport(door, "Streamable HTTP", Endpoint::Mcp)),
        }
    }

    /// A child process is spoken to by whichever transport its client likes.
    fn to_child(
        endpoint: Endpoint,
        method: &Method,
        uri: &http::Uri,
        door: &Door,
        holding: &Holding,
    ) -> Result<Self, Rejection> {
        match endpoint {
            Endpoint::Mcp => Ok(Self::Streamable),
            Endpoint::Sse if *method == Method::GET => Ok(Self::Stream {
                messages: message_path(uri.path()),
            }),
            Endpoint::Message if *method == Method::POST => message(uri.query(), door, holding),
            Endpoint::Sse | Endpoint::Message => Err(Rejection::new(Kind::MethodNotAllowed)),
        }
    }
}

/// The path for messages beside the path of a stream.
fn message_path(stream: &str) -> String {
    let folder = stream.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/{}", Endpoint::Message.name())
}

fn message(query: Option<&str>, door: &Door, holding: &Holding) -> Result<Way, Rejection> {
    let pairs = query.unwrap_or_default().split('&');
    let mut ids = pairs.filter_map(|pair| pair.strip_prefix(SESSION));
    let opened = ids.next().and_then(|sealed| {
        let to = open_message_path(door.sealer(), &holding.holder(door), sealed)?;
        Some(Way::Message {
            sealed: sealed.to_owned(),
            target: to.path.parse().ok()?,
            served_by: to.served_by,
        })
    });
    opened.ok_or_else(|| Rejection::new(Kind::UnknownStream))
}

fn other_transport(door: &Door, speaks: &str, endpoint: Endpoint) -> Rejection {
    let (server, name) = (door.server(), endpoint.name());
    let text = format!("the server `{server}` speaks {speaks}: connect to /{server}/{name}");
    Rejection::with_text(Kind::WrongTransport, text)
}
