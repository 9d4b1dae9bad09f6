//! What the layer gets to know of a request, for somebody outside who keeps an account of it. The layer
//! itself keeps none.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::call::Judged;
use crate::mcp::methods;
use crate::mcp::revision::Era;
use crate::resolve::Identity;

/// Is told of one request, in this order, as far as the request gets. Nothing here may wait.
pub trait Observer: Send + Sync {
    /// Its key stands.
    fn authenticated(&self, caller: &Identity);
    /// Its body was read whole and judged.
    fn judged(&self, request: &Seen<'_>);
    /// It goes to the server now, with these headers: they may be added to.
    fn sending(&self, headers: &mut HeaderMap);
    /// The head of the server's answer came; `None` if none came.
    fn returned(&self, status: Option<StatusCode>);
}

/// An outer service puts this into the extensions of a request of which it wants to be told.
#[derive(Clone)]
pub struct Observed(pub Arc<dyn Observer>);

/// A request as it was judged. Nothing in it is what a client wrote, but for the two trace contexts.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Its method: one of MCP's, `other`, `response`, `batch`, or `None` where there is no body.
    pub method: Option<&'static str>,
    /// How it tells who it is.
    pub era: Era,
    /// Bytes of its body.
    pub bytes: usize,
    /// `params._meta.traceparent` (W3C Trace Context; MCP SEP-414), as it was written.
    pub trace_parent: Option<&'a str>,
    /// `params._meta.tracestate`, likewise.
    pub trace_state: Option<&'a str>,
}

impl<'a> Seen<'a> {
    pub(super) fn of(judged: &'a Judged<'_>) -> Self {
        let single = judged.single();
        let method = match (&judged.body, single) {
            (None, _) => None,
            (Some(_), None) => Some("batch"),
            (Some(_), Some(message)) => {
                let method = message.method.as_deref();
                Some(method.map_or("response", methods::shown))
            }
        };
        Self {
            method,
            era: judged.era,
            bytes: judged.text.len(),
            trace_parent: single.and_then(|message| message.trace_parent.as_deref()),
            trace_state: single.and_then(|message| message.trace_state.as_deref()),
        }
    }
}

/// Whoever wants to be told of this request.
pub(super) fn of(parts: &Parts) -> Option<&dyn Observer> {
    let observed = parts.extensions.get::<Observed>();
    observed.map(|Observed(observer)| &**observer)
}
