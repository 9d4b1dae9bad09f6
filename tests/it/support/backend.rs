//! A server that records what it receives and answers as told, and what reads raw requests.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

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
            url: format!("http://{}/mcp", listener.local_addr().unwrap()),
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
