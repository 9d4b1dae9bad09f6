//! How one server is reached, and opening a connection to it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "pingora-lb")]
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::HeaderValue;
use http::uri::{PathAndQuery, Scheme, Uri};
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::http1::{Connection, Peer, Stream};
use super::replicas::{ReplicaAddress, ReplicaFigures, Replicas, Set};
use crate::layer::Failure;
use crate::sys;
use crate::telemetry::Counter;

/// The longest time an answer may take: what comes after it can be told of on every clock.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// One server, as configured.
#[derive(Clone)]
pub struct Backend {
    /// Where its URL leads.
    pub(super) address: ReplicaAddress,
    replicas: Arc<Replicas>,
    socket: Option<BackendSocket>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// The `Host` of every request.
    pub(super) authority: HeaderValue,
    /// The target of every request: the client's path and query are dropped.
    pub(super) target: PathAndQuery,
    connect_timeout: Duration,
    /// How long it may be silent before the head of its answer.
    pub(super) answer_timeout: Duration,
    /// Connections opened.
    connects: Counter,
    /// What its connections have in common.
    peer: Arc<Peer>,
    failed_connects: Arc<AtomicU64>,
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
    /// A backend at `url`; `tls` is what certificates are checked with, needed for `https`. An `answer_timeout` of
    /// more than a year is one of a year.
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
        let port = authority.port_u16();
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        let address = ReplicaAddress::new(&host, port);
        Ok(Self {
            replicas: Arc::new(Replicas::one(address.clone())),
            address,
            socket: None,
            tls,
            authority: HeaderValue::from_str(authority.as_str())
                .map_err(|_| error("the URL's host cannot stand in a header"))?,
            target: url
                .path_and_query()
                .cloned()
                .unwrap_or_else(|| PathAndQuery::from_static("/")),
            connect_timeout,
            answer_timeout: answer_timeout.min(YEAR),
            peer: Arc::default(),
            connects: Counter::default(),
            failed_connects: Arc::default(),
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

    /// The same backend, which counts the connections opened to it.
    #[must_use]
    pub fn counting(self, connects: Counter) -> Self {
        Self { connects, ..self }
    }

    /// This backend, reached at these addresses instead of its URL's host, whose name stays that of the
    /// `Host` header and of certificates. There must be one at least.
    #[must_use]
    pub fn with_replicas(mut self, addresses: impl IntoIterator<Item = ReplicaAddress>) -> Self {
        self.replicas = Arc::new(Replicas::listed(addresses));
        self
    }

    /// This backend, reached at every address the host and port of its URL have, which is looked up
    /// every 10 s as long as the backend lives, by a task of the current runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn with_named_replicas(mut self) -> Self {
        self.replicas = Arc::new(self.replicas.to_named());
        self
    }

    /// What opens connections for checks, and the replicas to check. What checks do is counted apart,
    /// and must not keep the replicas alive.
    #[cfg(feature = "pingora-lb")]
    pub(super) fn prober(&self) -> (Self, Weak<Replicas>) {
        let prober = Self {
            replicas: Arc::new(Replicas::listed([])),
            failed_connects: Arc::default(),
            ..self.clone()
        };
        (prober, Arc::downgrade(&self.replicas))
    }

    /// How its replicas are.
    #[must_use]
    pub fn figures(&self) -> ReplicaFigures {
        let failed_connects = self.failed_connects.load(Ordering::Relaxed);
        self.replicas.figures(failed_connects)
    }

    /// Its replicas now.
    pub(super) async fn replicas(&self) -> Result<Arc<Set>, Failure> {
        if let Some(known) = self.replicas.at_once() {
            return Ok(known);
        }
        let known = timeout(self.connect_timeout, self.replicas.now()).await;
        known.map_err(|_| Failure::Down("its name has not resolved yet".to_owned()))
    }

    /// Whether what begins at one of its replicas is to stay there.
    pub(super) fn has_replicas(&self) -> bool {
        self.replicas.are_told_apart()
    }

    /// Whether a connection may serve another request. Not if the backend ever sent bytes nobody had
    /// asked for: what it sends a moment too late would be taken for the answer to the user's next
    /// request.
    pub(super) fn may_be_reused(&self) -> bool {
        !self.peer.babbles()
    }

    /// Opens a connection to a replica.
    pub(super) async fn connect(
        &self,
        to: &ReplicaAddress,
    ) -> Result<Box<Connection>, ConnectError> {
        let connected = timeout(self.connect_timeout, self.open(to)).await;
        let error = match connected {
            Ok(Ok(stream)) => {
                self.connects.inc();
                return Ok(Connection::new(stream, self.peer.clone()));
            }
            Ok(Err(error)) if is_ours(&error) => ConnectError::Ours(error),
            Ok(Err(error)) => ConnectError::Theirs(error),
            Err(_) => ConnectError::Late(self.connect_timeout),
        };
        self.failed_connects.fetch_add(1, Ordering::Relaxed);
        Err(error)
    }

    async fn open(&self, to: &ReplicaAddress) -> io::Result<Stream> {
        if let Some(socket) = &self.socket {
            return socket.connect().await.map(Stream::Unix);
        }
        let stream = TcpStream::connect(to.pair()).await?;
        stream.set_nodelay(true)?;
        sys::keep_alive(&stream)?;
        let Some((connector, name)) = &self.tls else {
            return Ok(Stream::Tcp(stream));
        };
        let stream = connector.connect(name.clone(), stream).await?;
        Ok(Stream::Tls(Box::new(stream)))
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

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// This process or machine has none left to give, which says nothing of the other side.
    #[error("no connection can be opened here: {0}")]
    Ours(io::Error),
    /// It was refused, or the handshake of TLS failed.
    #[error("{0}")]
    Theirs(io::Error),
    /// It took longer than is waited for.
    #[error("no connection within {0:?}")]
    Late(Duration),
}

fn is_ours(error: &io::Error) -> bool {
    use rustix::io::Errno;
    const OURS: [Errno; 6] = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
        Errno::AGAIN,
    ];
    Errno::from_io_error(error).is_some_and(|errno| OURS.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a moment is reckoned with that no clock has.
    #[test]
    fn nobody_waits_for_ever() {
        let url = Uri::from_static("http://127.0.0.1/mcp");
        let backend = Backend::new(&url, None, Duration::MAX, Duration::MAX).unwrap();
        assert_eq!(backend.answer_timeout, YEAR);
    }
}
