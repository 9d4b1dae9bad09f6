//! The client's half of HTTP+SSE (MCP 2024-11-05).

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

use super::client::{Answer, Client, post};

/// An open stream.
pub(crate) struct Sse {
    _connection: SendRequest<Full<Bytes>>,
    body: Incoming,
    unread: String,
    /// Where its messages are posted.
    pub(crate) path: String,
    /// All that came, byte for byte.
    pub(crate) received: Vec<u8>,
}

impl Sse {
    /// Opens the stream of a server, `NAME` or `NAME/@PROFILE`, on a connection of its own. The inner
    /// error is how it was refused.
    pub(crate) async fn open(
        mut client: Client,
        server: &str,
        key: &str,
    ) -> Result<Result<Self, Answer>, String> {
        let (connection, response) = client.open(listen(server, key)).await?;
        if response.status() != 200 {
            return Ok(Err(Answer::read(response).await?));
        }
        let mut stream = Self {
            _connection: connection,
            body: response.into_body(),
            unread: String::new(),
            path: String::new(),
            received: Vec::new(),
        };
        let first = stream.next().await.ok_or("the stream ends at once")?;
        let path = first.strip_prefix("event: endpoint\ndata: ");
        stream.path = path
            .ok_or("the stream does not begin as it should")?
            .to_owned();
        Ok(Ok(stream))
    }

    /// The next event, without the empty line that ends it; `None` when the stream has ended. What was
    /// read so far is kept when this is given up.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let event = event.to_owned();
                self.unread = rest.to_owned();
                return Some(event);
            }
            let frame = self.body.frame().await?.ok()?;
            let data = frame.into_data().ok()?;
            self.unread.push_str(std::str::from_utf8(&data).unwrap());
            self.received.extend_from_slice(&data);
        }
    }

    /// A message to it.
    pub(crate) fn post(&self, key: &str, body: String) -> Request<Full<Bytes>> {
        let mut request = post("any", key, body);
        *request.uri_mut() = self.path.parse().unwrap();
        request
    }
}

/// Opens a stream of HTTP+SSE.
pub(crate) fn listen(server: &str, key: &str) -> Request<Full<Bytes>> {
    let mut request = super::client::listen(server, key);
    *request.uri_mut() = format!("/{server}/sse").parse().unwrap();
    request
}
