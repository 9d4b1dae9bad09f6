//! Connections: making one, and saying why there is none.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ErrorKind, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo,
    RedisError, Value,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::store::url::{Address, Login};
use crate::store::{OpenError, REDIS_ACL_RULE};

/// Name lookup, TCP, TLS and login together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Requests that may wait to be written to the socket.
const BUFFER: usize = 1024;

/// How a `NOPERM` inside a script is worded: by Redis 7.0, and by later ones.
const FORBIDDEN_IN_SCRIPT: [&str; 2] = ["The user executing the script", "ACL failure in script"];
/// How the crate words a `NOPERM` to its `SELECT`; a database that does not exist lacks the second part.
const SELECT_FORBIDDEN: [&str; 2] = ["refused to switch database", "no permissions"];

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Why there is no connection. Its text never holds a password.
#[derive(Debug, Clone)]
pub(super) enum ConnectError {
    LoginRefused(String),
    NotAllowed(String),
    Tls(String),
    Unreachable(String),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::LoginRefused(reason)
        | Self::NotAllowed(reason)
        | Self::Tls(reason)
        | Self::Unreachable(reason)) = self;
        f.write_str(reason)
    }
}

impl ConnectError {
    /// From what the server answered, or did not.
    pub(super) fn from_answer(error: &RedisError) -> Self {
        let reason = words(error);
        let starts = |codes: &[&str]| codes.iter().any(|code| reason.starts_with(code));
        if starts(&["WRONGPASS", "NOAUTH", "ERR AUTH"])
            || error.kind() == ErrorKind::AuthenticationFailed
        {
            Self::LoginRefused(reason)
        } else if starts(&["NOPERM"])
            || FORBIDDEN_IN_SCRIPT
                .iter()
                .any(|words| reason.contains(words))
            || SELECT_FORBIDDEN.iter().all(|words| reason.contains(words))
        {
            Self::NotAllowed(reason)
        } else if starts(&["received fatal alert"]) {
            // TLS 1.3 refuses a client's certificate only after the handshake.
            Self::Tls(reason)
        } else {
            Self::Unreachable(reason)
        }
    }

    /// From what the server answered to a login. Some repeat what they were sent, between quotes, and
    /// that is a password.
    fn from_login(error: &RedisError) -> Self {
        let safe = |reason: String| match reason.split(['\'', '"', '`']).next() {
            Some(safe) if safe.len() < reason.len() => format!("{} (…)", safe.trim_end()),
            _ => reason,
        };
        match Self::from_answer(error) {
            Self::LoginRefused(reason) => Self::LoginRefused(safe(reason)),
            Self::NotAllowed(reason) => Self::NotAllowed(safe(reason)),
            Self::Tls(reason) => Self::Tls(safe(reason)),
            Self::Unreachable(reason) if reason.starts_with("ERR unknown command") => {
                Self::Unreachable(
                    "it does not know HELLO; it must be Redis 6.2 or newer".to_owned(),
                )
            }
            Self::Unreachable(reason) => Self::Unreachable(safe(reason)),
        }
    }

    pub(super) fn explained(self, place: &str) -> OpenError {
        let address = place.to_owned();
        match self {
            Self::LoginRefused(reason) => OpenError::LoginRefused { address, reason },
            Self::NotAllowed(reason) => OpenError::NotAllowed {
                address,
                reason,
                rule: REDIS_ACL_RULE.to_owned(),
            },
            Self::Tls(reason) => OpenError::Tls { address, reason },
            Self::Unreachable(reason) => OpenError::Unreachable {
                place: address,
                reason,
            },
        }
    }
}

/// The server's words, or the system's.
pub(super) fn words(error: &RedisError) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    match error.clone().into_server_errors().as_deref() {
        Some([(_, first), ..]) => {
            format!("{} {}", first.code(), first.details().unwrap_or_default())
        }
        _ => error.to_string(),
    }
}

/// How servers of one kind are connected to: whom we log in as, and what TLS must prove.
pub(super) struct Dialer {
    pub(super) db: u32,
    pub(super) login: Option<Login>,
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// The key by which one server that keeps everything is known to be our store, once that is known.
    pub(super) home: OnceLock<String>,
}

impl Dialer {
    /// Connects and logs in. What the server says unasked goes to `pushes`.
    pub(super) async fn connect(
        &self,
        address: &Address,
        pushes: Option<UnboundedSender<PushInfo>>,
    ) -> Result<Live, ConnectError> {
        let until = Instant::now() + CONNECT_TIMEOUT;
        let stream = self.stream(address, until).await?;
        let mut info = RedisConnectionInfo::default()
            .set_db(i64::from(self.db))
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name();
        if let Some(login) = &self.login {
            info = info.set_username(login.user.as_deref().unwrap_or("default"));
            info = info.set_password(login.password.as_str());
        }
        let mut config = AsyncConnectionConfig::new().set_pipeline_buffer_size(BUFFER);
        if let Some(pushes) = pushes {
            config = config.set_push_sender(pushes);
        }
        let made = MultiplexedConnection::new_with_config(&info, stream, config);
        let made = timeout_at(until, made).await.map_err(|_| silent())?;
        let (connection, driver) = made.map_err(|error| ConnectError::from_login(&error))?;
        Ok(Live {
            address: address.clone(),
            connection,
            driver: tokio::spawn(driver),
        })
    }

    async fn stream(
        &self,
        address: &Address,
        until: Instant,
    ) -> Result<Box<dyn Stream>, ConnectError> {
        let unreachable = |error: std::io::Error| ConnectError::Unreachable(error.to_string());
        let socket = TcpStream::connect((address.host.as_str(), address.port));
        let socket = timeout_at(until, socket).await;
        let socket = socket.map_err(|_| silent())?.map_err(unreachable)?;
        socket.set_nodelay(true).map_err(unreachable)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(socket));
        };
        let name = ServerName::try_from(address.host.clone());
        let name = name.map_err(|error| ConnectError::Tls(error.to_string()))?;
        let secured = TlsConnector::from(Arc::clone(tls)).connect(name, socket);
        // A Redis that speaks no TLS waits for the rest of a command.
        let no_tls = |_| ConnectError::Tls("no answer; does the server speak TLS?".to_owned());
        let secured = timeout_at(until, secured).await.map_err(no_tls)?;
        Ok(Box::new(
            secured.map_err(|error| ConnectError::Tls(error.to_string()))?,
        ))
    }
}

fn silent() -> ConnectError {
    ConnectError::Unreachable("no answer within a second".to_owned())
}

/// A connection somebody uses; closed when nobody does.
pub(super) struct Live {
    pub(super) address: Address,
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Live {
    pub(super) fn is_closed(&self) -> bool {
        self.driver.is_finished()
    }

    /// One round trip. One value per command: a command that the server refused is a
    /// [`Value::ServerError`] among them.
    pub(super) async fn ask(
        &self,
        request: &mut Pipeline,
        timeout: Duration,
    ) -> Result<Vec<Value>, RedisError> {
        let mut connection = self.connection.clone();
        connection.set_response_timeout(timeout);
        request.ignore_errors().query_async(&mut connection).await
    }

    /// As [`Live::ask`], where a refused command is an error of the whole.
    pub(super) async fn demand(
        &self,
        request: &mut Pipeline,
        timeout: Duration,
    ) -> Result<Vec<Value>, ConnectError> {
        let values = self.ask(request, timeout).await;
        let values =
            values.and_then(|values| values.into_iter().map(Value::extract_error).collect());
        values.map_err(|error| ConnectError::from_answer(&error))
    }
}
