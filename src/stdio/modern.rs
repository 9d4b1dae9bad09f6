//! Requests without a session (MCP 2026-07-28): one child answers all of a user's, if it speaks that
//! revision. If it does not, the client is to begin with `initialize`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode};

use super::answer::{Answer, Leaving};
use super::child::{Stop, To};
use super::heard::{self, Shape as Heard};
use super::mailbox::Front;
use super::service::{Visit, empty, first, json};
use super::tenant::unheard;
use super::{agreed, refused, told};
use crate::layer::Failure;
use crate::mcp::edit::{elements, member, unquoted};
use crate::mcp::headers::check_present;
use crate::mcp::revision::Revision;
use crate::mcp::scan::{Message, Shape};
use crate::rejection::Kind;

/// How long it is remembered which revision children speak: it may have been a bad day.
const KNOWN: Duration = Duration::from_secs(60 * 60);

/// Likewise of one that said nothing.
const SUPPOSED: Duration = Duration::from_secs(60);

/// Answers a message of a client that speaks MCP 2026-07-28.
///
/// # Errors
/// The server speaks earlier revisions only, or its child fails.
pub(super) async fn post(
    visit: &Visit<'_>,
    text: &str,
    message: &Message<'_>,
) -> Result<Response<Answer>, Failure> {
    let (children, settings) = (visit.children, visit.settings);
    let owner = &visit.place(None).owner;
    if children.is_modern(settings, owner) == Some(false) {
        return Err(earlier());
    }
    let tenant = children.settle(visit.place(None), &visit.caller, Front::Modern);
    children.hold(&tenant, &visit.caller, &visit.lease);
    let is_known_earlier = || children.is_modern(settings, owner) == Some(false);
    let child = match tenant.child(children, settings, &visit.lease).await {
        // Another request found out meanwhile, and the child is gone.
        Err(_) if is_known_earlier() => return Err(earlier()),
        child => child?,
    };
    if children.is_modern(settings, owner).is_none() {
        let (is_modern, known_for) = match agreed::ask(&child, DISCOVER).await {
            Ok(answer) => (speaks(&answer), KNOWN),
            Err(_) if is_known_earlier() => return Err(earlier()),
            // Some say nothing before `initialize`; others only began slowly.
            Err(Failure::Told(Kind::BackendSilent, _)) => (false, SUPPOSED),
            // That it fails, with this user's secret, says nothing of the server.
            Err(failure) => return Err(failure),
        };
        children.learn(settings, owner, is_modern, Instant::now() + known_for);
        if !is_modern {
            children.remove(&tenant, Stop::Gently);
            return Err(earlier());
        }
    }
    if message.shape != Shape::Request {
        // Ids of clients that share a child are no names for their requests: this revision takes one back
        // by ending its stream (basic/patterns/cancellation), and knows no questions to answer.
        let is_passed = message.shape == Shape::Notification
            && message.method.as_deref() != Some("notifications/cancelled");
        if is_passed {
            let told = child.tell(text, message).await;
            told.map_err(|why| unheard(&child, why))?;
        }
        return Ok(empty(StatusCode::ACCEPTED));
    }
    check_present(&visit.headers, message)
        .map_err(|error| told(Kind::HeaderMismatch, error.to_string()))?;
    if message.method.as_deref() == Some("initialize") {
        // A child that speaks both eras would take it for the beginning of the other.
        let id = message.id.clone().map_or("null", |id| &text[id]);
        let text = "Method not found: this revision has no `initialize`";
        let mut response = json(refused(Kind::MethodNotFound, text.to_owned(), id));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    }
    let mut reader = tenant.mailbox.open(1);
    let to = To::Stream(reader.stream());
    let number = child
        .ask(text, message, to)
        .await
        .map_err(|why| unheard(&child, why))?;
    let child = child.child().clone();
    let leaving = Leaving::Request { child, number };
    let first = first(&mut reader).await;
    let status = match &first {
        Some(Some(read)) if read.is_last => status(&read.message),
        _ => StatusCode::OK,
    };
    let mut response = visit.answered(&tenant, reader, first, Some(leaving));
    *response.status_mut() = status;
    Ok(response)
}

fn earlier() -> Failure {
    told(Kind::EarlierEra, Kind::EarlierEra.row().text.to_owned())
}

/// Our own question whether a server speaks MCP 2026-07-28 (server/discover).
const DISCOVER: &[u8] = br#"{"jsonrpc":"2.0","id":0,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"cloakroom","version":"1"}}}}"#;

/// Whether the answer to our question says so.
fn speaks(answer: &Bytes) -> bool {
    let text = std::str::from_utf8(answer).unwrap_or_default();
    let versions = member(text, &(0..text.len()), "result")
        .and_then(|result| member(text, &result, "supportedVersions"))
        .and_then(|versions| elements(text, &versions));
    versions.unwrap_or_default().into_iter().any(|version| {
        let version = unquoted(&text[version]);
        version.and_then(|version| Revision::parse(&version)) >= Some(Revision::V2026_07_28)
    })
}

/// The status of HTTP that goes with an answer (MCP 2026-07-28, basic/transports/streamable-http and
/// basic/index "Error Codes").
fn status(answer: &Bytes) -> StatusCode {
    let text = std::str::from_utf8(answer).unwrap_or_default();
    let messages = heard::hear(text).unwrap_or_default();
    let code = messages.first().and_then(|message| match message.shape {
        Heard::Answer { code, .. } => code,
        _ => None,
    });
    match code {
        Some(-32601) => StatusCode::NOT_FOUND,
        Some(-32700 | -32600 | -32602 | -32022..=-32020) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_says_so_is_modern() {
        let says = |text: &'static str| speaks(&Bytes::from_static(text.as_bytes()));
        assert!(says(
            r#"{"id":1,"result":{"supportedVersions":["2025-11-25","2026-07-28"]}}"#
        ));
        assert!(!says(
            r#"{"id":1,"result":{"supportedVersions":["2025-11-25"]}}"#
        ));
        assert!(!says(
            r#"{"id":1,"error":{"code":-32601,"message":"2026-07-28"}}"#
        ));
        assert!(!says(r#"{"id":1,"result":{}}"#));
    }

    #[test]
    fn errors_have_the_status_their_revision_wants() {
        let of = |code: i64| {
            status(&format!(r#"{{"id":1,"error":{{"code":{code},"message":"x"}}}}"#).into())
                .as_u16()
        };
        let statuses = [-32601, -32022, -32602, -32603].map(of);
        assert_eq!(statuses, [404, 400, 400, 200]);
    }
}
