//! One pass over a request body: is it JSON, is it a message, and where are the parts we need?
//!
//! A proxy that reads a body with one parser and forwards it to a server with another must not let
//! the two see different requests. So this scanner is strict where parsers differ, and it refuses
//! the whole body instead of repairing it:
//!
//! 1. The grammar is that of RFC 8259, to the letter: no byte order mark, no trailing data, no
//!    control characters in strings, valid UTF-8, no half surrogate pairs. At most [`MAX_DEPTH`]
//!    levels of nesting.
//! 2. No object at any depth may have a key twice, escapes decoded (`"argument\u0073"` is
//!    `"arguments"`): some parsers take the first, some the last.
//! 3. In a message, its `params` and their `_meta`, a key that is one of the fields read here but
//!    for its case is refused: some parsers ignore case.
//! 4. Numbers are checked and never converted, unknown fields are checked and never touched.
//!
//! Time is linear in the body whatever the body is; memory is at most four times the body, plus
//! [`MAX_BATCH`] messages. A message without escapes in the texts we read is scanned with one
//! allocation, its own.

#[cfg(test)]
mod agreement;
mod envelope;
mod error;
mod keys;
#[cfg(test)]
mod tests;
mod text;
mod walk;

use std::borrow::Cow;
use std::ops::Range;

pub use error::{ScanError, ScanErrorKind};
pub(super) use text::plain_in_word;

/// Levels of arrays and objects a body may have; one more is refused.
pub const MAX_DEPTH: usize = 64;

/// Messages a batch may have (batches: MCP 2025-03-26 only); one more is refused.
pub const MAX_BATCH: usize = 1024;

/// Bytes a body may have, 1 GiB; the proxy's own limit is far below.
pub const MAX_BODY: usize = 1 << 30;

/// A body that is JSON-RPC 2.0 as MCP speaks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// One message.
    One(Box<Message<'a>>),
    /// A batch of 1 to [`MAX_BATCH`] messages, in the order of the body.
    Batch(Vec<Message<'a>>),
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Has a method and an id: wants an answer.
    Request,
    /// Has a method and no id.
    Notification,
    /// Has a result or an error: answers a request of the other side.
    Response,
}

/// One JSON-RPC message: the parts the proxy reads.
///
/// Ranges are byte ranges of the scanned body and cover the value as written, quotes and brackets
/// included. Texts have their escapes decoded. A field of `params` that is of another type than MCP
/// gives it (`"name": 7`) is absent here and left for the backend to refuse; whoever decides by a
/// field must therefore refuse when it is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// What the message is.
    pub shape: Shape,
    /// The id: a string, a number, or (only in an error response) `null`.
    pub id: Option<Range<usize>>,
    /// The method; present in requests and notifications.
    pub method: Option<Cow<'a, str>>,
    /// `params`; an object if present.
    pub params: Option<Range<usize>>,
    /// `params.arguments`; any JSON value, to be checked by whoever writes into it.
    pub arguments: Option<Range<usize>>,
    /// `result` of a response.
    pub result: Option<Range<usize>>,
    /// `params.name`: the tool or prompt.
    pub name: Option<Cow<'a, str>>,
    /// `params.uri`: the resource.
    pub uri: Option<Cow<'a, str>>,
    /// `params.taskId`.
    pub task_id: Option<Cow<'a, str>>,
    /// Whether there is a `params.taskId`, a string or not.
    pub has_task_id: bool,
    /// `params._meta`; any JSON value.
    pub meta: Option<Range<usize>>,
    /// `params._meta["io.modelcontextprotocol/protocolVersion"]` (MCP 2026-07-28, basic "_meta").
    pub protocol_version: Option<Cow<'a, str>>,
    /// `params._meta.traceparent` (MCP SEP-414), whatever is written there.
    pub trace_parent: Option<Cow<'a, str>>,
    /// `params._meta.tracestate`, likewise.
    pub trace_state: Option<Cow<'a, str>>,
    /// What the client can do: from `params._meta["io.modelcontextprotocol/clientCapabilities"]`,
    /// else from the `params.capabilities` of `initialize`.
    pub capabilities: Capabilities,
    /// `params.protocolVersion` of `initialize`. Says nothing about the era: see
    /// [`Era`](super::revision::Era).
    pub initialize_version: Option<Cow<'a, str>>,
}

/// The client capabilities the proxy itself makes use of, as a bit set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u8);

impl Capabilities {
    const ELICITATION_URL: u8 = 1;

    /// The set with these bits; bits without a meaning are dropped.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ELICITATION_URL)
    }

    /// The set as bits, for [`Capabilities::from_bits`].
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether the user can be sent to a page: `elicitation.url` is declared, as an object
    /// (MCP 2025-11-25 and 2026-07-28, client/elicitation "Capabilities").
    #[must_use]
    pub fn elicitation_url(self) -> bool {
        self.0 & Self::ELICITATION_URL != 0
    }

    fn set_elicitation_url(&mut self) {
        self.0 |= Self::ELICITATION_URL;
    }
}

/// What a string literal says, quotes and escapes undone; `None` if `literal` is none under the rules
/// above.
pub(super) fn string_literal(literal: &str) -> Option<Cow<'_, str>> {
    if !literal.starts_with('"') {
        return None;
    }
    let content = text::string(literal.as_bytes(), 0).ok()?;
    (content.after() == literal.len()).then(|| content.decode(literal))
}

/// Judges a whole body.
///
/// # Errors
/// When the body is not valid JSON under the rules above or not a message; see [`ScanErrorKind`].
pub fn scan(body: &[u8]) -> Result<Body<'_>, ScanError> {
    scan_text(body).map(|(_, body)| body)
}

/// Judges a whole body, and gives it as the text it proved to be.
///
/// # Errors
/// Those of [`scan`].
pub fn scan_text(body: &[u8]) -> Result<(&str, Body<'_>), ScanError> {
    let text = text_of(body)?;
    let mut walker = walk::Walker::new(text);
    walker.run(envelope::Slot::Body)?;
    let body = walker.collector.take_body();
    // The walker ends after one value; one that is no message was refused when it ended.
    let body = body.ok_or(ScanError::new(ScanErrorKind::NotAMessage, 0))?;
    Ok((text, body))
}

/// Judges a whole body that need be no message: the rules above but the third. Gives it as the text it
/// proved to be.
///
/// # Errors
/// When the body is not valid JSON under those rules.
pub fn check_json(body: &[u8]) -> Result<&str, ScanError> {
    let text = text_of(body)?;
    walk::Walker::new(text).run(envelope::Slot::Other)?;
    Ok(text)
}

fn text_of(body: &[u8]) -> Result<&str, ScanError> {
    if body.len() > MAX_BODY {
        return Err(ScanError::new(ScanErrorKind::TooLarge, MAX_BODY));
    }
    simdutf8::compat::from_utf8(body)
        .map_err(|error| ScanError::new(ScanErrorKind::NotUtf8, error.valid_up_to()))
}
