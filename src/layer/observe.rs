//! What the layer gets to know of a request, for somebody outside who keeps an account of it. The layer
//! itself keeps none.

use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use http::{HeaderMap, StatusCode};
use memchr::memmem::Finder;

use super::call::Judged;
use crate::gate::Used;
use crate::mcp::edit::{member, unquoted};
use crate::mcp::methods;
use crate::mcp::revision::Era;
use crate::mcp::scan::Message;
use crate::names::{ProfileName, ServerName};
use crate::rejection::Rejection;
use crate::resolve::Identity;

/// The longest name of a client that is told, in bytes.
const CLIENT_MAX: usize = 128;

/// Whether something was recorded; if not, why its request is refused.
pub type Recorded = Pin<Box<dyn Future<Output = Result<(), Rejection>> + Send>>;

/// Is told of one request, in this order, as far as the request gets. Nothing here may wait.
pub trait Observer: Send + Sync {
    /// Its key stands.
    fn authenticated(&self, caller: &Identity);
    /// Its body was read whole and judged.
    fn judged(&self, request: &Seen<'_>);
    /// Whether it is to be told what is forwarded.
    fn records(&self) -> bool;
    /// It is about to be forwarded. What this gives is waited for first, and refuses it if it fails.
    fn forwarding(&self, forwarded: Forwarded<'_>) -> Option<Recorded>;
    /// It goes to the server now, with these headers: they may be added to.
    fn sending(&self, headers: &mut HeaderMap);
    /// The head of the server's answer came; `None` if none came.
    fn returned(&self, status: Option<StatusCode>);
}

/// Who is told of a request. An outer service puts this into its extensions.
#[derive(Clone)]
pub struct Observed(pub Arc<dyn Observer>);

/// A request as it is about to be forwarded.
pub struct Forwarded<'a> {
    /// On whose behalf.
    pub caller: &'a Identity,
    /// The server.
    pub server: &'a ServerName,
    /// The profile whose secrets are used.
    pub profile: &'a ProfileName,
    /// The methods of its messages: MCP's, `other` or `response`.
    pub methods: Vec<&'static str>,
    /// The tools it calls, as the client wrote them.
    pub tools: Vec<&'a str>,
    /// The secrets that are put into it; never their values.
    pub secrets: Vec<Used>,
}

/// A request as it was judged. Nothing in it is what a client wrote, but for the two trace contexts and the
/// client's name.
#[derive(Debug, Clone)]
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
    /// What the client calls itself in this very request, without control characters, at most 128 bytes.
    pub client: Option<Arc<str>>,
}

impl<'a> Seen<'a> {
    pub(super) fn of(judged: &'a Judged<'_>) -> Self {
        let single = judged.single();
        let method = match (&judged.body, single) {
            (None, _) => None,
            (Some(_), None) => Some("batch"),
            (Some(_), Some(message)) => Some(shown(message)),
        };
        Self {
            method,
            era: judged.era,
            bytes: judged.text.len(),
            trace_parent: single.and_then(|message| message.trace_parent.as_deref()),
            trace_state: single.and_then(|message| message.trace_state.as_deref()),
            client: single.and_then(|message| client(judged.text, message)),
        }
    }
}

/// The method of a message, as it may be shown.
pub(super) fn shown(message: &Message<'_>) -> &'static str {
    message.method.as_deref().map_or("response", methods::shown)
}

static CLIENT_INFO: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("clientInfo"));

/// What the client calls itself: `clientInfo` of `initialize`, or of a request's `_meta` (MCP 2026-07-28,
/// basic "Per-Request Metadata").
fn client(text: &str, message: &Message<'_>) -> Option<Arc<str>> {
    let (object, key) = match message.method.as_deref()? {
        "initialize" => (message.params.as_ref()?, "clientInfo"),
        _ => (message.meta.as_ref()?, "io.modelcontextprotocol/clientInfo"),
    };
    // Most say nothing of it, and need not be read once more. Who writes these letters as escapes has no name.
    CLIENT_INFO.find(&text.as_bytes()[object.clone()])?;
    let info = member(text, object, key)?;
    let part = |key| member(text, &info, key).and_then(|value| unquoted(&text[value]));
    let name = part("name")?;
    let whole = match part("version") {
        Some(version) => format!("{name} {version}"),
        None => name.into_owned(),
    };
    Some(plain(&whole).into())
}

/// Control characters escaped, and cut.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        let shown: String = match c.is_control() {
            true => c.escape_default().collect(),
            false => c.into(),
        };
        if plain.len() + shown.len() > CLIENT_MAX {
            break;
        }
        plain.push_str(&shown);
    }
    plain
}
