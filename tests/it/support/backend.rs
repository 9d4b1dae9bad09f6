//! Small MCP servers, well behaved, and one that records what it receives and answers as told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

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
    let url = url(listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let service = service_fn(
                move |request: http::Request<hyper::body::Incoming>| async move {
                    let (parts, body) = request.into_parts();
                    if parts.method == Method::GET {
                        return Ok(ticks());
                    }
                    let body = body.collect().await?.to_bytes();
                    Ok::<_, hyper::Error>(answer(manner, &parts.headers, &body).await)
                },
            );
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    url
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}/mcp")
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The message a server answers a call with: whose credential it got, and the call's nonce.
pub(crate) fn message(credential: &[u8], id: &Value, nonce: &str) -> String {
    let result = json!({"fingerprint": fingerprint(credential), "nonce": nonce});
    json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
}

async fn answer(manner: Manner, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
    let call: Value = serde_json::from_slice(body).unwrap_or_default();
    let nonce = call["params"]["arguments"]["nonce"].as_str().unwrap_or("");
    let credential = headers
        .get("authorization")
        .map_or(&b""[..], |value| value.as_bytes());
    let credential = credential.strip_prefix(b"Bearer ").unwrap_or_default();
    let message = message(credential, &call["id"], nonce);
    let events = match manner {
        Manner::Json => false,
        Manner::Events => true,
        Manner::Moody => {
            let mut chance = Chance::new(body.as_ptr() as u64);
            tokio::time::sleep(Duration::from_millis(chance.below(4))).await;
            chance.below(2) == 0
        }
    };
    if events {
        let text = format!(
            "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}}\n\nid: 7\ndata: {message}\n\n"
        );
        // In two pieces, cut somewhere.
        let mut text = Bytes::from(text);
        let first = text.split_to(text.len() / 2);
        let pieces = [first, text].map(|piece| Ok(Frame::data(piece)));
        return response(
            "text/event-stream",
            StreamBody::new(stream::iter(pieces)).boxed_unsync(),
        );
    }
    response("application/json", Full::from(message).boxed_unsync())
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

fn response(kind: &str, body: Body) -> Response<Body> {
    Response::builder()
        .header("content-type", kind)
        .body(body)
        .unwrap()
}

/// A server that writes down every request, byte for byte, and answers with the same bytes.
pub(crate) struct Recorder {
    pub(crate) url: String,
    answer: Arc<Mutex<String>>,
    received: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let recorder = Self {
            url: url(listener.local_addr().unwrap()),
            answer: Arc::default(),
            received: Arc::default(),
        };
        let (answer, received) = (recorder.answer.clone(), recorder.received.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(record(stream, answer.clone(), received.clone()));
            }
        });
        recorder.answers("200 OK", "Content-Type: application/json\r\n", "{}");
        recorder
    }

    /// What is answered from now on. `headers` end in CRLF, each.
    pub(crate) fn answers(&self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        *self.answer.lock().unwrap() =
            format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    }

    /// The requests received since the last look.
    pub(crate) fn received(&self) -> Vec<String> {
        std::mem::take(&mut *self.received.lock().unwrap())
    }
}

async fn record(mut stream: TcpStream, answer: Arc<Mutex<String>>, to: Arc<Mutex<Vec<String>>>) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut buffer).await {
        to.lock().unwrap().push(format!("{head}{body}"));
        let answer = answer.lock().unwrap().clone();
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The next request on a connection, head and body; what came beyond it stays in `buffer`.
pub(crate) async fn request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> Option<(String, String)> {
    let head = head(stream, buffer).await?;
    let body = body(stream, buffer, &head).await?;
    Some((head, body))
}

pub(crate) async fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = buffer.split_off(end + 4);
            let head = std::mem::replace(buffer, rest);
            return Some(String::from_utf8_lossy(&head).into_owned());
        }
        fill(stream, buffer).await?;
    }
}

pub(crate) async fn body(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    head: &str,
) -> Option<String> {
    let length = value(head, "content-length").map_or(0, |value| value.parse().unwrap());
    while buffer.len() < length {
        fill(stream, buffer).await?;
    }
    let rest = buffer.split_off(length);
    let body = std::mem::replace(buffer, rest);
    Some(String::from_utf8_lossy(&body).into_owned())
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(buffer).await {
        Ok(read) if read > 0 => Some(()),
        _ => None,
    }
}

/// The value of a header in a raw head.
pub(crate) fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields
        .into_iter()
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}
