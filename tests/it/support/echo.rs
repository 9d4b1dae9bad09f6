//! Small MCP servers, well behaved, that say whose credentials they were given and where, by
//! fingerprint.
//!
//! Each also remembers the first credential of every connection, as servers do that take a connection
//! for a login, and says so in every answer.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Chance, fingerprint};

/// How a server answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Json,
    /// As an event stream, the answer after a notification.
    Events,
    /// One or the other, up to 3 ms later.
    Moody,
}

/// Starts a server; its URL.
pub(crate) async fn echo(manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let streams = Arc::new(Streams::default());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let connection = Connection {
                manner,
                first: Arc::default(),
                streams: streams.clone(),
            };
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let connection = connection.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    Ok::<_, hyper::Error>(connection.answer(&parts, &body).await)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    format!("http://{address}/mcp")
}

/// Starts a server that speaks HTTP+SSE; the URL of its streams.
pub(crate) async fn echo_sse() -> String {
    echo(Manner::Moody).await.replace("/mcp", "/sse")
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Open streams of HTTP+SSE, counted from 1: whoever could name another's would have it.
#[derive(Default)]
struct Streams {
    made: AtomicU64,
    open: Mutex<HashMap<u64, (UnboundedSender<Bytes>, String)>>,
}

#[derive(Clone)]
struct Connection {
    manner: Manner,
    /// The fingerprint of the first credential it brought.
    first: Arc<OnceLock<String>>,
    streams: Arc<Streams>,
}

impl Connection {
    async fn answer(&self, parts: &Parts, body: &[u8]) -> Response<Body> {
        if parts.method == Method::GET {
            return match parts.uri.path() {
                "/sse" => self.open(parts),
                _ => ticks(),
            };
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        if parts.uri.path() == "/messages" {
            return self.messages(parts, &body);
        }
        if body["method"] == "tools/list" {
            return json_response(StatusCode::OK, &tools(parts, &body["id"]));
        }
        if parts.headers.contains_key("mcp-method") && mirror(parts).is_none() {
            let error = json!({"code": -32020, "message": "an argument is not mirrored"});
            let answer = json!({"jsonrpc": "2.0", "id": body["id"], "error": error});
            return json_response(StatusCode::BAD_REQUEST, &answer);
        }
        let messages = self.results(parts, &body, None);
        let events = match self.manner {
            Manner::Json => false,
            Manner::Events => true,
            Manner::Moody => pause().await,
        };
        if events {
            return event_response(&messages);
        }
        let answer = match <[Value; 1]>::try_from(messages) {
            Ok([only]) => only,
            Err(several) => several.into(),
        };
        json_response(StatusCode::OK, &answer)
    }

    /// The results of one call or of a batch.
    fn results(&self, parts: &Parts, body: &Value, stream: Option<&str>) -> Vec<Value> {
        let calls = body
            .as_array()
            .map_or(std::slice::from_ref(body), Vec::as_slice);
        let result = |call: &Value| {
            let mut seen = seen(parts, call);
            let first = ["header", "query", "argument"];
            let credential = first.iter().find_map(|place| seen.get(*place)).cloned();
            let credential = credential.as_ref().and_then(Value::as_str).unwrap_or("");
            let connection = self.first.get_or_init(|| credential.to_owned());
            seen.insert("connection".to_owned(), connection.as_str().into());
            if let Some(stream) = stream {
                seen.insert("stream".to_owned(), stream.into());
            }
            let nonce = call["params"]["arguments"]["nonce"].as_str();
            message(credential, &call["id"], nonce.unwrap_or(""), seen)
        };
        calls.iter().map(result).collect()
    }

    /// A new stream, which repeats its query in the path for its messages, as some servers do.
    fn open(&self, parts: &Parts) -> Response<Body> {
        let number = self.streams.made.fetch_add(1, Ordering::SeqCst) + 1;
        let (sender, events) = unbounded_channel();
        let query = parts.uri.query().unwrap_or("");
        let endpoint = format!("event: endpoint\ndata: /messages?session_id={number}&{query}\n\n");
        let _ = sender.send(endpoint.into());
        let seen = seen(parts, &Value::Null);
        let opened_by = seen.values().next().and_then(Value::as_str).unwrap_or("");
        let open = (sender, opened_by.to_owned());
        self.streams.open.lock().unwrap().insert(number, open);
        stream_response(events)
    }

    /// Answers on the stream the message belongs to, before or after the message is accepted.
    fn messages(&self, parts: &Parts, body: &Value) -> Response<Body> {
        let number = parameter(parts, "session_id").and_then(|number| number.parse().ok());
        let open = self.streams.open.lock().unwrap();
        let known = number.and_then(|number: u64| open.get(&number));
        let Some((sender, opened_by)) = known.filter(|(sender, _)| !sender.is_closed()) else {
            return plain(StatusCode::NOT_FOUND);
        };
        let events = self.results(parts, body, Some(opened_by));
        let sender = sender.clone();
        tokio::spawn(async move {
            pause().await;
            for event in events {
                let _ = sender.send(format!("event: message\ndata: {event}\n\n").into());
            }
        });
        plain(StatusCode::ACCEPTED)
    }
}

/// The message a server answers a call with: whose credentials it got, and the call's nonce.
pub(crate) fn message(
    credential: &str,
    id: &Value,
    nonce: &str,
    seen: Map<String, Value>,
) -> Value {
    let result = json!({"fingerprint": credential, "nonce": nonce, "seen": seen});
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

/// The fingerprints of all credentials a call brought, by place.
fn seen(parts: &Parts, call: &Value) -> Map<String, Value> {
    let header = |name: &str| parts.headers.get(name).map(|value| value.as_bytes());
    let argument = |name: &str| {
        call["params"]["arguments"][name]
            .as_str()
            .map(str::to_owned)
    };
    let bearer = header("authorization").and_then(|value| value.strip_prefix(b"Bearer "));
    let mut seen = Map::new();
    let mut saw = |place: &str, credential: Option<&[u8]>| {
        if let Some(credential) = credential {
            seen.insert(place.to_owned(), fingerprint(credential).into());
        }
    };
    saw("header", bearer);
    saw(
        "query",
        parameter(parts, "token").as_deref().map(str::as_bytes),
    );
    saw("argument", argument("token").as_deref().map(str::as_bytes));
    saw("admin", argument("admin").as_deref().map(str::as_bytes));
    if let Some((view, value)) = mirror(parts) {
        saw("mirrored", Some(value));
        seen.insert("view".to_owned(), view.into());
    }
    seen
}

/// A parameter of the query, which holds nothing to be decoded.
fn parameter(parts: &Parts, name: &str) -> Option<String> {
    let mut pairs = parts.uri.query()?.split('&');
    let value = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    value.map(str::to_owned)
}

/// The tools as one user sees them: his are to mirror the token in a header named after its
/// fingerprint.
fn tools(parts: &Parts, id: &Value) -> Value {
    let seen = seen(parts, &Value::Null);
    let token = json!({"type": "string", "x-mcp-header": seen.get("header")});
    let schema = json!({"type": "object", "properties": {"token": token}});
    let tools = json!([{"name": "echo", "inputSchema": schema}]);
    json!({"jsonrpc": "2.0", "id": id, "result": {"tools": tools}})
}

/// The header that mirrors the token: the rest of its name, and its value.
fn mirror(parts: &Parts) -> Option<(&str, &[u8])> {
    parts.headers.iter().find_map(|(name, value)| {
        let view = name.as_str().strip_prefix("mcp-param-")?;
        (view != "nonce").then(|| (view, value.as_bytes()))
    })
}

/// Up to 3 ms; and tosses a coin.
async fn pause() -> bool {
    let mut chance = Chance::new(7);
    tokio::time::sleep(Duration::from_millis(chance.below(4))).await;
    chance.below(2) == 0
}

/// A notification and the messages, cut in two pieces somewhere.
fn event_response(messages: &[Value]) -> Response<Body> {
    let mut text =
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n".to_owned();
    for message in messages {
        text.push_str(&format!("id: 7\ndata: {message}\n\n"));
    }
    let mut text = Bytes::from(text);
    let first = text.split_to(text.len() / 2);
    let pieces = [first, text].map(|piece| Ok(Frame::data(piece)));
    let body = StreamBody::new(stream::iter(pieces));
    response("text/event-stream", body.boxed_unsync())
}

/// An event every 50 ms, for ever.
fn ticks() -> Response<Body> {
    let ticks = stream::unfold(0_u64, |n| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let event = format!("id: {n}\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"tick\"}}\n\n");
        Some((Ok(Frame::data(Bytes::from(event))), n + 1))
    });
    response("text/event-stream", StreamBody::new(ticks).boxed_unsync())
}

fn stream_response(events: UnboundedReceiver<Bytes>) -> Response<Body> {
    let events = stream::unfold(events, |mut events| async move {
        let event = events.recv().await?;
        Some((Ok(Frame::data(event)), events))
    });
    response("text/event-stream", StreamBody::new(events).boxed_unsync())
}

fn json_response(status: StatusCode, message: &Value) -> Response<Body> {
    let body = Full::from(message.to_string()).boxed_unsync();
    let mut response = response("application/json", body);
    *response.status_mut() = status;
    response
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = response("text/plain", Full::default().boxed_unsync());
    *response.status_mut() = status;
    response
}

fn response(kind: &str, body: Body) -> Response<Body> {
    let response = Response::builder().header("content-type", kind);
    response.body(body).unwrap()
}
