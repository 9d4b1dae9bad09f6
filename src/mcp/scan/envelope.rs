//! Which values of a body we know, and the message they make.

use std::ops::Range;

use super::error::{ScanError, ScanErrorKind};
use super::text::{Str, equals_ignoring_case};
use super::{Body, Capabilities, Message, Shape};

/// What a value is, as far as the proxy cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// None of ours. The first, so that a stack of frames that are not in use is made of zeros.
    Other,
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
}

/// A key that is looked for in an object, and what its value is.
type Field = (&'static str, Slot);

const MESSAGE: [Field; 6] = [
    ("jsonrpc", Slot::Jsonrpc),
    ("id", Slot::Id),
    ("method", Slot::Method),
    ("params", Slot::Params),
    ("result", Slot::Result),
    ("error", Slot::Error),
];
const PARAMS: [Field; 7] = [
    ("name", Slot::Name),
    ("arguments", Slot::Arguments),
    ("_meta", Slot::Meta),
    ("uri", Slot::Uri),
    ("taskId", Slot::TaskId),
    ("protocolVersion", Slot::InitializeVersion),
    ("capabilities", Slot::InitializeCapabilities),
];
const META: [Field; 2] = [
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
    #[inline(always)]
    pub(super) fn member(self, text: &str, key: Str) -> Result<Slot, ScanError> {
        if self == Slot::Other {
            return Ok(Slot::Other);
        }
        let slot = if key.escaped() {
            self.member_named(key.decode(text).as_bytes())
        } else {
            self.member_named(key.raw_bytes(text))
        };
        match slot {
            Some(slot) => Ok(slot),
            // Names of one list differ in more than case, so who is one exactly is no other in
            // another case.
            None => self.member_unknown(text, key),
        }
    }

    /// What the value under a key with this name is; `None` if the name is not in the list there is for
    /// this object.
    fn member_named(self, name: &[u8]) -> Option<Slot> {
        match (self, name) {
            (Slot::Message, _) => listed(&MESSAGE, name),
            (Slot::Params, _) => listed(&PARAMS, name),
            // Nothing is decided by a trace context, so one in other letters is simply none.
            (Slot::Meta, b"traceparent") => Some(Slot::MetaTraceParent),
            (Slot::Meta, b"tracestate") => Some(Slot::MetaTraceState),
            (Slot::Meta, _) => listed(&META, name),
            (Slot::InitializeCapabilities, b"elicitation") => Some(Slot::InitializeElicitation),
            (Slot::MetaCapabilities, b"elicitation") => Some(Slot::MetaElicitation),
            (Slot::InitializeElicitation, b"url") => Some(Slot::InitializeElicitationUrl),
            (Slot::MetaElicitation, b"url") => Some(Slot::MetaElicitationUrl),
            _ => Some(Slot::Other),
        }
    }

    #[inline(never)]
    fn member_unknown(self, text: &str, key: Str) -> Result<Slot, ScanError> {
        let list: &[Field] = match self {
            Slot::Message => &MESSAGE,
            Slot::Params => &PARAMS,
            Slot::Meta => &META,
            _ => &[],
        };
        let name = key.decode(text);
        if list
            .iter()
            .any(|(known, _)| equals_ignoring_case(&name, known))
        {
            // A backend that ignores case would read this one as the field, and see another request.
            return Err(ScanError::new(ScanErrorKind::MiscasedKey, key.start()));
        }
        Ok(Slot::Other)
    }
}

/// Inlined, and of a list whose length is known, so that each comparison is with a constant.
#[inline(always)]
fn listed<const N: usize>(list: &[Field; N], name: &[u8]) -> Option<Slot> {
    let known = list.iter().find(|(known, _)| known.as_bytes() == name);
    known.map(|(_, slot)| *slot)
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
    has_task_id: bool,
    meta: Span,
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
    pub(super) fn take_body(&mut self) -> Option<Body<'a>> {
        match self.batch.take() {
            Some(batch) => Some(Body::Batch(batch)),
            None => self.first.take().map(Body::One),
        }
    }

    /// Messages of the batch read so far.
    pub(super) fn count(&self) -> usize {
        self.batch.as_ref().map_or(0, Vec::len)
    }

    /// An array or object begins; says what it is.
    pub(super) fn open(&mut self, slot: Slot, object: bool, at: usize) -> Result<Slot, ScanError> {
        match (slot, object) {
            (Slot::Body | Slot::Message, true) => {
                self.draft.start = at;
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
            (Slot::TaskId, kind) => {
                draft.has_task_id = true;
                if let Kind::String(text) = kind {
                    draft.task_id = Some(text);
                }
            }
            (Slot::Meta, _) => draft.meta = span,
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
    #[inline(never)]
    fn message(&mut self) -> Result<(), ScanError> {
        let draft = &self.draft;
        let refused = ScanError::new(ScanErrorKind::NotAMessage, draft.start);
        let shape = draft.shape().ok_or(refused)?;
        match &mut self.batch {
            Some(batch) => {
                batch.push(draft.message(shape, self.text));
                self.draft = Draft::default();
            }
            None => self.first = Some(Box::new(draft.message(shape, self.text))),
        }
        Ok(())
    }
}

impl Draft {
    fn shape(&self) -> Option<Shape> {
        if !self.jsonrpc {
            return None;
        }
        match (self.method, self.id, self.result, self.error) {
            // MCP 2025-11-25, basic "Requests": the id must not be null.
            (Some(_), Some(_), None, None) if !self.id_null => Some(Shape::Request),
            (Some(_), None, None, None) => Some(Shape::Notification),
            (None, Some(_), Some(_), None) if !self.id_null => Some(Shape::Response),
            // An error about a request whose id could not be read has none (JSON-RPC 2.0
            // section 5: null; MCP 2025-11-25: may be left out).
            (None, _, None, Some(_)) => Some(Shape::Response),
            _ => None,
        }
    }

    fn message<'a>(&self, shape: Shape, text: &'a str) -> Message<'a> {
        let decode = |text_in: Option<Str>| text_in.map(|s| s.decode(text));
        let method = decode(self.method);
        let initialize = method.as_deref() == Some("initialize");
        Message {
            shape,
            id: range(self.id),
            params: range(self.params),
            arguments: range(self.arguments),
            result: range(self.result),
            name: decode(self.name),
            uri: decode(self.uri),
            task_id: decode(self.task_id),
            has_task_id: self.has_task_id,
            meta: range(self.meta),
            protocol_version: decode(self.meta_version),
            trace_parent: decode(self.trace_parent),
            trace_state: decode(self.trace_state),
            // What the request says of itself wins over what only a handshake would say.
            capabilities: match self.meta_capabilities {
                Some(own) => own,
                None if initialize => self.initialize_capabilities,
                None => Capabilities::default(),
            },
            initialize_version: if initialize {
                decode(self.initialize_version)
            } else {
                None
            },
            method,
        }
    }
}

fn range(span: Span) -> Option<Range<usize>> {
    span.map(|(start, end)| start as usize..end as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a name is known by some of its bytes only.
    #[test]
    fn a_name_is_known_by_every_byte_of_it() {
        for (object, list) in [
            (Slot::Message, &MESSAGE[..]),
            (Slot::Params, &PARAMS),
            (Slot::Meta, &META),
        ] {
            for (name, slot) in list {
                let mut other = name.as_bytes().to_vec();
                assert_eq!(object.member_named(&other), Some(*slot));
                for at in 0..other.len() {
                    for bit in 0..8 {
                        other[at] ^= 1 << bit;
                        assert_eq!(object.member_named(&other), None, "{name} {at} {bit}");
                        other[at] ^= 1 << bit;
                    }
                }
                other.push(b'x');
                assert_eq!(object.member_named(&other), None);
                other.truncate(name.len() - 1);
                assert_eq!(object.member_named(&other), None);
            }
        }
    }
}
