//! `POST /mcp/tool/call`: a tool called with plain JSON and a key, by whoever has no client of MCP.
//!
//! What a client would do is done here: a session is begun, the tool called, the session ended. Each of
//! those is a request of its own through the same layer as everybody's, with the key that came, so that
//! access, bounds, secrets and revocation are the layer's. The call is judged, paid for and recorded before
//! the first of them: who may not make it, or may ask for nothing more, reaches no server, and nothing that
//! carries a secret goes unrecorded.

mod asked;
mod heard;
mod talk;
mod through;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::Body;
use serde_json::json;

use super::body::BackendBody;
use super::serving::Core;
use crate::layer::{AnswerBody, Aside, Endpoint, Head, Observed, ToolCall};
use crate::names::ServerName;
use crate::rejection::{Kind, Rejection};
use asked::Asked;
use heard::Outcome;
use talk::Talk;
use through::Through;

/// Where it is. No server is called `mcp`, so nothing else can be.
pub(super) const PATH: &str = "/mcp/tool/call";

/// The server a tool call turned out to be for: its path does not say.
#[derive(Default)]
pub(super) struct Destination(pub(super) OnceLock<ServerName>);

type Answer = Response<AnswerBody<BackendBody>>;

/// Answers a request that the guard let pass.
pub(super) async fn answer<B: Body>(
    core: &Core,
    head: Arc<Head>,
    body: B,
    observed: Option<Observed>,
    destination: &Destination,
) -> Answer {
    let answered = match called(core, &head, body, observed, destination).await {
        Ok(answered) => answered,
        Err(rejection) => return refused(rejection),
    };
    let (outcome, aside) = answered;
    let (status, body) = match outcome {
        Outcome::Result(result) => (StatusCode::OK, format!(r#"{{"result":{result}}}"#)),
        Outcome::Error { code, message } => {
            let error = json!({"error": {"code": code, "message": message}});
            (StatusCode::BAD_GATEWAY, error.to_string())
        }
    };
    let mut response = Response::new(aside.answer(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn refused(rejection: Rejection) -> Answer {
    tracing::debug!(kind = ?rejection.kind(), "a tool call is refused");
    let kind = rejection.kind();
    let mut response = rejection.into_plain_response().map(AnswerBody::own);
    if kind == Kind::MethodNotAllowed {
        let post = HeaderValue::from_static("POST");
        response.headers_mut().insert(ALLOW, post);
    }
    response
}

async fn called<B: Body>(
    core: &Core,
    head: &Parts,
    body: B,
    observed: Option<Observed>,
    Destination(server): &Destination,
) -> Result<(Outcome, Aside), Rejection> {
    if head.method != Method::POST {
        let text = "tools are called by POST".to_owned();
        return Err(Rejection::with_text(Kind::MethodNotAllowed, text));
    }
    let layer = &core.serving.layer;
    let aside = layer.aside(head, body, observed.as_ref()).await?;
    let asked = Asked::parse(aside.text())?;
    let _ = server.set(asked.server.clone());
    let other = asked.user.clone();
    let other = other.filter(|name| name.as_str() != aside.caller());
    let call = ToolCall {
        server: &asked.server,
        profile: asked.profile.clone(),
        tool: &asked.tool,
        user: other.as_ref(),
    };
    aside.admit(&call, observed.as_ref()).await?;
    let over_sse = layer.endpoint(&asked.server) == Some(Endpoint::Sse);
    let through = Through::new(core, head, &asked, other);
    let mut talk = Talk::new(Arc::new(through), aside);
    if over_sse {
        talk.open_stream().await?;
    }
    talk.call(&asked, observed).await
}

/// How long one request to `server` and its answer may take.
fn patience(core: &Core, server: &ServerName) -> Duration {
    let serving = &core.serving;
    if let Some(backend) = serving.backends.get(server) {
        return backend.answer_timeout;
    }
    let commands = serving.commands.as_ref();
    let settings = commands.and_then(|commands| commands.servers.get(server));
    // Of a server that is not there the layer says so at once.
    settings.map_or(Duration::from_secs(30), |settings| {
        settings.start_timeout + settings.answer_timeout
    })
}

/// One of JSON-RPC.
fn message(id: u64, method: &str, params: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#).into()
}
