//! An MCP client of the simplest kind, on one connection.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

pub(crate) struct Client {
    address: SocketAddr,
    idle: Option<SendRequest<Full<Bytes>>>,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// What stands after the status, when it is not the usual phrase.
    pub(crate) reason: Option<ReasonPhrase>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) async fn read(response: Response<Incoming>) -> Result<Self, String> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
        Ok(Self {
            status: parts.status.as_u16(),
            reason: parts.extensions.get().cloned(),
            headers: parts.headers,
            body,
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The messages, of a JSON answer or of the events of a stream.
    pub(crate) fn messages(&self) -> Vec<Value> {
        let text = self.text();
        let json = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let events: Vec<_> = data.filter(|data| !data.is_empty()).map(json).collect();
        match json(&text) {
            Value::Array(batch) => batch,
            Value::Null => events,
            one => vec![one],
        }
    }

    /// The last message.
    pub(crate) fn message(&self) -> Value {
        self.messages().pop().unwrap_or(Value::Null)
    }

    /// All of it that a client can see.
    pub(crate) fn into_bytes(self) -> [Vec<u8>; 2] {
        let mut head = self
            .reason
            .map_or(Vec::new(), |reason| reason.as_bytes().to_vec());
        for (name, value) in &self.headers {
            head.extend([b"\n", name.as_str().as_bytes(), b": ", value.as_bytes()].concat());
        }
        [head, self.body.to_vec()]
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap_or("?"))
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            idle: None,
        }
    }

    /// Sends a request; the connection is kept only by [`Client::exchange`], which reads it all.
    pub(crate) async fn open(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(SendRequest<Full<Bytes>>, Response<Incoming>), String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let idle = match self.idle.take() {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let mut sender = match idle {
            Some(sender) => sender,
            None => {
                let stream = TcpStream::connect(self.address)
                    .await
                    .map_err(|e| words(&e))?;
                stream.set_nodelay(true).map_err(|e| words(&e))?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(|e| words(&e))?;
                tokio::spawn(connection);
                sender
            }
        };
        let response = sender.send_request(request).await.map_err(|e| words(&e))?;
        Ok((sender, response))
    }

    /// Dropped before its end, the connection is closed: the client went away.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, String> {
        let (sender, response) = self.open(request).await?;
        let answer = Answer::read(response).await?;
        self.idle = Some(sender);
        Ok(answer)
    }

    /// A tool call that must be answered somehow.
    pub(crate) async fn call(&mut self, server: &str, key: &str, nonce: &str) -> Answer {
        self.exchange(call(server, key, 0, nonce)).await.unwrap()
    }
}

/// A request with headers a client sends.
pub(crate) fn post(server: &str, key: &str, body: String) -> Request<Full<Bytes>> {
    Request::post(format!("/{server}/mcp"))
        .header("host", "127.0.0.1")
        .header("authorization", format!("Bearer {key}"))
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

/// A tool call. The nonce is an argument; also in a header, for backends that answer before they
/// read a body.
pub(crate) fn call(server: &str, key: &str, id: u64, nonce: &str) -> Request<Full<Bytes>> {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"echo","arguments":{{"nonce":"{nonce}"}}}}}}"#
    );
    let mut request = post(server, key, body);
    request
        .headers_mut()
        .insert("mcp-param-nonce", nonce.parse().unwrap());
    request
}

/// Opens a stream for what the server has to say.
pub(crate) fn listen(server: &str, key: &str) -> Request<Full<Bytes>> {
    Request::get(format!("/{server}/mcp"))
        .header("host", "127.0.0.1")
        .header("authorization", format!("Bearer {key}"))
        .header("accept", "text/event-stream")
        .body(Full::default())
        .unwrap()
}
