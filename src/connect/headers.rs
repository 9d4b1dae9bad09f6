//! Which headers a message is sent with.

use std::collections::HashMap;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::Value;

use super::message::Outgoing;
use super::session::{Session, Standing};
use crate::mcp::headers::{
    LAST_EVENT_ID, MCP_METHOD, MCP_NAME, MCP_PROTOCOL_VERSION, MCP_SESSION_ID, mirrored,
};
use crate::mcp::mirrors::{Mirror, mirrors, shown};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EITHER: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// The arguments that tools want mirrored, as far as their lists have passed.
#[derive(Default)]
pub(super) struct Learned(HashMap<String, Vec<Mirror>>);

impl Learned {
    /// Takes in a list of tools, or its next page.
    pub(super) fn learn(&mut self, result: &Value) {
        for tool in result["tools"].as_array().into_iter().flatten() {
            if let Some(name) = tool["name"].as_str() {
                let found = mirrors(tool);
                if found.is_empty() {
                    self.0.remove(name);
                } else {
                    self.0.insert(name.to_owned(), found);
                }
            }
        }
    }

    fn of(&self, tool: &str) -> &[Mirror] {
        self.0.get(tool).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Of a message that is posted.
pub(super) fn of_message(message: &Outgoing, session: &Session, learned: &Learned) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([(ACCEPT, EITHER), (CONTENT_TYPE, JSON)]);
    if let Some(version) = &message.modern {
        let version = HeaderValue::from_str(version).ok();
        headers.extend(version.map(|version| (MCP_PROTOCOL_VERSION, version)));
        mirror(message, learned, &mut headers);
    } else if let Some(version) = session.modern().filter(|_| message.ids.is_empty()) {
        headers.insert(MCP_PROTOCOL_VERSION, version.clone());
        mirror(message, learned, &mut headers);
    } else if !message.opens() {
        headers.extend(of_session(&session.standing()));
    }
    headers
}

/// Of a request for what the server has to say, after the event `last` if one is named.
pub(super) fn of_stream(standing: &Standing, last: Option<&str>) -> HeaderMap {
    let mut headers = of_session(standing);
    headers.insert(ACCEPT, EVENTS);
    let last = last.and_then(|last| HeaderValue::from_bytes(last.as_bytes()).ok());
    headers.extend(last.map(|last| (LAST_EVENT_ID, last)));
    headers
}

/// Of everything that belongs to a session.
pub(super) fn of_session(standing: &Standing) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Standing { id, version, .. } = standing.clone();
    headers.extend(id.map(|id| (MCP_SESSION_ID, id)));
    headers.extend(version.map(|version| (MCP_PROTOCOL_VERSION, version)));
    headers
}

/// What a message of 2026-07-28 says in headers too (basic/transports/streamable-http "Request Metadata").
fn mirror(message: &Outgoing, learned: &Learned, headers: &mut HeaderMap) {
    let Some(method) = message.method.as_deref() else {
        return;
    };
    let method_value = HeaderValue::from_str(method).ok();
    headers.extend(method_value.map(|method| (MCP_METHOD, method)));
    let Some(name) = message.name.as_deref() else {
        return;
    };
    headers.insert(MCP_NAME, mirrored(name));
    if method != "tools/call" {
        return;
    }
    let text = std::str::from_utf8(&message.text).unwrap_or_default();
    for wanted in learned.of(name) {
        let arguments = message.arguments.clone();
        if let Some(value) = arguments.and_then(|object| shown(text, object, &wanted.path)) {
            headers.insert(wanted.header.clone(), mirrored(&value));
        }
    }
}

/// Whether an answer is a stream of events, or JSON; `None` if it is neither.
pub(super) fn is_stream(headers: &HeaderMap) -> Option<bool> {
    let kind = headers.get(CONTENT_TYPE)?.as_bytes();
    let kind = kind.split(|&b| b == b';').next()?.trim_ascii();
    if kind.eq_ignore_ascii_case(b"text/event-stream") {
        Some(true)
    } else {
        kind.eq_ignore_ascii_case(b"application/json")
            .then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::super::message::outgoing;
    use super::*;

    fn message(text: &str) -> Outgoing {
        outgoing(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn told(headers: &HeaderMap) -> Vec<(&str, &str)> {
        let mut told: Vec<_> = headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("mcp-"))
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        told.sort_unstable();
        told
    }

    const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wetter_ü","arguments":{"region":"eu","n":9007199254740993,"deep":{"flag":true},"gone":null},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;

    fn legacy() -> Session {
        let mut session = Session::default();
        let result = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
        let id = Some(HeaderValue::from_static("s"));
        session.open(Bytes::new(), id, &result);
        session
    }

    // Fails when a number passes through a float, or a null argument is mirrored.
    #[test]
    fn a_message_that_says_all_of_itself_is_mirrored() {
        let mut learned = Learned::default();
        let list = json!({"tools": [{"name": "wetter_ü", "inputSchema": {"properties": {
            "region": {"x-mcp-header": "Region"},
            "n": {"x-mcp-header": "N"},
            "gone": {"x-mcp-header": "Gone"},
            "missing": {"x-mcp-header": "Missing"},
            "deep": {"properties": {"flag": {"x-mcp-header": "Flag"}}},
        }}}]});
        learned.learn(&list);
        let headers = of_message(&message(CALL), &legacy(), &learned);
        assert_eq!(
            told(&headers),
            [
                ("mcp-method", "tools/call"),
                ("mcp-name", "=?base64?d2V0dGVyX8O8?="),
                ("mcp-param-flag", "true"),
                ("mcp-param-n", "9007199254740993"),
                ("mcp-param-region", "eu"),
                ("mcp-protocol-version", "2026-07-28"),
            ]
        );
        learned.learn(&json!({"tools": [{"name": "wetter_ü"}]}));
        let headers = of_message(&message(CALL), &legacy(), &learned);
        assert_eq!(told(&headers).len(), 3, "the newer list says otherwise");
    }

    #[test]
    fn a_message_of_a_session_carries_it_and_the_one_that_opens_it_nothing() {
        let learned = Learned::default();
        let carried = [
            ("mcp-protocol-version", "2025-11-25"),
            ("mcp-session-id", "s"),
        ];
        let list = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        assert_eq!(told(&of_message(&list, &legacy(), &learned)), carried);
        let open = message(r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#);
        assert!(told(&of_message(&open, &legacy(), &learned)).is_empty());
        let stream = of_stream(&legacy().standing(), Some("e7"));
        assert_eq!(told(&stream), carried);
        assert_eq!(
            (&stream[LAST_EVENT_ID], &stream[ACCEPT]),
            (&"e7".parse().unwrap(), &EVENTS)
        );
    }

    #[test]
    fn a_notification_of_a_client_without_a_session_is_of_its_revision() {
        let mut session = Session::default();
        session.saw_modern("2026-07-28");
        let progress = message(r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#);
        let headers = of_message(&progress, &session, &Learned::default());
        assert_eq!(
            told(&headers),
            [
                ("mcp-method", "notifications/progress"),
                ("mcp-protocol-version", "2026-07-28")
            ]
        );
        let open = message(r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#);
        assert!(told(&of_message(&open, &session, &Learned::default())).is_empty());
    }

    #[test]
    fn an_answer_is_known_by_its_type() {
        for (kind, is) in [
            ("text/event-stream", Some(true)),
            ("Text/Event-Stream; charset=utf-8", Some(true)),
            ("application/json;charset=utf-8", Some(false)),
            ("text/html", None),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
            assert_eq!(is_stream(&headers), is, "{kind}");
        }
        assert_eq!(is_stream(&HeaderMap::new()), None);
    }
}
