//! The client's end of a connection, byte by byte.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer, as its bytes came.
pub(crate) struct Raw {
    pub(crate) status: u16,
    /// Down to the empty line.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A connection on which a test writes what it likes.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            buffer: Vec::new(),
        }
    }

    /// `false` at the end of the connection.
    async fn fill(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.buffer);
        let read = timeout(Duration::from_secs(20), read).await;
        read.expect("the connection goes on").unwrap_or(0) > 0
    }

    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, end) {
                let rest = self.buffer.split_off(at + end.len());
                return Some(std::mem::replace(&mut self.buffer, rest));
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.fill().await, "half an answer");
        }
        let rest = self.buffer.split_off(length);
        std::mem::replace(&mut self.buffer, rest)
    }

    /// The next answer; `None` when the connection ends instead.
    pub(crate) async fn answer(&mut self, to_head: bool) -> Option<Raw> {
        loop {
            let head = String::from_utf8(self.until(b"\r\n\r\n").await?).unwrap();
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            if status == 100 {
                continue;
            }
            let lower = head.to_ascii_lowercase();
            let value = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name));
            let mut body = Vec::new();
            if to_head || status == 204 {
            } else if let Some(length) = value("content-length: ") {
                body = self.exactly(length.parse().unwrap()).await;
            } else if value("transfer-encoding: chunked").is_some() {
                loop {
                    let line = String::from_utf8(self.until(b"\r\n").await.unwrap()).unwrap();
                    let size = usize::from_str_radix(line.trim(), 16).unwrap();
                    body.extend(self.exactly(size + 2).await);
                    if size == 0 {
                        break;
                    }
                }
            } else {
                while self.fill().await {}
                body = std::mem::take(&mut self.buffer);
            }
            let body = String::from_utf8(body).unwrap();
            return Some(Raw { status, head, body });
        }
    }

    /// All answers until there are `most`, or the connection ends.
    pub(crate) async fn answers(&mut self, most: usize, to_head: bool) -> Vec<Raw> {
        let mut answers = Vec::new();
        while answers.len() < most
            && let Some(answer) = self.answer(to_head).await
        {
            answers.push(answer);
        }
        answers
    }

    pub(crate) async fn is_over(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill().await
    }
}
