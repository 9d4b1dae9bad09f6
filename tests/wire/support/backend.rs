//! A backend that sees every byte it gets and writes every byte it answers with.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::PATIENCE;

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Which connection it came on, counted from 0.
    pub(crate) connection: usize,
}

impl Received {
    /// A header's only value.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} twice: {self:?}");
        value
    }
}

impl Received {
    /// Whether it asks for the list of tools.
    pub(crate) fn is_list(&self) -> bool {
        String::from_utf8_lossy(&self.body).contains("tools/list")
    }
}

/// What becomes of the connection after an answer.
pub(crate) enum Next {
    Keep,
    Close,
}

/// A listener that answers as it is told, a thread for each connection.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

impl Backend {
    /// Calls `answer` for every request.
    pub(crate) fn start(
        answer: impl Fn(&Received, &mut TcpStream) -> Next + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::<Mutex<Vec<_>>>::default();
        let (connections, closed) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (log, count, answer) = (received.clone(), connections.clone(), Arc::new(answer));
        let over = closed.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = count.fetch_add(1, Ordering::SeqCst);
                let (log, answer, over) = (log.clone(), answer.clone(), over.clone());
                std::thread::spawn(move || {
                    serve(stream.unwrap(), connection, &log, &*answer);
                    over.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            received,
            connections,
            closed,
        }
    }

    /// Answers every request with a small result.
    pub(crate) fn simple() -> Self {
        Self::start(|_, stream| {
            stream.write_all(&json_answer(RESULT)).unwrap();
            Next::Keep
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Every request so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The newest request.
    #[track_caller]
    pub(crate) fn last(&self) -> Received {
        self.received().pop().expect("a request has arrived")
    }

    pub(crate) fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// How many connections it has seen.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many of them are closed.
    pub(crate) fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }
}

/// What [`Backend::simple`] answers.
pub(crate) const RESULT: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#;

/// A whole answer with a JSON body.
pub(crate) fn json_answer(body: &str) -> Vec<u8> {
    plain_answer("200 OK", &[("content-type", "application/json")], body)
}

/// A whole answer.
pub(crate) fn plain_answer(status: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// The head of an event stream in chunks, with these headers besides.
pub(crate) fn stream_head(headers: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n{headers}\r\n"
    )
    .into_bytes()
}

fn serve(
    stream: TcpStream,
    connection: usize,
    log: &Mutex<Vec<Received>>,
    answer: &(dyn Fn(&Received, &mut TcpStream) -> Next + Send + Sync),
) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(request) = read_request(&mut reader, connection) {
        log.lock().unwrap().push(request.clone());
        if let Next::Close = answer(&request, &mut stream) {
            break;
        }
    }
}

/// The next request; `None` when the connection ends before one.
pub(crate) fn read_request(reader: &mut impl BufRead, connection: usize) -> Option<Received> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut request = Received {
        method: words.next()?,
        target: words.next()?,
        connection,
        ..Received::default()
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').expect("a header has a colon");
        let header = (name.to_ascii_lowercase(), value.trim().to_owned());
        request.headers.push(header);
    }
    assert_eq!(
        request.header("transfer-encoding"),
        None,
        "bodies are whole"
    );
    let length = request
        .header("content-length")
        .unwrap_or("0")
        .parse()
        .unwrap();
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}
