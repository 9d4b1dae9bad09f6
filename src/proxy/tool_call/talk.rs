//! A session from its beginning to its end, with one call in it.
//!
//! A server is asked first as one of 2025-11-25 or earlier, which nearly all still are, also those that
//! speak 2026-07-28 too. One that answers `initialize` with an error is asked for its tools as that later
//! revision does; if it answers, that is what it speaks.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::asked::Asked;
use super::heard::{Coming, Heard, Outcome, Stopped, heard};
use super::message;
use super::through::{Sent, Through};
use crate::layer::{Aside, Endpoint, Observed};
use crate::mcp::headers::{
    LAST_EVENT_ID, MCP_METHOD, MCP_NAME, MCP_PROTOCOL_VERSION, MCP_SESSION_ID, mirrored,
};
use crate::mcp::mirrors::{mirrors, shown};
use crate::mcp::revision::Revision;
use crate::rejection::Rejection;

/// Requests of the server that are answered; more are not.
const REPLIES: usize = 32;
/// How often a stream that ended too soon is gone on with.
const RESUMPTIONS: usize = 8;
/// How long a server may want to be left alone before.
const REST: Duration = Duration::from_secs(5);
/// How long the end of a session, and a reply, may take.
const FAREWELL: Duration = Duration::from_secs(10);
/// Pages of one list.
const PAGES: usize = 64;

/// What is said to one server for one call.
pub(super) struct Talk {
    through: Arc<Through>,
    aside: Aside,
    /// Of HTTP+SSE.
    stream: Option<Coming>,
    /// The path for messages to that stream.
    messages: Option<String>,
    session: Session,
    last_id: u64,
    replies: usize,
}

/// What requests of the session carry. When this is dropped the session is ended, whoever went away.
struct Session {
    through: Arc<Through>,
    headers: HeaderMap,
}

impl Talk {
    pub(super) fn new(through: Arc<Through>, aside: Aside) -> Self {
        let session = Session {
            through: through.clone(),
            headers: HeaderMap::new(),
        };
        Self {
            through,
            aside,
            stream: None,
            messages: None,
            session,
            last_id: 0,
            replies: 0,
        }
    }

    /// Opens the stream of a server of HTTP+SSE (MCP 2024-11-05, basic/transports).
    ///
    /// # Errors
    /// The layer's; or there is none.
    pub(super) async fn open_stream(&mut self) -> Result<(), Rejection> {
        let through = self.through.clone();
        let opening = through.send(Sent {
            method: Method::GET,
            path: through.path(Endpoint::Sse.name()),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            observed: None,
        });
        through
            .in_time(async {
                let mut stream = Coming::new(opening.await?);
                let first = self.next(&mut stream).await?;
                let first = first.filter(|event| event.kind == "endpoint");
                let path = first.and_then(|event| String::from_utf8(event.data.to_vec()).ok());
                self.messages = Some(path.ok_or_else(|| through.broken())?);
                self.stream = Some(stream);
                Ok(())
            })
            .await
    }

    /// Begins a session, and calls the tool that is asked for. Gives back what is held for it.
    ///
    /// # Errors
    /// The layer's; or the server gives no answer that can be used.
    pub(super) async fn call(
        mut self,
        asked: &Asked,
        observed: Option<Observed>,
    ) -> Result<(Outcome, Aside), Rejection> {
        let client = client_info();
        let version = Revision::V2025_11_25.to_string();
        let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": client});
        let begun = self
            .ask("initialize", &params.to_string(), HeaderMap::new(), None)
            .await?;
        let answered = match &begun {
            Some(Outcome::Result(result)) => {
                self.begun(result).await?;
                let params = params_of(asked, "");
                let headers = HeaderMap::new();
                self.ask("tools/call", &params, headers, observed).await?
            }
            _ if self.messages.is_none()
                && let Some(headers) = self.listed(asked).await? =>
            {
                let params = params_of(asked, &format!(r#","_meta":{}"#, meta()));
                self.ask("tools/call", &params, headers, observed).await?
            }
            _ => begun,
        };
        let answered = answered.ok_or_else(|| self.nothing())?;
        Ok((answered, self.aside))
    }

    /// The session has begun: by the revision the server answered with.
    async fn begun(&mut self, result: &str) -> Result<(), Rejection> {
        let result: Value = serde_json::from_str(result).unwrap_or_default();
        let revision = result["protocolVersion"].as_str().and_then(Revision::parse);
        if let Some(revision) = revision.filter(|agreed| *agreed >= Revision::V2025_06_18)
            && let Ok(value) = revision.to_string().parse()
        {
            self.session.headers.insert(MCP_PROTOCOL_VERSION, value);
        }
        let body = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let sent = self.posted(Bytes::from_static(body.as_bytes()), HeaderMap::new(), None);
        // A server that has no use for it may say so.
        self.through
            .in_time(self.through.send(sent))
            .await
            .map(drop)
    }

    /// The headers a server of 2026-07-28 wants with the call: its list of tools says which arguments are
    /// mirrored. `None` if it does not speak that revision either.
    async fn listed(&mut self, asked: &Asked) -> Result<Option<HeaderMap>, Rejection> {
        let mut headers = modern("tools/call");
        headers.insert(MCP_NAME, mirrored(&asked.tool));
        let mut cursor = None;
        for page in 0..PAGES {
            let cursor_member = cursor.map_or(String::new(), |cursor: Value| {
                format!(r#""cursor":{cursor},"#)
            });
            let params = format!(r#"{{{cursor_member}"_meta":{}}}"#, meta());
            let asking = self.ask("tools/list", &params, modern("tools/list"), None);
            let Some(Outcome::Result(list)) = asking.await? else {
                return Ok((page > 0).then_some(headers));
            };
            let list: Value = serde_json::from_str(&list).unwrap_or_default();
            let mut tools = list["tools"].as_array().into_iter().flatten();
            if let Some(tool) = tools.find(|tool| tool["name"] == *asked.tool) {
                let text = &asked.arguments;
                for mirror in mirrors(tool) {
                    if let Some(value) = shown(text, 0..text.len(), &mirror.path) {
                        headers.insert(mirror.header, mirrored(&value));
                    }
                }
                break;
            }
            match &list["nextCursor"] {
                next @ Value::String(_) => cursor = Some(next.clone()),
                _ => break,
            }
        }
        Ok(Some(headers))
    }

    /// Sends a request, and waits for its answer; `None` if there is none although all was said.
    async fn ask(
        &mut self,
        method: &str,
        params: &str,
        headers: HeaderMap,
        observed: Option<Observed>,
    ) -> Result<Option<Outcome>, Rejection> {
        self.last_id += 1;
        let sent = self.posted(message(self.last_id, method, params), headers, observed);
        let through = self.through.clone();
        let answered = match self.stream.take() {
            Some(stream) => through.in_time(self.on_stream(sent, stream)).await?,
            None => through.in_time(self.streamable(sent)).await?,
        };
        if answered.is_none() {
            // An answer under way ends when its key no longer stands.
            self.aside.stands().await?;
        }
        Ok(answered)
    }

    async fn streamable(&mut self, sent: Sent) -> Result<Option<Outcome>, Rejection> {
        let through = self.through.clone();
        let answer = through.send(sent).await?;
        if self.last_id == 1
            && let Some(session) = answer.headers().get(MCP_SESSION_ID)
        {
            let session = session.clone();
            self.session.headers.insert(MCP_SESSION_ID, session);
        }
        let mut coming = Coming::new(answer);
        for _ in 0..RESUMPTIONS {
            if let Some(outcome) = self.hear(&mut coming).await? {
                return Ok(Some(outcome));
            }
            // MCP 2025-11-25, basic/transports "Sending Messages to the Server": a server may close the
            // connection, and be asked again.
            let Some(resumption) = coming.resumption() else {
                return Ok(None);
            };
            let Ok(after) = HeaderValue::try_from(resumption.after) else {
                return Ok(None);
            };
            sleep(resumption.wait.unwrap_or_default().min(REST)).await;
            let mut headers = self.session.headers.clone();
            headers.insert(LAST_EVENT_ID, after);
            let again = through.send(Sent {
                method: Method::GET,
                path: through.path(Endpoint::Mcp.name()),
                headers,
                body: Bytes::new(),
                observed: None,
            });
            coming = Coming::new(again.await?);
        }
        Ok(None)
    }

    /// Over HTTP+SSE: the answer comes on the stream, maybe before the message was accepted.
    async fn on_stream(
        &mut self,
        sent: Sent,
        mut stream: Coming,
    ) -> Result<Option<Outcome>, Rejection> {
        let through = self.through.clone();
        let outcome = {
            let mut posting = pin!(through.send(sent));
            let mut hearing = pin!(self.hear(&mut stream));
            tokio::select! {
                posted = &mut posting => {
                    let status = posted?.status();
                    if !status.is_success() {
                        let why = format!("answers a message with HTTP {}", status.as_u16());
                        return Err(through.unusable(&why));
                    }
                    hearing.await?
                }
                heard = &mut hearing => match (heard?, posting.await) {
                    (None, Err(rejection)) => return Err(rejection),
                    (heard, _) => heard,
                },
            }
        };
        self.stream = Some(stream);
        Ok(outcome)
    }

    /// Reads on until the last request is answered; `None` if it is not.
    async fn hear(&mut self, coming: &mut Coming) -> Result<Option<Outcome>, Rejection> {
        while let Some(event) = self.next(coming).await? {
            for heard in heard(&event.data, self.last_id) {
                match heard {
                    Heard::Answer(outcome) => return Ok(Some(outcome)),
                    Heard::Request { id, ping } => self.reply(&id, ping).await,
                }
            }
        }
        Ok(None)
    }

    async fn next(
        &mut self,
        coming: &mut Coming,
    ) -> Result<Option<crate::mcp::events::Event>, Rejection> {
        coming
            .next(&mut self.aside)
            .await
            .map_err(|stopped| match stopped {
                Stopped::Refused(rejection) => rejection,
                Stopped::TooLong => self.through.unusable(
                    "answers with more than 8 MiB, which can be read by a client of MCP only",
                ),
            })
    }

    /// Answers a request of the server, which was told that there is nothing it could ask for.
    async fn reply(&mut self, id: &str, ping: bool) {
        self.replies += 1;
        if self.replies > REPLIES {
            return;
        }
        let said = match ping {
            true => r#""result":{}"#,
            false => r#""error":{"code":-32601,"message":"Method not found"}"#,
        };
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},{said}}}"#);
        let sent = self.posted(body.into(), HeaderMap::new(), None);
        let _ = timeout(FAREWELL, self.through.send(sent)).await;
    }

    /// A message on its way.
    fn posted(&self, body: Bytes, mut headers: HeaderMap, observed: Option<Observed>) -> Sent {
        let path = match &self.messages {
            Some(path) => path.clone(),
            None => self.through.path(Endpoint::Mcp.name()),
        };
        headers.extend(self.session.headers.clone());
        Sent {
            method: Method::POST,
            path,
            headers,
            body,
            observed,
        }
    }

    fn nothing(&self) -> Rejection {
        self.through.unusable("gives no answer that could be used")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // On the way out of the process there is no runtime left to end it on.
        let (true, Ok(runtime)) = (
            self.headers.contains_key(MCP_SESSION_ID),
            Handle::try_current(),
        ) else {
            return;
        };
        let (through, headers) = (self.through.clone(), std::mem::take(&mut self.headers));
        runtime.spawn(async move {
            let ending = through.send(Sent {
                method: Method::DELETE,
                path: through.path(Endpoint::Mcp.name()),
                headers,
                body: Bytes::new(),
                observed: None,
            });
            let _ = timeout(FAREWELL, ending).await;
        });
    }
}

fn client_info() -> Value {
    json!({"name": "cloakroom", "version": env!("CARGO_PKG_VERSION")})
}

/// What every request of 2026-07-28 says of its client (basic "_meta").
fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": Revision::V2026_07_28.to_string(),
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": client_info(),
    })
}

fn modern(method: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(MCP_METHOD, HeaderValue::from_static(method));
    let version = mirrored(&Revision::V2026_07_28.to_string());
    headers.insert(MCP_PROTOCOL_VERSION, version);
    headers
}

fn params_of(asked: &Asked, rest: &str) -> String {
    let (name, arguments) = (Value::from(&*asked.tool), &asked.arguments);
    format!(r#"{{"name":{name},"arguments":{arguments}{rest}}}"#)
}
