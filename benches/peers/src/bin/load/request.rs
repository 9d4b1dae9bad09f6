//! The request: rendered once for a connection, then only its id changes.

use cloakroom_peers::text::write_number;

use crate::calls::Options;

const FIRST_ID: u64 = 1_000_000_000;
const ID_DIGITS: usize = 10;

/// A tools/call with its head.
pub struct Request {
    bytes: Vec<u8>,
    id_at: usize,
    id: u64,
}

impl Request {
    /// An empty one, to be rendered.
    pub fn new() -> Self {
        Self {
            bytes: Vec::new(),
            id_at: 0,
            id: FIRST_ID,
        }
    }

    /// Makes it that of one user.
    pub fn render(&mut self, options: &Options, user: usize, key: &str) {
        let answer = match options.answer_size {
            Some(size) => format!("\"answer_size\":{size},"),
            None => String::new(),
        };
        let before = format!("{{\"jsonrpc\":\"2.0\",\"id\":{FIRST_ID},");
        let call = format!(
            "\"method\":\"tools/call\",\"params\":{{\"name\":\"create_issue\",\"arguments\":\
             {{\"user\":{user},{answer}\"text\":\""
        );
        const CLOSING: &str = "\"}}}";
        let rest = before.len() + call.len() + CLOSING.len();
        let size = options.body_size.max(rest);
        let (to, path) = (options.target.to, &options.target.path);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {to}\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
             MCP-Protocol-Version: 2025-06-18\r\nContent-Length: {size}\r\n\r\n"
        );
        self.bytes.clear();
        for part in [&head, &before, &call] {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        self.bytes.resize(head.len() + size - CLOSING.len(), b'x');
        self.bytes.extend_from_slice(CLOSING.as_bytes());
        self.id_at = head.len() + before.len() - 1 - ID_DIGITS;
        self.write_id();
    }

    /// The bytes of the next request, which has an id of its own.
    pub fn next(&mut self) -> &[u8] {
        self.id += 1;
        self.write_id();
        &self.bytes
    }

    /// The id of the last request.
    pub fn id(&self) -> u64 {
        self.id
    }

    fn write_id(&mut self) {
        write_number(&mut self.bytes[self.id_at..self.id_at + ID_DIGITS], self.id);
    }
}
