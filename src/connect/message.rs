//! Messages as they pass: what of the client's decides how they are sent, and what the server's answer.
//!
//! Neither is changed but for ends of lines, and the id of an error that the server could not name one for.

use std::ops::Range;

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::line::flat;
use crate::mcp::edit::{member, quote, unquoted};
use crate::mcp::headers;
use crate::mcp::revision::Era;
use crate::mcp::scan::{self, Body, Message, ScanErrorKind, Shape};

/// The id of a request, as it is written in JSON; two ways to write one text are one id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Id(String);

impl Id {
    /// Reads an id as it was written; `None` for `null` and what is no id.
    pub(super) fn of(written: &str) -> Option<Self> {
        if let Some(text) = unquoted(written) {
            let mut literal = Vec::new();
            quote(&text, &mut literal);
            return String::from_utf8(literal).ok().map(Self);
        }
        let number = written.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        number.then(|| Self(written.to_owned()))
    }
}

/// A message of the client's, or a batch of them.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// What is sent.
    pub(super) text: Bytes,
    /// The requests in it, which want answers.
    pub(super) ids: Vec<Id>,
    /// The method, of a single request or notification.
    pub(super) method: Option<String>,
    /// What `Mcp-Name` is to say.
    pub(super) name: Option<String>,
    /// The revision in its `_meta`, of 2026-07-28 or later: it says everything about itself.
    pub(super) modern: Option<String>,
    /// `params.arguments`, within `text`.
    pub(super) arguments: Option<Range<usize>>,
    /// The request that this notification cancels.
    pub(super) cancels: Option<Id>,
}

impl Outgoing {
    /// Whether it opens a session (up to MCP 2025-11-25).
    pub(super) fn opens(&self) -> bool {
        self.modern.is_none() && self.method.as_deref() == Some("initialize")
    }

    /// Whether it says that the session is open.
    pub(super) fn has_opened(&self) -> bool {
        self.method.as_deref() == Some("notifications/initialized")
    }

    /// Whether its answer is not to be waited for, since it comes when the server ends.
    pub(super) fn is_endless(&self) -> bool {
        self.method.as_deref() == Some("subscriptions/listen")
    }
}

/// What is answered to a line that is no message.
#[derive(Debug)]
pub(super) struct Refused {
    /// The request, as far as one could be seen.
    pub(super) id: Option<Id>,
    /// The code of JSON-RPC.
    pub(super) code: i32,
    /// What is wrong.
    pub(super) text: String,
}

/// Reads a line of the client's.
///
/// # Errors
/// It is no message that any server may read in one way only.
pub(super) fn outgoing(line: Bytes) -> Result<Outgoing, Refused> {
    let refused = |error: scan::ScanError| Refused {
        id: envelope(&line).and_then(|found| found.id()),
        code: match error.kind() {
            ScanErrorKind::NotJson | ScanErrorKind::NotUtf8 => -32700,
            _ => -32600,
        },
        text: format!("this message is not sent: {error}"),
    };
    let (text, body) = scan::scan_text(&line).map_err(refused)?;
    let found = match &body {
        Body::One(message) => single(text, message),
        Body::Batch(batch) => Outgoing {
            text: Bytes::new(),
            ids: batch.iter().filter_map(|one| request(text, one)).collect(),
            method: None,
            name: None,
            modern: None,
            arguments: None,
            cancels: None,
        },
    };
    Ok(Outgoing {
        text: line,
        ..found
    })
}

fn single(text: &str, message: &Message<'_>) -> Outgoing {
    let modern = Era::of(&HeaderMap::new(), message) == Era::Modern;
    let version = message.protocol_version.as_deref();
    let cancelled = || {
        let params = message.params.as_ref()?;
        Id::of(&text[member(text, params, "requestId")?])
    };
    let method = message.method.as_deref();
    Outgoing {
        text: Bytes::new(),
        ids: request(text, message).into_iter().collect(),
        method: method.map(str::to_owned),
        name: headers::name(message).flatten().map(str::to_owned),
        modern: version.filter(|_| modern).map(str::to_owned),
        arguments: message.arguments.clone(),
        cancels: if method == Some("notifications/cancelled") {
            cancelled()
        } else {
            None
        },
    }
}

fn request(text: &str, message: &Message<'_>) -> Option<Id> {
    let id = message.id.clone()?;
    (message.shape == Shape::Request)
        .then(|| Id::of(&text[id]))
        .flatten()
}

/// A message of the server's, or a batch of them, as a line for the client.
#[derive(Debug)]
pub(super) struct Incoming {
    /// What the client is given.
    pub(super) line: Bytes,
    /// The requests it answers; `None` for an error about no request in particular.
    pub(super) answers: Vec<Option<Id>>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl Envelope<'_> {
    fn id(&self) -> Option<Id> {
        Id::of(self.id?.get())
    }

    fn is_answer(&self) -> bool {
        // Not everything that answers `{"error": "…"}` speaks JSON-RPC.
        let error = self.error.is_some_and(|error| error.get().starts_with('{'));
        self.method.is_none() && (self.result.is_some() || error)
    }

    fn is_message(&self) -> bool {
        self.method.is_some() || self.is_answer()
    }
}

fn envelope(text: &[u8]) -> Option<Envelope<'_>> {
    serde_json::from_slice(text).ok()
}

/// Reads what the server sent; `None` if it is no message of JSON-RPC.
pub(super) fn incoming(sent: Bytes) -> Option<Incoming> {
    let sent = match sent.strip_prefix("\u{feff}".as_bytes()) {
        Some(rest) => sent.slice_ref(rest),
        None => sent,
    };
    let found = if sent.trim_ascii_start().starts_with(b"[") {
        let batch: Vec<Envelope<'_>> = serde_json::from_slice(&sent).ok()?;
        batch
    } else {
        vec![envelope(&sent)?]
    };
    if found.is_empty() || !found.iter().all(Envelope::is_message) {
        return None;
    }
    let answers = found.iter().filter(|one| one.is_answer());
    let answers = answers.map(Envelope::id).collect();
    Some(Incoming {
        line: flat(sent),
        answers,
    })
}

/// The single answer to the request `id` that was sent in answer to it alone, whatever id it carries: a
/// server that could not read the request names none, and some name one of their own.
pub(super) fn answer_to(id: &Id, sent: Bytes) -> Option<Incoming> {
    let incoming = incoming(sent)?;
    let [found] = incoming.answers.as_slice() else {
        return Some(incoming);
    };
    if found.as_ref() == Some(id) {
        return Some(incoming);
    }
    let envelope = envelope(&incoming.line)?;
    let line = match (envelope.error, envelope.result) {
        (Some(error), _) => answered(id, "error", error.get()),
        (None, Some(result)) => answered(id, "result", result.get()),
        (None, None) => return None,
    };
    Some(Incoming {
        line,
        answers: vec![Some(id.clone())],
    })
}

fn answered(Id(id): &Id, key: &str, value: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"{key}":{value}}}"#).into()
}

/// The error in an answer.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Failed {
    /// Its code.
    pub(super) code: i64,
    /// Its text.
    #[serde(default)]
    pub(super) message: String,
}

/// The error in an answer, if it is one.
pub(super) fn failed(answer: &[u8]) -> Option<Failed> {
    let answer = answer.strip_prefix("\u{feff}".as_bytes()).unwrap_or(answer);
    serde_json::from_str(envelope(answer)?.error?.get()).ok()
}

/// The result in an answer, if it has one.
pub(super) fn result(answer: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_str(envelope(answer)?.result?.get()).ok()
}

/// An error for the client.
pub(super) fn error(id: Option<&Id>, code: i32, text: &str) -> Bytes {
    let error = json!({"code": code, "message": text}).to_string();
    match id {
        Some(id) => answered(id, "error", &error),
        None => format!(r#"{{"jsonrpc":"2.0","id":null,"error":{error}}}"#).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(text: &str) -> Outgoing {
        outgoing(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn id(written: &str) -> Id {
        Id::of(written).unwrap()
    }

    #[test]
    fn a_message_says_how_it_is_sent() {
        let call = sent(
            r#"{"jsonrpc":"2.0","id":"a\u0062","method":"tools/call","params":{"name":"t","arguments":{"x":1},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
        );
        assert_eq!(call.ids, [id(r#""ab""#)]);
        assert_eq!(call.modern.as_deref(), Some("2026-07-28"));
        assert_eq!(call.name.as_deref(), Some("t"));
        assert_eq!(&call.text[call.arguments.clone().unwrap()], br#"{"x":1}"#);
        // rmcp 3.9 asks for a modern revision in a handshake of the era before.
        let open = sent(
            r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2026-07-28"}}"#,
        );
        assert!(open.opens() && open.modern.is_none());
        let cancel = sent(
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#,
        );
        assert_eq!((cancel.ids.len(), cancel.cancels), (0, Some(id("7"))));
        let batch = sent(
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"n"},{"jsonrpc":"2.0","id":2,"result":{}}]"#,
        );
        assert_eq!(batch.ids, [id("1")]);
    }

    // Fails when the id is not looked for: the client would wait for ever.
    #[test]
    fn what_is_not_sent_is_answered_under_its_id() {
        for (line, wanted, code) in [
            (
                r#"{"jsonrpc":"2.0","id":9,"method":"m","params":{"a":1,"a":2}}"#,
                Some(id("9")),
                -32600,
            ),
            (r#"{"id":"x","method":"m"}"#, Some(id(r#""x""#)), -32600),
            ("nonsense", None, -32700),
            (r#"{"jsonrpc":"2.0","id":9"#, None, -32700),
        ] {
            let refused = outgoing(Bytes::copy_from_slice(line.as_bytes())).unwrap_err();
            assert_eq!((refused.id, refused.code), (wanted, code), "{line}");
        }
    }

    #[test]
    fn what_the_server_sends_passes_unchanged_but_for_line_ends() {
        let answer =
            "{\"jsonrpc\":\"2.0\",\n \"id\":1,\"result\":{\"n\":1e400,\"x\":12345678901234567890}}";
        let read = incoming(Bytes::from(answer)).unwrap();
        assert_eq!(read.line, answer.replace('\n', ""));
        assert_eq!(read.answers, [Some(id("1"))]);
        let asked = incoming(Bytes::from_static(br#"{"id":1,"method":"ping"}"#)).unwrap();
        assert!(asked.answers.is_empty());
        let batch = br#"[{"id":1,"result":{}},{"method":"n"},{"error":{"code":1},"id":null}]"#;
        let batch = incoming(Bytes::from_static(batch)).unwrap();
        assert_eq!(batch.answers, [Some(id("1")), None]);
        for none in [
            "",
            "{}",
            "[]",
            "<html>",
            r#"{"id":1}"#,
            r#"{"error":"unauthorized"}"#,
            "{\"id\":1,\"result\":\"a\nb\"}",
            r#"{"id":1,"result":{}} x"#,
        ] {
            assert!(incoming(Bytes::from(none)).is_none(), "{none}");
        }
    }

    // Fails when an error keeps the id it came with: a client that asked `server/discover` would wait.
    #[test]
    fn an_error_gets_the_id_of_the_request_and_nothing_else_of_it_changes() {
        let error = r#"{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}"#;
        for given in ["null", "\"server-error\"", "12"] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{given},"error":{error}}}"#);
            let read = answer_to(&id("7"), body.into()).unwrap();
            let wanted = format!(r#"{{"jsonrpc":"2.0","id":7,"error":{error}}}"#);
            assert_eq!(read.line, wanted);
            assert_eq!(failed(&read.line).unwrap().code, -32022);
        }
        let asked = Bytes::from_static(br#"{"id":1,"method":"ping"}"#);
        assert_eq!(answer_to(&id("7"), asked.clone()).unwrap().line, asked);
        let own = super::error(Some(&id("7")), 5020, "a \"b\"\n");
        assert_eq!(
            own,
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":5020,"message":"a \"b\"\n"}}"#
        );
    }
}
