//! How one server is reached, and opening a connection to it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::uri::{PathAndQuery, Scheme, Uri};
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::layer::Failure;

/// Bytes of an answer's head, and of what is read ahead of the client. An answer is passed on as it
/// comes, so more would only be memory a slow client holds.
const READ_AHEAD: usize = 64 * 1024;

/// Sends requests on one connection.
pub(super) type Sender = SendRequest<Full<Bytes>>;

/// One server, as configured.
pub struct Backend {
    host: String,
    port: u16,
    socket: Option<BackendSocket>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// The `Host` of every request.
    pub(super) authority: HeaderValue,
    /// The target of every request: the client's path and query are dropped.
    pub(super) target: PathAndQuery,
    connect_timeout: Duration,
    /// How long it may be silent before the head of its answer.
    pub(super) answer_timeout: Duration,
    /// It once sent bytes nobody had asked for.
    babbles: Arc<AtomicBool>,
}

/// The Unix socket of a server.
#[derive(Debug, Clone)]
pub struct BackendSocket {
    /// Its file.
    pub path: PathBuf,
    /// The users as one of whom the server must run; anybody may have put the file there.
    pub uids: Vec<u32>,
}

/// Why a URL cannot be a backend's.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(String);

impl Backend {
    /// A backend at `url`; `tls` is what certificates are checked with, needed for `https`.
    ///
    /// # Errors
    /// When the URL names no host or `https` comes without `tls`.
    pub fn new(
        url: &Uri,
        tls: Option<rustls::ClientConfig>,
        connect_timeout: Duration,
        answer_timeout: Duration,
    ) -> Result<Self, BackendError> {
        let error = |text: &str| BackendError(text.to_owned());
        let authority = url
            .authority()
            .ok_or_else(|| error("the URL names no host"))?;
        let secure = url.scheme() == Some(&Scheme::HTTPS);
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = match (secure, tls) {
            (false, _) => None,
            (true, None) => return Err(error("https needs certificates to check with")),
            (true, Some(mut config)) => {
                // Nothing else is spoken on these connections.
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| error("the URL's host cannot stand in a certificate"))?;
                Some((TlsConnector::from(Arc::new(config)), name))
            }
        };
        Ok(Self {
            port: authority
                .port_u16()
                .unwrap_or(if secure { 443 } else { 80 }),
            host,
            socket: None,
            tls,
            authority: HeaderValue::from_str(authority.as_str())
                .map_err(|_| error("the URL's host cannot stand in a header"))?,
            target: url
                .path_and_query()
                .cloned()
                .unwrap_or_else(|| PathAndQuery::from_static("/")),
            connect_timeout,
            answer_timeout,
            babbles: Arc::default(),
        })
    }

    /// The same backend, reached through a Unix socket. Without TLS.
    #[must_use]
    pub fn through(self, socket: BackendSocket) -> Self {
        Self {
            socket: Some(socket),
            tls: None,
            ..self
        }
    }

    /// Whether a connection may serve another request. Not if the backend ever sent bytes nobody had
    /// asked for: what it sends a moment too late would be taken for the answer to the user's next
    /// request.
    pub(super) fn may_be_reused(&self) -> bool {
        !self.babbles.load(Ordering::Relaxed)
    }

    /// Opens a connection, driven by a task on the current runtime.
    pub(super) async fn connect(&self) -> Result<Sender, Failure> {
        let connected = timeout(self.connect_timeout, self.open()).await;
        match connected {
            Ok(Ok(sender)) => Ok(sender),
            Ok(Err(error)) => Err(Failure::Down(error.to_string())),
            Err(_) => Err(Failure::Down(format!(
                "no connection within {:?}",
                self.connect_timeout
            ))),
        }
    }

    async fn open(&self) -> io::Result<Sender> {
        if let Some(socket) = &self.socket {
            return self.handshake(socket.connect().await?).await;
        }
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => self.handshake(stream).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await?;
                self.handshake(stream).await
            }
        }
    }

    async fn handshake<T>(&self, stream: T) -> io::Result<Sender>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(READ_AHEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let (babbles, host) = (self.babbles.clone(), self.host.clone());
        tokio::spawn(async move {
            // What goes wrong in an exchange reaches whoever waits for the answer; an idle
            // connection may end, but must not speak.
            let ended = connection.await;
            if ended.is_err_and(|error| unasked(&error)) && !babbles.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    host,
                    "the server sent more than was asked for; from now on its connections serve \
                     one request each"
                );
            }
        });
        Ok(sender)
    }
}

impl BackendSocket {
    /// Opens a connection to a process of a user that is named, or none.
    async fn connect(&self) -> io::Result<UnixStream> {
        let place = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
        };
        let stream = UnixStream::connect(&self.path).await.map_err(place)?;
        let uid = stream.peer_cred().map_err(place)?.uid();
        if self.uids.contains(&uid) {
            return Ok(stream);
        }
        let message = format!(
            "the process there runs as uid {uid}, not as {:?}; if that is the server, set \
             socket_uid = {uid}",
            self.uids
        );
        Err(place(io::Error::other(message)))
    }
}

/// Whether a connection ended because something came that no request was waiting for. hyper tells
/// it from other errors only by its text.
fn unasked(error: &hyper::Error) -> bool {
    error.to_string() == "received unexpected message from connection"
}
