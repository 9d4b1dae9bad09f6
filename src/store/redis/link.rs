//! Connections: making one, keeping one alive, and saying why there is none.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ErrorKind, FromRedisValue, Pipeline, ProtocolVersion, PushInfo,
    RedisConnectionInfo, RedisError, ServerErrorKind, Value, pipe,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::READ_TIMEOUT;
use crate::store::url::RedisUrl;
use crate::store::{OpenError, StoreError};

/// Name lookup, TCP, TLS and login together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// After a failed attempt others fail at once for so long: a herd must not wait in a queue, each for
/// a timeout of its own.
const REFUSE_FOR: Duration = Duration::from_millis(250);
/// Requests that may wait to be written to the socket.
const BUFFER: usize = 1024;

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
        } else if starts(&["NOPERM"]) {
            Self::NotAllowed(reason)
        } else {
            Self::Unreachable(reason)
        }
    }

    pub(super) fn explained(self, address: &str) -> OpenError {
        let address = address.to_owned();
        match self {
            Self::LoginRefused(reason) => OpenError::LoginRefused { address, reason },
            Self::NotAllowed(reason) => OpenError::NotAllowed { address, reason },
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

/// How many replicas follow, from the answer to `ROLE`; `None` when it is no master.
pub(super) fn replicas(role: &Value) -> Option<u32> {
    match role {
        Value::Array(parts) => match parts.as_slice() {
            [Value::BulkString(role), _, Value::Array(replicas), ..] if role == b"master" => {
                u32::try_from(replicas.len()).ok()
            }
            _ => None,
        },
        _ => None,
    }
}

/// The server, and what to show it.
#[derive(Clone)]
pub(super) struct Target {
    url: RedisUrl,
    tls: Option<Arc<ClientConfig>>,
}

impl Target {
    pub(super) fn new(url: RedisUrl, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { url, tls }
    }

    pub(super) fn url(&self) -> &RedisUrl {
        &self.url
    }

    /// Connects and logs in, to a master only: a replica would answer with old records. What the
    /// server says unasked goes to `pushes`.
    pub(super) async fn connect(
        &self,
        pushes: Option<UnboundedSender<PushInfo>>,
    ) -> Result<Live, ConnectError> {
        let late = |_| {
            Err(ConnectError::Unreachable(
                "no answer within a second".to_owned(),
            ))
        };
        let live = timeout(CONNECT_TIMEOUT, self.log_in(pushes))
            .await
            .unwrap_or_else(late)?;
        let mut ask = pipe();
        ask.cmd("ROLE");
        let role = live.ask::<(Value,)>(&ask, READ_TIMEOUT).await;
        let (role,) = role.map_err(|error| ConnectError::from_answer(&error))?;
        if replicas(&role).is_none() {
            let reason = "it is a replica, and only the master has the newest records";
            return Err(ConnectError::Unreachable(reason.to_owned()));
        }
        Ok(live)
    }

    async fn log_in(
        &self,
        pushes: Option<UnboundedSender<PushInfo>>,
    ) -> Result<Live, ConnectError> {
        let stream = self.stream().await?;
        let mut info = RedisConnectionInfo::default()
            .set_db(i64::from(self.url.db))
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name();
        if let Some(login) = &self.url.login {
            info = info.set_username(login.user.as_deref().unwrap_or("default"));
            info = info.set_password(login.password.as_str());
        }
        let mut config = AsyncConnectionConfig::new().set_pipeline_buffer_size(BUFFER);
        if let Some(pushes) = pushes {
            config = config.set_push_sender(pushes);
        }
        let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
        let (connection, driver) = made.map_err(|error| ConnectError::from_answer(&error))?;
        Ok(Live {
            connection,
            driver: tokio::spawn(driver),
        })
    }

    async fn stream(&self) -> Result<Box<dyn Stream>, ConnectError> {
        let unreachable = |error: std::io::Error| ConnectError::Unreachable(error.to_string());
        let address = (self.url.host.as_str(), self.url.port);
        let socket = TcpStream::connect(address).await.map_err(unreachable)?;
        socket.set_nodelay(true).map_err(unreachable)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(socket));
        };
        let name = ServerName::try_from(self.url.host.clone());
        let name = name.map_err(|error| ConnectError::Tls(error.to_string()))?;
        let secured = TlsConnector::from(Arc::clone(tls))
            .connect(name, socket)
            .await;
        Ok(Box::new(
            secured.map_err(|error| ConnectError::Tls(error.to_string()))?,
        ))
    }
}

/// A connection somebody uses; closed when nobody does.
pub(super) struct Live {
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Live {
    /// One round trip.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        request: &Pipeline,
        timeout: Duration,
    ) -> Result<T, RedisError> {
        let mut connection = self.connection.clone();
        connection.set_response_timeout(timeout);
        request.query_async(&mut connection).await
    }
}

/// Why a request on a [`Line`] failed.
pub(super) struct Failed {
    pub(super) error: StoreError,
    /// The server wants to be told the script's text.
    pub(super) unknown_script: bool,
}

/// One connection shared by many, made again after a failure.
pub(super) struct Line {
    target: Target,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: Option<Arc<Live>>,
    refused: Option<(Instant, ConnectError)>,
}

impl Line {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            state: Mutex::default(),
        }
    }

    /// Asks once more on a fresh connection when the old one turns out to be closed.
    pub(super) async fn read<T: FromRedisValue>(
        &self,
        request: &Pipeline,
        timeout: Duration,
    ) -> Result<T, StoreError> {
        match self.once(request, timeout).await? {
            Err(error) if error.is_connection_dropped() => {}
            answer => return answer.map_err(|error| meaning(&error)),
        }
        self.once(request, timeout)
            .await?
            .map_err(|error| meaning(&error))
    }

    /// Never asks twice: nobody knows whether the first time had an effect.
    pub(super) async fn write<T: FromRedisValue>(
        &self,
        request: &Pipeline,
        timeout: Duration,
    ) -> Result<T, Failed> {
        let asked = self.once(request, timeout).await;
        let answer = asked.map_err(|error| Failed {
            error,
            unknown_script: false,
        })?;
        answer.map_err(|error| Failed {
            unknown_script: error.kind() == ErrorKind::Server(ServerErrorKind::NoScript),
            error: meaning(&error),
        })
    }

    /// Gives the connection up: the next request makes a new one.
    pub(super) async fn reset(&self) {
        self.state.lock().await.live = None;
    }

    async fn once<T: FromRedisValue>(
        &self,
        request: &Pipeline,
        timeout: Duration,
    ) -> Result<Result<T, RedisError>, StoreError> {
        let live = self.live().await;
        let live = live.map_err(|error| StoreError::Unreachable(error.to_string()))?;
        let answer = live.ask(request, timeout).await;
        if answer.as_ref().is_err_and(is_broken) {
            let mut state = self.state.lock().await;
            if state
                .live
                .as_ref()
                .is_some_and(|now| Arc::ptr_eq(now, &live))
            {
                state.live = None;
            }
        }
        Ok(answer)
    }

    async fn live(&self) -> Result<Arc<Live>, ConnectError> {
        // Held while connecting: whoever comes meanwhile gets the same connection, or refusal.
        let mut state = self.state.lock().await;
        if let Some(live) = &state.live
            && !live.driver.is_finished()
        {
            return Ok(Arc::clone(live));
        }
        if let Some((at, error)) = &state.refused
            && at.elapsed() < REFUSE_FOR
        {
            return Err(error.clone());
        }
        match self.target.connect(None).await {
            Ok(live) => {
                let live = Arc::new(live);
                *state = State {
                    live: Some(Arc::clone(&live)),
                    refused: None,
                };
                Ok(live)
            }
            Err(error) => {
                *state = State {
                    live: None,
                    refused: Some((Instant::now(), error.clone())),
                };
                Err(error)
            }
        }
    }
}

/// Whether the connection is of no more use: broken or silent, or the server's role has changed and
/// its name may lead elsewhere by now.
fn is_broken(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, MasterDown, ReadOnly};
    let ErrorKind::Server(kind) = error.kind() else {
        return error.is_io_error() || error.is_unrecoverable_error();
    };
    matches!(kind, BusyLoading | MasterDown | ReadOnly)
}

fn meaning(error: &RedisError) -> StoreError {
    let reason = words(error);
    match error.kind() {
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => StoreError::Damaged(reason),
        _ if reason.starts_with("WRONGTYPE") => StoreError::Damaged(reason),
        _ => StoreError::Unreachable(reason),
    }
}
