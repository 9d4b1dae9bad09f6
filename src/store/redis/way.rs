//! The way to a server, which is gone anew for every connection: a master may have moved.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{PushInfo, Value, pipe};
use tokio::sync::mpsc::UnboundedSender;

use super::link::{ConnectError, Dialer, Live};
use crate::store::url::Address;

/// How long a server may take to say what it is.
const ROLE_TIMEOUT: Duration = Duration::from_millis(500);

/// The way to a server.
#[derive(Clone)]
pub(super) enum Way {
    /// To whoever is there: a Sentinel, or a node that is asked about its Cluster only.
    Anybody(Arc<Dialer>, Address),
    /// To a node of a Cluster. It knows for itself what it keeps: a replica keeps nothing for those who do not ask
    /// for old records (`READONLY`), and sends them on to its master (Redis Cluster specification, "MOVED
    /// Redirection"). To refuse it for being a replica would be to ask the other nodes who is master, and they
    /// may learn that later than it does.
    Member(Arc<Dialer>, Address),
    /// To the master there.
    Master(Arc<Dialer>, Address),
    /// To the master that was elected.
    Elected(Arc<Dialer>, Arc<dyn Election>),
}

/// Those who know which server is the master at this moment.
#[async_trait]
pub(super) trait Election: Send + Sync {
    async fn master(&self) -> Result<Address, ConnectError>;
}

impl Way {
    /// See [`Dialer::home`].
    pub(super) fn settle_in(&self, key: &str) {
        let (Self::Anybody(dialer, _)
        | Self::Member(dialer, _)
        | Self::Master(dialer, _)
        | Self::Elected(dialer, _)) = self;
        dialer.home.get_or_init(|| key.to_owned());
    }

    /// Connects and logs in. Where records are read, to a master only, for a replica would answer with old ones;
    /// one of a Cluster sends us on instead. What the server says unasked goes to `pushes`.
    pub(super) async fn connect(
        &self,
        pushes: Option<UnboundedSender<PushInfo>>,
    ) -> Result<Live, ConnectError> {
        match self {
            Self::Anybody(dialer, address) => dialer.connect(address, pushes).await,
            Self::Member(dialer, address) => member(dialer.connect(address, pushes).await?).await,
            Self::Master(dialer, address) => {
                masters(dialer, dialer.connect(address, pushes).await?).await
            }
            Self::Elected(dialer, election) => {
                let address = election.master().await?;
                masters(dialer, dialer.connect(&address, pushes).await?).await
            }
        }
    }
}

/// The connection, if it leads to a node of a Cluster: another server refuses to tell of one, and would answer for
/// itself, though it may be a replica.
async fn member(live: Live) -> Result<Live, ConnectError> {
    let mut ask = pipe();
    ask.cmd("CLUSTER").arg("SLOTS");
    live.demand(&mut ask, ROLE_TIMEOUT).await?;
    Ok(live)
}

/// The connection, if it leads to a master that still holds our store. One that was restarted empty
/// would make every key unknown.
async fn masters(dialer: &Dialer, live: Live) -> Result<Live, ConnectError> {
    let mut ask = pipe();
    ask.cmd("ROLE");
    let home = dialer.home.get();
    if let Some(home) = home {
        ask.cmd("GET").arg(home);
    }
    let answers = live.demand(&mut ask, ROLE_TIMEOUT).await?;
    let reason = match answers.as_slice() {
        [role, ..] if replicas(role).is_none() => {
            "is a replica, and only the master has the newest records"
        }
        [_, Value::Nil] => "is empty, and was not before: give it its records back",
        _ => return Ok(live),
    };
    Err(ConnectError::Unreachable(format!(
        "{} {reason}",
        live.address
    )))
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
