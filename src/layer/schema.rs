//! Which arguments a server wants mirrored in a header.
//!
//! A tool of MCP 2026-07-28 may mark an argument `x-mcp-header: "Name"`; its calls must then carry
//! `Mcp-Param-Name` with the same value (basic/transports/streamable-http "Custom Headers"). A client
//! cannot do so for an argument it never sees, so the layer does. Only the tool's schema says it, and
//! the schema may depend on who asks: it is listed once as that user, and kept for as long as his
//! secrets stay the same.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
use quick_cache::sync::Cache;
use serde_json::{Value, json};

use crate::names::{ProfileName, ServerName};
use crate::vault::UserId;

/// Schemas kept, the least used first to go.
const KEPT: usize = 4096;
/// Pages of one list.
pub(super) const PAGES: usize = 64;

/// Whose view of a server it is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Viewer {
    pub(super) user: UserId,
    pub(super) server: ServerName,
    pub(super) profile: ProfileName,
    pub(super) secret_version: u64,
}

/// Headers wanted by argument, by tool; tools that want none are left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mirrors(HashMap<String, Vec<(String, HeaderName)>>);

impl Mirrors {
    /// The arguments of `tool` that are mirrored, and where.
    pub(super) fn of(&self, tool: &str) -> &[(String, HeaderName)] {
        self.0.get(tool).map(Vec::as_slice).unwrap_or_default()
    }

    /// Adds what one page of a list says; the cursor of the next page.
    pub(super) fn add(&mut self, result: &Value) -> Option<String> {
        for tool in result["tools"].as_array().into_iter().flatten() {
            let Some(name) = tool["name"].as_str() else {
                continue;
            };
            let properties = tool["inputSchema"]["properties"].as_object();
            let marked = properties
                .into_iter()
                .flatten()
                .filter_map(|(argument, schema)| {
                    let header = schema["x-mcp-header"].as_str()?;
                    let header = HeaderName::try_from(format!("mcp-param-{header}")).ok()?;
                    Some((argument.clone(), header))
                });
            let marked: Vec<_> = marked.collect();
            if !marked.is_empty() {
                self.0.insert(name.to_owned(), marked);
            }
        }
        result["nextCursor"].as_str().map(str::to_owned)
    }
}

/// What is known of servers' schemas.
pub(super) struct Schemas(Cache<Viewer, Arc<Mirrors>>);

impl Default for Schemas {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl Schemas {
    pub(super) fn get(&self, viewer: &Viewer) -> Option<Arc<Mirrors>> {
        self.0.get(viewer)
    }

    pub(super) fn keep(&self, viewer: &Viewer, mirrors: Arc<Mirrors>) {
        self.0.insert(viewer.clone(), mirrors);
    }
}

/// The body of a request for the list, or its next page, in the revision `version`.
pub(super) fn list_request(version: &str, cursor: Option<&str>) -> Bytes {
    let mut params = json!({"_meta": {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "cloakroom", "version": env!("CARGO_PKG_VERSION")},
    }});
    if let Some(cursor) = cursor {
        params["cursor"] = cursor.into();
    }
    let request =
        json!({"jsonrpc": "2.0", "id": LIST_ID, "method": "tools/list", "params": params});
    request.to_string().into()
}

const LIST_ID: &str = "cloakroom-tools-list";

/// The result in an answer to [`list_request`], which may be a stream.
pub(super) fn list_result(answer: &[u8]) -> Option<Value> {
    let answer = std::str::from_utf8(answer)
        .ok()?
        .trim_start_matches('\u{feff}');
    let result = |text: &str| {
        let mut message: Value = serde_json::from_str(text).ok()?;
        (message["id"] == LIST_ID).then(|| message["result"].take())
    };
    if answer.trim_start().starts_with('{') {
        return result(answer);
    }
    let lines = answer.replace("\r\n", "\n").replace('\r', "\n");
    lines.split("\n\n").find_map(|event| {
        let data = event.lines().filter_map(|line| line.strip_prefix("data:"));
        result(&data.collect::<Vec<_>>().join("\n"))
    })
}

/// Whether an error answer says that a header contradicts the body.
pub(super) fn is_header_mismatch(answer: &[u8]) -> bool {
    let error: Result<Value, _> = serde_json::from_slice(answer);
    error.is_ok_and(|answer| answer["error"]["code"] == -32020)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_which_arguments_are_mirrored() {
        let page = json!({"nextCursor": "2", "tools": [
            {"name": "call", "inputSchema": {"properties": {
                "token": {"type": "string", "x-mcp-header": "Token"},
                "bad": {"x-mcp-header": "no header"},
                "city": {"type": "string"},
            }}},
            {"name": "plain", "inputSchema": {}},
            {"inputSchema": 7},
        ]});
        let mut mirrors = Mirrors::default();
        assert_eq!(mirrors.add(&page).as_deref(), Some("2"));
        assert_eq!(
            mirrors.of("call"),
            [(
                "token".to_owned(),
                HeaderName::from_static("mcp-param-token")
            )]
        );
        assert!(mirrors.of("plain").is_empty() && mirrors.of("other").is_empty());
        assert_eq!(mirrors.add(&json!({})), None);
    }

    #[test]
    fn the_answer_is_found_as_json_and_in_a_stream() {
        let answer = r#"{"jsonrpc":"2.0","id":"cloakroom-tools-list","result":{"tools":[]}}"#;
        let halves = answer.split_once(',').unwrap();
        for text in [
            answer.to_owned(),
            format!("\u{feff}{answer}"),
            format!(": hello\r\n\r\nevent: message\r\nid: 1\r\ndata: {answer}\r\n\r\n"),
            format!(
                "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}}\n\ndata:{answer}\n\n"
            ),
            format!("data: {},\ndata: {}\n\n", halves.0, halves.1),
        ] {
            assert_eq!(
                list_result(text.as_bytes()),
                Some(json!({"tools": []})),
                "{text}"
            );
        }
        assert_eq!(
            list_result(answer.replace("cloakroom", "other").as_bytes()),
            None
        );
        assert_eq!(list_result(b"nonsense"), None);
    }
}
