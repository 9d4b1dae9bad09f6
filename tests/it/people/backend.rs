//! A backend with a few tools, over both transports, which writes down what reaches it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{interval, sleep};

use crate::support::backend::{request, value};

/// The tools it lists.
pub(super) const TOOLS: [&str; 4] = ["get_one", "get_two", "delete_one", "drop"];

/// A message that reached it.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    /// What was sent as `Authorization` after `Bearer`, and as `X-Team`.
    pub(super) token: String,
    pub(super) team: String,
    pub(super) message: Value,
}

impl Reached {
    /// The tool that is called.
    pub(super) fn tool(&self) -> Option<&str> {
        self.message["params"]["name"].as_str()
    }
}

/// The backend: `/mcp` answers in JSON, `/events` by an event stream, `/sse` is of HTTP+SSE.
pub(super) struct Backend {
    pub(super) origin: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    reached: Mutex<Vec<Reached>>,
    /// Open streams of HTTP+SSE.
    streams: Mutex<Vec<UnboundedSender<Value>>>,
}

impl Backend {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::default(),
        };
        let state = backend.state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serve(stream, state.clone()));
            }
        });
        backend
    }

    /// The messages that reached it since the last look; of a batch each.
    pub(super) fn reached(&self) -> Vec<Reached> {
        std::mem::take(&mut *self.state.reached.lock().unwrap())
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut buffer).await {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if head.starts_with("GET ") {
            return listen(stream, &path, &state).await;
        }
        let answers = state.answers(&head, &body);
        let answer = match path.split('?').next().unwrap_or_default() {
            "/events" => response("200 OK", "text/event-stream", &events(&answers)),
            "/messages" => state.tell(&path, answers),
            _ if answers.is_empty() => response("202 Accepted", "text/plain", ""),
            _ => response("200 OK", "application/json", &one_or_all(answers)),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A stream: of HTTP+SSE what is answered, else something now and then.
async fn listen(mut stream: TcpStream, path: &str, state: &State) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    let (sender, mut answers) = unbounded_channel();
    let mut first = head.to_owned();
    if path.starts_with("/sse") {
        let mut streams = state.streams.lock().unwrap();
        first += &format!("event: endpoint\ndata: /messages?at={}\n\n", streams.len());
        streams.push(sender.clone());
    }
    let mut tick = interval(Duration::from_millis(50));
    let mut next = first;
    while stream.write_all(next.as_bytes()).await.is_ok() {
        next = tokio::select! {
            answer = answers.recv() => event(&answer.expect("we have a sender")),
            _ = tick.tick() => ": tick\n\n".to_owned(),
        };
    }
}

impl State {
    fn answers(&self, head: &str, body: &str) -> Vec<Value> {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let messages = match body {
            Value::Array(batch) => batch,
            Value::Null => Vec::new(),
            one => vec![one],
        };
        let bearer = value(head, "authorization").unwrap_or_default();
        let (token, team) = (
            bearer.trim_start_matches("Bearer ").to_owned(),
            value(head, "x-team").unwrap_or_default().to_owned(),
        );
        let answers = messages.iter().filter_map(answer).collect();
        let mut reached = self.reached.lock().unwrap();
        reached.extend(messages.into_iter().map(|message| Reached {
            token: token.clone(),
            team: team.clone(),
            message,
        }));
        answers
    }

    /// Answers on the stream a path is of.
    fn tell(&self, path: &str, answers: Vec<Value>) -> String {
        let at = path.split("at=").nth(1).and_then(|at| at.split('&').next());
        let at = at.and_then(|at| at.parse::<usize>().ok());
        let streams = self.streams.lock().unwrap();
        match at.and_then(|at| streams.get(at)).cloned() {
            None => response("404 Not Found", "text/plain", ""),
            Some(stream) => {
                tokio::spawn(async move {
                    sleep(Duration::from_millis(2)).await;
                    for answer in answers {
                        let _ = stream.send(answer);
                    }
                });
                response("202 Accepted", "text/plain", "")
            }
        }
    }
}

fn answer(message: &Value) -> Option<Value> {
    let id = message.get("id")?;
    let result = match message["method"].as_str()? {
        "tools/list" => {
            let tool = |name| json!({"name": name, "inputSchema": {"type": "object"}});
            json!({"tools": TOOLS.map(tool)})
        }
        "initialize" => {
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {}})
        }
        _ => json!({"content": [{"type": "text", "text": message["params"]["name"]}]}),
    };
    Some(json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

fn event(message: &Value) -> String {
    format!("event: message\ndata: {message}\n\n")
}

fn events(messages: &[Value]) -> String {
    messages.iter().map(event).collect()
}

fn one_or_all(answers: Vec<Value>) -> String {
    match <[Value; 1]>::try_from(answers) {
        Ok([only]) => only.to_string(),
        Err(several) => Value::from(several).to_string(),
    }
}

fn response(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")
}
