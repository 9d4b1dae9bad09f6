//! Which arguments a server wants mirrored in a header.
//!
//! See [`crate::mcp::mirrors`]. A client cannot mirror an argument it never sees, so the layer does. Only
//! the tool's schema says it, and the schema may depend on who asks: it is listed once as that user, and
//! kept for as long as his secrets stay the same.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::{Value, json};

use crate::mcp::mirrors::{Mirror, mirrors};
use crate::names::{ProfileName, ServerName};
use crate::vault::UserId;

/// Bytes of what is kept, about; the least used goes first.
const KEPT: u64 = 4 << 20;

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
pub(super) struct Mirrors {
    /// Whether the list could be had.
    pub(super) listed: bool,
    tools: HashMap<String, Vec<(String, HeaderName)>>,
}

impl Mirrors {
    /// The arguments of `tool` that are mirrored, and where.
    pub(super) fn of(&self, tool: &str) -> &[(String, HeaderName)] {
        self.tools.get(tool).map(Vec::as_slice).unwrap_or_default()
    }

    /// Adds what one page of a list says of the arguments that are `ours`; the cursor of the next page.
    pub(super) fn add(
        &mut self,
        result: &Value,
        ours: impl Fn(&str, &str) -> bool,
    ) -> Option<String> {
        for tool in result["tools"].as_array().into_iter().flatten() {
            let Some(name) = tool["name"].as_str() else {
                continue;
            };
            let marked = mirrors(tool).into_iter();
            // What is set here is set at the outermost level.
            let marked = marked.filter_map(|Mirror { path, header }| match &path[..] {
                [argument] if ours(name, argument) => Some((argument.clone(), header)),
                _ => None,
            });
            let marked: Vec<_> = marked.collect();
            if !marked.is_empty() {
                self.tools.insert(name.to_owned(), marked);
            }
        }
        self.listed = true;
        result["nextCursor"].as_str().map(str::to_owned)
    }

    fn bytes(&self) -> usize {
        let pair =
            |(argument, header): &(String, HeaderName)| argument.len() + header.as_str().len() + 64;
        let tool = |(name, marked): (&String, &Vec<_>)| {
            name.len() + 64 + marked.iter().map(pair).sum::<usize>()
        };
        256 + self.tools.iter().map(tool).sum::<usize>()
    }
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Viewer, Arc<Mirrors>> for Weigh {
    fn weight(&self, _: &Viewer, mirrors: &Arc<Mirrors>) -> u64 {
        mirrors.bytes() as u64
    }
}

/// What is known of servers' schemas.
pub(super) struct Schemas(Cache<Viewer, Arc<Mirrors>, Weigh>);

impl Default for Schemas {
    fn default() -> Self {
        Self(Cache::with_weighter(1024, KEPT, Weigh))
    }
}

impl Schemas {
    /// What is known.
    pub(super) fn get(&self, viewer: &Viewer) -> Option<Arc<Mirrors>> {
        self.0.get(viewer)
    }

    /// What is known, or what `list` finds out; of many who ask at once one lists.
    pub(super) async fn of(
        &self,
        viewer: &Viewer,
        list: impl Future<Output = Mirrors>,
    ) -> Arc<Mirrors> {
        let listed = async { Ok::<_, std::convert::Infallible>(Arc::new(list.await)) };
        match self.0.get_or_insert_async(viewer, listed).await {
            Ok(mirrors) => mirrors,
            Err(never) => match never {},
        }
    }

    /// `stale` proved wrong: the next who asks lists again.
    pub(super) fn forget(&self, viewer: &Viewer, stale: &Arc<Mirrors>) {
        if self
            .0
            .peek(viewer)
            .is_some_and(|known| Arc::ptr_eq(&known, stale))
        {
            self.0.remove(viewer);
        }
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

/// The result in a JSON answer to [`list_request`], or in one event of a stream that answers it.
pub(super) fn list_result(answer: &[u8], is_stream: bool) -> Option<Value> {
    let answer = std::str::from_utf8(answer)
        .ok()?
        .trim_start_matches('\u{feff}');
    let data: String;
    let text = if is_stream {
        let lines = answer.split(['\n', '\r']);
        let lines = lines.filter_map(|line| line.strip_prefix("data:"));
        data = lines.collect::<Vec<_>>().join("\n");
        &data
    } else {
        answer
    };
    let mut message: Value = serde_json::from_str(text).ok()?;
    (message["id"] == LIST_ID).then(|| message["result"].take())
}

/// Where the first event of a stream ends; its lines may end with LF, CRLF or CR.
pub(super) fn event_end(stream: &[u8], from: usize) -> Option<usize> {
    let blank = |pair: &[u8]| matches!(pair, b"\n\n" | b"\r\r");
    let at = (from.saturating_sub(3)..stream.len()).find(|&at| {
        let rest = &stream[at..];
        rest.starts_with(b"\r\n\r\n") || rest.get(..2).is_some_and(blank)
    })?;
    Some(
        at + if stream[at..].starts_with(b"\r\n") {
            4
        } else {
            2
        },
    )
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
    fn a_list_says_which_of_our_arguments_are_mirrored() {
        let page = json!({"nextCursor": "2", "tools": [
            {"name": "call", "inputSchema": {"properties": {
                "token": {"type": "string", "x-mcp-header": "Token"},
                "bad": {"x-mcp-header": "no header"},
                "theirs": {"x-mcp-header": "Theirs"},
                "city": {"type": "string"},
            }}},
            {"name": "plain", "inputSchema": {}},
            {"inputSchema": 7},
        ]});
        let mut mirrors = Mirrors::default();
        let ours = |_: &str, argument: &str| argument != "theirs";
        assert_eq!(mirrors.add(&page, ours).as_deref(), Some("2"));
        let token = (
            "token".to_owned(),
            HeaderName::from_static("mcp-param-token"),
        );
        assert_eq!(mirrors.of("call"), [token]);
        assert!(mirrors.of("plain").is_empty() && mirrors.of("other").is_empty());
        assert_eq!(mirrors.add(&json!({}), ours), None);
    }

    #[test]
    fn the_answer_is_found_as_json_and_in_an_event() {
        let answer = r#"{"jsonrpc":"2.0","id":"cloakroom-tools-list","result":{"tools":[]}}"#;
        let (first, second) = answer.split_once(',').unwrap();
        let expected = Some(json!({"tools": []}));
        assert_eq!(list_result(answer.as_bytes(), false), expected);
        assert_eq!(
            list_result(format!("\u{feff}{answer}").as_bytes(), false),
            expected
        );
        for event in [
            format!("event: message\r\nid: 1\r\ndata: {answer}\r\n\r\n"),
            format!("data:{answer}\n\n"),
            format!("data: {first},\rdata: {second}\r\r"),
        ] {
            assert_eq!(list_result(event.as_bytes(), true), expected, "{event}");
        }
        assert_eq!(
            list_result(answer.replace("cloakroom", "other").as_bytes(), false),
            None
        );
        assert_eq!(list_result(b"nonsense", false), None);
    }

    #[test]
    fn events_end_at_blank_lines() {
        for stream in ["data: 1\n\nrest", "data: 1\r\n\r\nrest", "data: 1\r\rrest"] {
            let end = event_end(stream.as_bytes(), 0).unwrap();
            assert_eq!(&stream[end..], "rest");
            for from in 0..end {
                assert_eq!(
                    event_end(&stream.as_bytes()[..end], from),
                    Some(end).filter(|_| from <= end)
                );
            }
        }
        assert_eq!(event_end(b"data: 1\n", 0), None);
    }
}
