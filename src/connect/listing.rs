//! Lists of tools that the client did not ask for: a server of 2026-07-28 refuses a call whose arguments are
//! not mirrored as its list says (basic/transports/streamable-http "Server Validation"), and a client over
//! stdio need not have read the list since this process began.

use std::sync::Arc;

use serde_json::json;
use tokio::time::timeout;

use super::exchange::asked;
use super::flights::Hello;
use super::message::{Outgoing, outgoing};
use super::shared::Shared;
use super::wire::PATIENCE;
use crate::mcp::edit::member;

/// Pages of one list.
const PAGES: usize = 64;

/// Reads the list of tools on behalf of whoever made `call`; whether it could be had.
pub(super) async fn list(shared: &Arc<Shared>, call: &Outgoing) -> bool {
    let pages = timeout(PATIENCE, pages(shared, call)).await;
    pages.ok().flatten().is_some()
}

async fn pages(shared: &Arc<Shared>, call: &Outgoing) -> Option<()> {
    let mut cursor = None;
    for _ in 0..PAGES {
        let request = request(call, cursor.as_deref())?;
        let flight = shared.flights.begin(&request, true, true);
        let done = asked(shared, &request, &flight).await;
        shared.flights.end(&flight);
        done.ok()?;
        let Hello { result, .. } = flight.hello()?.ok()?;
        shared.learned().learn(&result);
        match result["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Some(()),
        }
    }
    None
}

/// The request for a page, with the call's own `_meta`, which says who asks.
fn request(call: &Outgoing, cursor: Option<&str>) -> Option<Outgoing> {
    let text = std::str::from_utf8(&call.text).ok()?;
    let params = member(text, &(0..text.len()), "params")?;
    let meta = &text[member(text, &params, "_meta")?];
    let mut params = json!({});
    if let Some(cursor) = cursor {
        params["cursor"] = cursor.into();
    }
    let id = format!("tools for {:?}", call.ids);
    let rest = json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"});
    let (rest, params) = (rest.to_string(), params.to_string());
    let comma = if cursor.is_some() { "," } else { "" };
    let text = format!(
        "{},\"params\":{}{comma}\"_meta\":{meta}}}}}",
        rest.strip_suffix('}')?,
        params.strip_suffix('}')?,
    );
    outgoing(text.into()).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    // Fails when the version or capabilities are not the client's.
    #[test]
    fn the_list_is_asked_for_as_the_call_was() {
        let call = r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","n":1e400}}}"#;
        let call = outgoing(Bytes::from_static(call.as_bytes())).unwrap();
        for (cursor, params) in [
            (None, r#"{"_meta""#),
            (Some("a\"b"), r#"{"cursor":"a\"b","_meta""#),
        ] {
            let list = request(&call, cursor).unwrap();
            assert_eq!(list.modern.as_deref(), Some("2026-07-28"));
            let text = std::str::from_utf8(&list.text).unwrap();
            assert!(text.contains(params) && text.contains("1e400"), "{text}");
            assert_ne!(list.ids, call.ids);
        }
    }
}
