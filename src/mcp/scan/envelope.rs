//! Which values of a body we know, and the message they make.

use std::ops::Range;

use super::error::{ScanError, ScanErrorKind};
use super::text::{Str, equals_ignoring_case};
use super::{Capabilities, Message, Shape};

/// What a value is, as far as the proxy cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Body,
    Message,
    Jsonrpc,
    Id,
    Method,
    Params,
    Result,
    Error,
    Name,
    Uri,
    TaskId,
    Arguments,
    Meta,
    InitializeVersion,
    InitializeCapabilities,
    InitializeElicitation,
    InitializeElicitationUrl,
    MetaVersion,
    MetaCapabilities,
    MetaElicitation,
    MetaElicitationUrl,
    MetaTraceParent,
    MetaTraceState,
    Other,
}

const MESSAGE: &[(&str, Slot)] = &[
    ("jsonrpc", Slot::Jsonrpc),
    ("id", Slot::Id),
    ("method", Slot::Method),
    ("params", Slot::Params),
    ("result", Slot::Result),
    ("error", Slot::Error),
];
const PARAMS: &[(&str, Slot)] = &[
    ("name", Slot::Name),
    ("arguments", Slot::Arguments),
    ("_meta", Slot::Meta),
    ("uri", Slot::Uri),
    ("taskId", Slot::TaskId),
    ("protocolVersion", Slot::InitializeVersion),
    ("capabilities", Slot::InitializeCapabilities),
];
const META: &[(&str, Slot)] = &[
    ("io.modelcontextprotocol/protocolVersion", Slot::MetaVersion),
    (
        "io.modelcontextprotocol/clientCapabilities",
        Slot::MetaCapabilities,
    ),
];

impl Slot {
    /// What an element of this array is.
    pub(super) fn element(self) -> Slot {
        if self == Slot::Body {
            Slot::Message
        } else {
            Slot::Other
        }
    }

    /// What the value under `key` of this object is.
    pub(super) fn member(self, text: &str, key: Str) -> Result<Slot, ScanError> {
        match self {
            Slot::Message => known(MESSAGE, text, key),
            Slot::Params => known(PARAMS, text, key),
            Slot::Meta => known(META, text, key).map(|slot| traced(slot, text, key)),
            Slot::InitializeCapabilities if is(text, key, "elicitation") => {
                Ok(Slot::InitializeElicitation)
            }
            Slot::MetaCapabilities if is(text, key, "elicitation") => Ok(Slot::MetaElicitation),
            Slot::InitializeElicitation if is(text, key, "url") => {
                Ok(Slot::InitializeElicitationUrl)
            }
            Slot::MetaElicitation if is(text, key, "url") => Ok(Slot::MetaElicitationUrl),
            _ => Ok(Slot::Other),
        }
    }
}

/// Nothing is decided by a trace context, so one in other letters is simply none.
fn traced(slot: Slot, text: &str, key: Str) -> Slot {
    match slot {
        Slot::Other if is(text, key, "traceparent") => Slot::MetaTraceParent,
        Slot::Other if is(text, key, "tracestate") => Slot::MetaTraceState,
        slot => slot,
    }
}

fn is(text: &str, key: Str, known: &str) -> bool {
    key.decode(text) == known
}

fn known(names: &[(&str, Slot)], text: &str, key: Str) -> Result<Slot, ScanError> {
    let decoded = key.decode(text);
    // Names of one list differ in more than case, so who is one exactly is no other in another case.
    if let Some((_, slot)) = names.iter().find(|(name, _)| *name == decoded) {
        return Ok(*slot);
    }
    let mut names = names.iter();
    if names.any(|(name, _)| equals_ignoring_case(&decoded, name)) {
        // A backend that ignores case would read this one as the field, and see another request.
        return Err(ScanError::new(ScanErrorKind::MiscasedKey, key.start()));
    }
    Ok(Slot::Other)
}

/// What kind of value was read.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    String(Str),
    Number,
    Bool,
    Null,
    Array,
    Object,
}

/// A value's place in the body.
type Span = Option<(u32, u32)>;

/// The message being read.
#[derive(Default)]
struct Draft {
    start: usize,
    jsonrpc: bool,
    id: Span,
    id_null: bool,
    method: Option<Str>,
    params: Span,
    arguments: Span,
    result: Span,
    error: Span,
    name: Option<Str>,
    uri: Option<Str>,
    task_id: Option<Str>,
    meta_version: Option<Str>,
    trace_parent: Option<Str>,
    trace_state: Option<Str>,
    meta_capabilities: Option<Capabilities>,
    initialize_version: Option<Str>,
    initialize_capabilities: Capabilities,
}

/// Takes the values the walker meets and keeps the ones a [`Message`] has.
pub(super) struct Collector<'a> {
    text: &'a str,
    draft: Draft,
    first: Option<Box<Message<'a>>>,
    batch: Option<Vec<Message<'a>>>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            draft: Draft::default(),
            first: None,
            batch: None,
        }
    }

    /// The single message, or the batch.
    pub(super) fn into_parts(self) -> (Option<Box<Message<'a>>>, Option<Vec<Message<'a>>>) {
        (self.first, self.batch)
    }

    /// Messages of the batch read so far.
    pub(super) fn count(&self) -> usize {
        self.batch.as_ref().map_or(0, Vec::len)
    }

    /// An array or object begins; says what it is.
    pub(super) fn open(&mut self, slot: Slot, object: bool, at: usize) -> Result<Slot, ScanError> {
        match (slot, object) {
            (Slot::Body | Slot::Message, true) => {
                self.draft = Draft {
                    start: at,
                    ..Draft::default()
                };
                Ok(Slot::Message)
            }
            (Slot::Body, false) => {
                self.batch = Some(Vec::new());
                Ok(Slot::Body)
            }
            (Slot::MetaCapabilities, true) => {
                self.draft.meta_capabilities = Some(Capabilities::default());
                Ok(slot)
            }
            (Slot::Params, false) => Err(ScanError::new(ScanErrorKind::NotAMessage, at)),
            _ => Ok(slot),
        }
    }

    /// A value ended.
    pub(super) fn value(
        &mut self,
        slot: Slot,
        kind: Kind,
        start: usize,
        end: usize,
    ) -> Result<(), ScanError> {
        let messages = self.count();
        let draft = &mut self.draft;
        // A body fits a u32: see MAX_BODY.
        let span = Some((start as u32, end as u32));
        match (slot, kind) {
            (Slot::Other, _) => {}
            (Slot::Message, Kind::Object) => return self.message(),
            (Slot::Body, Kind::Array) if messages > 0 => {}
            (Slot::Jsonrpc, Kind::String(text)) if text.decode(self.text) == "2.0" => {
                draft.jsonrpc = true;
            }
            (Slot::Id, Kind::String(_) | Kind::Number) => draft.id = span,
            (Slot::Id, Kind::Null) => (draft.id, draft.id_null) = (span, true),
            (Slot::Method, Kind::String(text)) => draft.method = Some(text),
            (Slot::Params, Kind::Object) => draft.params = span,
            (Slot::Result, _) => draft.result = span,
            (Slot::Error, Kind::Object) => draft.error = span,
            // A field that must be there and is of another type: nothing of ours to read.
            (
                Slot::Body
                | Slot::Message
                | Slot::Jsonrpc
                | Slot::Id
                | Slot::Method
                | Slot::Params
                | Slot::Error,
                _,
            ) => return Err(ScanError::new(ScanErrorKind::NotAMessage, start)),
            (Slot::Arguments, _) => draft.arguments = span,
            (Slot::Name, Kind::String(text)) => draft.name = Some(text),
            (Slot::Uri, Kind::String(text)) => draft.uri = Some(text),
            (Slot::TaskId, Kind::String(text)) => draft.task_id = Some(text),
            (Slot::MetaVersion, Kind::String(text)) => draft.meta_version = Some(text),
            (Slot::MetaTraceParent, Kind::String(text)) => draft.trace_parent = Some(text),
            (Slot::MetaTraceState, Kind::String(text)) => draft.trace_state = Some(text),
            (Slot::InitializeVersion, Kind::String(text)) => draft.initialize_version = Some(text),
            (Slot::InitializeElicitationUrl, Kind::Object) => {
                draft.initialize_capabilities.set_elicitation_url();
            }
            (Slot::MetaElicitationUrl, Kind::Object) => {
                draft
                    .meta_capabilities
                    .get_or_insert_default()
                    .set_elicitation_url();
            }
            // Of another type than the protocol says: not ours to judge, the backend will.
            _ => {}
        }
        Ok(())
    }

    /// The message's object ended: judges it as a whole.
    fn message(&mut self) -> Result<(), ScanError> {
        let text = self.text;
        let draft = &self.draft;
        let refused = Err(ScanError::new(ScanErrorKind::NotAMessage, draft.start));
        if !draft.jsonrpc {
            return refused;
        }
        let shape = match (draft.method, draft.id, draft.result, draft.error) {
            // MCP 2025-11-25, basic "Requests": the id must not be null.
            (Some(_), Some(_), None, None) if !draft.id_null => Shape::Request,
            (Some(_), None, None, None) => Shape::Notification,
            (None, Some(_), Some(_), None) if !draft.id_null => Shape::Response,
            // An error about a request whose id could not be read has none (JSON-RPC 2.0
            // section 5: null; MCP 2025-11-25: may be left out).
            (None, _, None, Some(_)) => Shape::Response,
            _ => return refused,
        };
        let decode = |text_in: Option<Str>| text_in.map(|s| s.decode(text));
        let method = decode(draft.method);
        let initialize = method.as_deref() == Some("initialize");
        let message = Message {
            shape,
            id: range(draft.id),
            params: range(draft.params),
            arguments: range(draft.arguments),
            result: range(draft.result),
            name: decode(draft.name),
            uri: decode(draft.uri),
            task_id: decode(draft.task_id),
            protocol_version: decode(draft.meta_version),
            trace_parent: decode(draft.trace_parent),
            trace_state: decode(draft.trace_state),
            // What the request says of itself wins over what only a handshake would say.
            capabilities: match draft.meta_capabilities {
                Some(own) => own,
                None if initialize => draft.initialize_capabilities,
                None => Capabilities::default(),
            },
            initialize_version: if initialize {
                decode(draft.initialize_version)
            } else {
                None
            },
            method,
        };
        match &mut self.batch {
            Some(batch) => batch.push(message),
            None => self.first = Some(Box::new(message)),
        }
        Ok(())
    }
}

fn range(span: Span) -> Option<Range<usize>> {
    span.map(|(start, end)| start as usize..end as usize)
}
