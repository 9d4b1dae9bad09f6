//! What the answer of a backend says about how it is configured.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Full;

use super::{Answer, ask};
use crate::dial::redirected;

/// What became of asking a backend.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Well(String),
    /// It answers, and may not be what was meant.
    Doubtful(String),
    /// Requests to it will fail.
    Bad(String),
}

/// Every server of MCP has to answer this, or to say in JSON-RPC that it does not.
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// Asks a backend at `url`, of HTTP+SSE when `sse`, for nothing that needs a secret. The connection goes
/// to the host and port `at`, if given.
pub async fn server(
    url: &Uri,
    at: Option<(&str, u16)>,
    sse: bool,
    ca_file: Option<&Path>,
    patience: Duration,
) -> Verdict {
    let builder = Request::builder().uri(url.clone());
    let request = if sse {
        builder
            .method(Method::GET)
            .header(ACCEPT, "text/event-stream")
            .body(Full::default())
    } else {
        builder
            .method(Method::POST)
            .header(ACCEPT, "application/json, text/event-stream")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(Bytes::from_static(PING.as_bytes())))
    };
    let Ok(request) = request else {
        return Verdict::Bad("the URL cannot be asked".to_owned());
    };
    // A stream has no end to wait for.
    match ask(request, at, ca_file, !sse, patience).await {
        Ok(answer) => judge(&answer, sse),
        Err(trouble) => Verdict::Bad(trouble.to_string()),
    }
}

fn judge(answer: &Answer, sse: bool) -> Verdict {
    let status = answer.status;
    let number = status.as_u16();
    if status.is_redirection() {
        return Verdict::Bad(redirected(number, answer.location.as_deref()));
    }
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Verdict::Well(format!("answers and wants a credential ({number})"));
    }
    let events = answer.media_type == "text/event-stream";
    if status.is_success() && events || !sse && is_json_rpc(&answer.body) {
        return Verdict::Well("answers and speaks MCP".to_owned());
    }
    let other = if sse { "`url`" } else { "`sse_url`" };
    Verdict::Doubtful(match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => format!(
            "answers {number} without speaking MCP: write the path of its endpoint, or {other} if it \
             speaks the other transport"
        ),
        _ if status.is_server_error() => {
            format!("answers {number}: look at what it logs")
        }
        _ => format!(
            "answers {number} and does not seem to speak MCP there: write the URL of its endpoint"
        ),
    })
}

/// Whether a body that may be cut off is a message of JSON-RPC.
fn is_json_rpc(body: &[u8]) -> bool {
    let begins = body.iter().find(|b| !b.is_ascii_whitespace());
    begins == Some(&b'{') && body.windows(9).any(|part| part == b"\"jsonrpc\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, location: &str, media_type: &str, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            location: Some(location.to_owned()).filter(|text| !text.is_empty()),
            media_type: media_type.to_owned(),
            body: body.into(),
        }
    }

    #[test]
    fn what_speaks_mcp_or_wants_a_credential_is_well() {
        let json = r#" {"error":{"code":-32600},"jsonrpc":"2.0","id":null}"#;
        for (answer, sse) in [
            (answered(200, "", "application/json", json), false),
            (answered(400, "", "application/json", json), false),
            (answered(404, "", "application/json", json), false),
            (answered(200, "", "text/event-stream", ""), false),
            (answered(200, "", "text/event-stream", ""), true),
            (answered(401, "", "text/html", ""), false),
            (answered(403, "", "text/html", ""), true),
        ] {
            let verdict = judge(&answer, sse);
            assert!(
                matches!(verdict, Verdict::Well(_)),
                "{answer:?} {verdict:?}"
            );
        }
    }

    #[test]
    fn what_does_not_is_told_with_its_remedy() {
        for (answer, sse, says) in [
            (
                answered(404, "", "text/html", "<h1>"),
                false,
                "path of its endpoint",
            ),
            (answered(405, "", "text/html", ""), false, "`sse_url`"),
            (answered(405, "", "text/html", ""), true, "`url`"),
            (answered(500, "", "text/html", ""), false, "what it logs"),
            (
                answered(200, "", "text/html", "\"jsonrpc\""),
                false,
                "endpoint",
            ),
            (
                answered(200, "", "application/json", "{}"),
                true,
                "endpoint",
            ),
        ] {
            let Verdict::Doubtful(said) = judge(&answer, sse) else {
                panic!("{answer:?}");
            };
            assert!(said.contains(says), "{said}");
        }
    }
}
