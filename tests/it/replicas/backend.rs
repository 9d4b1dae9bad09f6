//! Replicas of one MCP server: each tells its own name, and knows only the sessions and streams that
//! began with it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

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
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// The host of every replica's URL; no name server knows it.
pub(super) const HOST: &str = "mcp.internal:9";

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What must stay 0.
#[derive(Default)]
pub(super) struct Wrongs {
    /// Requests of a session or stream that began elsewhere.
    pub(super) strangers: AtomicUsize,
    /// Requests on a connection that began with another credential.
    pub(super) crossed: AtomicUsize,
    /// Requests with another `Host` than that of the URL.
    pub(super) hosts: AtomicUsize,
}

/// One replica.
pub(super) struct Replica {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    pub(super) wrongs: Arc<Wrongs>,
    /// While it is set, all it is asked is answered 503, if at all.
    pub(super) ill: Arc<AtomicBool>,
    tls: Option<TlsAcceptor>,
    tasks: JoinSet<()>,
}

#[derive(Clone)]
struct State {
    name: &'static str,
    wrongs: Arc<Wrongs>,
    ill: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
    /// By the number in their ids; `None` are sessions of Streamable HTTP.
    open: Arc<Mutex<HashMap<String, Option<UnboundedSender<Bytes>>>>>,
    /// The credential the connection began with.
    first: Arc<OnceLock<String>>,
}

impl Replica {
    pub(super) async fn start(name: &'static str) -> Self {
        Self::secured(name, None).await
    }

    pub(super) async fn secured(name: &'static str, tls: Option<TlsAcceptor>) -> Self {
        let mut replica = Self {
            name,
            address: ([127, 0, 0, 1], 0).into(),
            wrongs: Arc::default(),
            ill: Arc::default(),
            tls,
            tasks: JoinSet::new(),
        };
        replica.serve().await;
        replica
    }

    /// Ends at once, with all its connections and all it knew.
    pub(super) async fn kill(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Serves, on its port if it had one.
    pub(super) async fn serve(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let state = State {
            name: self.name,
            wrongs: self.wrongs.clone(),
            ill: self.ill.clone(),
            made: Arc::default(),
            open: Arc::default(),
            first: Arc::default(),
        };
        let tls = self.tls.clone();
        self.tasks.spawn(async move {
            // Aborted with the task that accepts.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let state = State {
                    first: Arc::default(),
                    ..state.clone()
                };
                let tls = tls.clone();
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, state).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, state).await;
                            }
                        }
                    }
                });
            }
        });
    }

    pub(super) fn wrongs(&self) -> [usize; 3] {
        let Wrongs {
            strangers,
            crossed,
            hosts,
        } = &*self.wrongs;
        [strangers, crossed, hosts].map(|wrong| wrong.load(Ordering::SeqCst))
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, state: State) {
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let state = state.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            Ok::<_, hyper::Error>(state.answer(&parts, &body))
        }
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl State {
    fn answer(&self, parts: &Parts, body: &Value) -> Response<Body> {
        if self.ill.load(Ordering::SeqCst) {
            return plain(StatusCode::SERVICE_UNAVAILABLE);
        }
        let header = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        // What checks carry none.
        if let Some(credential) = header("authorization") {
            let first = self.first.get_or_init(|| credential.to_owned());
            self.wrongs
                .crossed
                .fetch_add((first != credential).into(), Ordering::SeqCst);
        }
        let host = header("host").unwrap_or("");
        let well = host == HOST || host.starts_with("localhost:");
        self.wrongs
            .hosts
            .fetch_add((!well).into(), Ordering::SeqCst);
        if parts.method == Method::GET {
            return match parts.uri.path() {
                "/sse" => self.open_stream(),
                _ => plain(StatusCode::METHOD_NOT_ALLOWED),
            };
        }
        let query = parts
            .uri
            .query()
            .and_then(|query| query.strip_prefix("session="));
        let Some(session) = header("mcp-session-id").or(query) else {
            let mut answer = self.message(body);
            if body["method"] == "initialize" {
                let id = self.remember(None);
                answer
                    .headers_mut()
                    .insert("mcp-session-id", id.parse().unwrap());
            }
            return answer;
        };
        match self.open.lock().unwrap().get(session) {
            None => {
                self.wrongs.strangers.fetch_add(1, Ordering::SeqCst);
                plain(StatusCode::NOT_FOUND)
            }
            Some(None) => self.message(body),
            Some(Some(stream)) => {
                let event = format!("event: message\ndata: {}\n\n", self.result(body));
                let _ = stream.send(event.into());
                plain(StatusCode::ACCEPTED)
            }
        }
    }

    /// A session's id, which tells no other replica anything.
    fn remember(&self, stream: Option<UnboundedSender<Bytes>>) -> String {
        let id = format!("{}-{}", self.name, self.made.fetch_add(1, Ordering::SeqCst));
        self.open.lock().unwrap().insert(id.clone(), stream);
        id
    }

    fn open_stream(&self) -> Response<Body> {
        let (sender, events) = unbounded_channel::<Bytes>();
        let id = self.remember(Some(sender.clone()));
        let _ = sender.send(format!("event: endpoint\ndata: /messages?session={id}\n\n").into());
        let events = stream::unfold(events, |mut events| async move {
            Some((Ok(Frame::data(events.recv().await?)), events))
        });
        response("text/event-stream", StreamBody::new(events).boxed_unsync())
    }

    fn result(&self, body: &Value) -> Value {
        json!({"jsonrpc": "2.0", "id": body["id"], "result": {"name": self.name}})
    }

    fn message(&self, body: &Value) -> Response<Body> {
        let text = self.result(body).to_string();
        response("application/json", Full::from(text).boxed_unsync())
    }
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
