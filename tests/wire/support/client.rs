//! A client that writes and reads HTTP/1.1 by itself, so that nothing is mended on the way.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::PATIENCE;

/// A request, written exactly as said.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: &'static str,
    path: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    in_chunks: bool,
}

impl Request {
    pub(crate) fn new(method: &'static str, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            host: None,
            headers: Vec::new(),
            body: Vec::new(),
            in_chunks: false,
        }
    }

    /// With what every MCP client sends.
    pub(crate) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream")
            .body(body)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("Authorization", &format!("Bearer {key}"))
    }

    /// In place of the address it is sent to.
    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// The body in chunks instead of with its length.
    pub(crate) fn in_chunks(mut self) -> Self {
        self.in_chunks = true;
        self
    }

    /// As it goes over the wire.
    pub(crate) fn to_bytes(&self, address: SocketAddr) -> Vec<u8> {
        let host = self.host.clone().unwrap_or(address.to_string());
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let body = if self.in_chunks {
            head.push_str("Transfer-Encoding: chunked\r\n");
            let pieces = self.body.chunks(100_000).flat_map(chunked);
            pieces.chain(*b"0\r\n\r\n").collect()
        } else {
            if self.method == "POST" || !self.body.is_empty() {
                head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
            }
            self.body.clone()
        };
        [head.as_bytes(), b"\r\n", &body].concat()
    }
}

/// One chunk of a chunked body.
pub(crate) fn chunked(data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    let size = format!("{:x}\r\n", data.len());
    [size.as_bytes(), data, b"\r\n"].concat()
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    /// A header's only value.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} twice: {self:?}");
        value
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }
}

/// The connection ended before the answer did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut;

/// A connection to the proxy.
pub(crate) struct Client {
    address: SocketAddr,
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self {
            address,
            stream,
            reader,
        }
    }

    /// Sends what the proxy may refuse half way, without minding that.
    pub(crate) fn send(&mut self, request: &Request) {
        self.write(&request.to_bytes(self.address));
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        // A proxy that refuses a body need not have read it.
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Result<Answer, Cut> {
        self.send(request);
        self.answer()
    }

    pub(crate) fn answer(&mut self) -> Result<Answer, Cut> {
        let head = self.head()?;
        let body = self.body(&head)?;
        Ok(Answer { head, body })
    }

    pub(crate) fn head(&mut self) -> Result<Head, Cut> {
        let line = self.line()?;
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("HTTP/1.1"), "{line}");
        let status = words.next().unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Head { status, headers });
            }
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The rest of an answer.
    pub(crate) fn body(&mut self, head: &Head) -> Result<Vec<u8>, Cut> {
        if let Some(length) = head.header("content-length") {
            let mut body = vec![0; length.parse().unwrap()];
            return self.read_exact(&mut body).map(|()| body);
        }
        let mut body = Vec::new();
        if head.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                body.extend(chunk);
            }
        }
        Ok(body)
    }

    /// The next chunk of a chunked answer; `None` at its orderly end.
    pub(crate) fn chunk(&mut self) -> Result<Option<Vec<u8>>, Cut> {
        let size = usize::from_str_radix(&self.line()?, 16).unwrap();
        let mut data = vec![0; size];
        self.read_exact(&mut data)?;
        if self.line()?.is_empty() {
            Ok((size > 0).then_some(data))
        } else {
            Err(Cut)
        }
    }

    /// So many bytes of a chunked answer, whatever its chunks are.
    pub(crate) fn stream_bytes(&mut self, length: usize) -> Result<Vec<u8>, Cut> {
        let mut data = Vec::new();
        while data.len() < length {
            data.extend(self.chunk()?.ok_or(Cut)?);
        }
        assert_eq!(data.len(), length, "{:?}", String::from_utf8_lossy(&data));
        Ok(data)
    }

    /// Whether the connection has ended, when nothing more is expected on it.
    pub(crate) fn is_over(&mut self) -> bool {
        matches!(self.reader.read(&mut [0]), Ok(0) | Err(_))
    }

    /// Hangs up.
    pub(crate) fn hang_up(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn line(&mut self) -> Result<String, Cut> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).map_err(|_| Cut)?;
        let line = line.strip_suffix(b"\r\n").ok_or(Cut)?;
        Ok(String::from_utf8(line.to_vec()).unwrap())
    }

    fn read_exact(&mut self, into: &mut [u8]) -> Result<(), Cut> {
        self.reader.read_exact(into).map_err(|_| Cut)
    }
}
