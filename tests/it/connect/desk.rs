//! An endpoint that answers as told, and remembers what it was asked.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;
type Coming = Pin<Box<dyn Future<Output = Option<Response<Body>>> + Send>>;
type Clerk = dyn Fn(Asked) -> Coming + Send + Sync;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The JSON-RPC method, or the one of HTTP.
    pub(crate) fn what(&self) -> &str {
        self.body["method"].as_str().unwrap_or(self.method.as_str())
    }
}

pub(crate) struct Desk {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Desk {
    /// Answers as `clerk` does, or closes the connection where that gives nothing.
    pub(crate) async fn open<F>(clerk: impl Fn(Asked) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<Response<Body>>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::at(listener, clerk)
    }

    pub(crate) fn at<F>(
        listener: TcpListener,
        clerk: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Option<Response<Body>>> + Send + 'static,
    {
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let asked = Arc::default();
        let clerk: Arc<Clerk> = Arc::new(move |asked| Box::pin(clerk(asked)));
        tokio::spawn(serve(listener, clerk, Arc::clone(&asked)));
        Self { url, asked }
    }

    /// All that was asked.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The methods asked for, in order, but for the stream that every session asks for.
    pub(crate) fn methods(&self) -> Vec<String> {
        let asked = self.asked();
        let methods = asked.iter().map(|asked| asked.what().to_owned());
        methods.filter(|method| method != "GET").collect()
    }

    /// Waits until something was asked that is `wanted`.
    pub(crate) async fn until(&self, wanted: impl Fn(&Asked) -> bool) -> Asked {
        for _ in 0..1000 {
            if let Some(found) = self.asked().into_iter().find(&wanted) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it was not asked for: {:?}", self.methods());
    }
}

async fn serve(listener: TcpListener, clerk: Arc<Clerk>, record: Arc<Mutex<Vec<Asked>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let (clerk, record) = (clerk.clone(), record.clone());
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let (clerk, record) = (clerk.clone(), record.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
                let asked = Asked {
                    method: parts.method,
                    headers: parts.headers,
                    body: serde_json::from_slice(&body).unwrap_or_default(),
                };
                record.lock().unwrap().push(asked.clone());
                clerk(asked).await.ok_or_else(|| "cut".to_owned())
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// A server of 2025-11-25 that knows one session, `session`, and answers every request with its params.
pub(crate) fn well(asked: &Asked, session: &str, capabilities: Value) -> Response<Body> {
    let id = &asked.body["id"];
    if asked.what() == "initialize" {
        let result = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "serverInfo": {"name": "desk", "version": "1"},
        });
        let mut answer = answered(id, &result);
        let session = session.parse().unwrap();
        answer.headers_mut().insert("mcp-session-id", session);
        return answer;
    }
    if asked.header("mcp-session-id") != Some(session) {
        return plain(404);
    }
    match asked.method {
        Method::GET => plain(405),
        Method::DELETE => plain(200),
        _ if id.is_null() => plain(202),
        _ => answered(id, &asked.body["params"]),
    }
}

pub(crate) fn answered(id: &Value, result: &Value) -> Response<Body> {
    json_body(200, &json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

pub(crate) fn json_body(status: u16, body: &Value) -> Response<Body> {
    // As some frameworks do.
    let text = serde_json::to_string_pretty(body).unwrap();
    written(status, text)
}

/// A body as it is written here.
pub(crate) fn written(status: u16, json: String) -> Response<Body> {
    typed(status, "application/json", Full::from(json).boxed_unsync())
}

pub(crate) fn plain(status: u16) -> Response<Body> {
    typed(status, "text/plain", Full::default().boxed_unsync())
}

/// A stream that lasts as long as what is returned with it; that tells when nobody reads it any more.
pub(crate) fn events() -> (UnboundedSender<String>, Response<Body>) {
    let (sender, events) = unbounded_channel();
    (sender, typed(200, "text/event-stream", streamed(events)))
}

fn streamed(events: UnboundedReceiver<String>) -> Body {
    let frames = stream::unfold(events, |mut events| async move {
        let event = Bytes::from(events.recv().await?);
        Some((Ok(Frame::data(event)), events))
    });
    StreamBody::new(frames).boxed_unsync()
}

fn typed(status: u16, kind: &str, body: Body) -> Response<Body> {
    let response = Response::builder().header("content-type", kind);
    let status = StatusCode::from_u16(status).unwrap();
    response.status(status).body(body).unwrap()
}
