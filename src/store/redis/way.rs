//! The way to a server, which is gone anew for every connection: a master may have moved.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{PushInfo, Value, cmd, pipe};
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
    /// The host it leads to, where that is known beforehand.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Anybody(_, address) | Self::Master(_, address) => &address.host,
            Self::Elected(..) => "",
        }
    }

    /// Connects and logs in. Where records are read, to a master only: a replica would answer with old
    /// ones. What the server says unasked goes to `pushes`.
    pub(super) async fn connect(
        &self,
        pushes: Option<UnboundedSender<PushInfo>>,
    ) -> Result<Live, ConnectError> {
        match self {
            Self::Anybody(dialer, address) => dialer.connect(address, pushes).await,
            Self::Master(dialer, address) => masters(dialer.connect(address, pushes).await?).await,
            Self::Elected(dialer, election) => {
                let address = election.master().await?;
                masters(dialer.connect(&address, pushes).await?).await
            }
        }
    }
}

/// The connection, if it leads to a master.
async fn masters(live: Live) -> Result<Live, ConnectError> {
    let mut ask = pipe();
    ask.add_command(cmd("ROLE"));
    let role = live.demand(&mut ask, ROLE_TIMEOUT).await?;
    match role.first().and_then(replicas) {
        Some(_) => Ok(live),
        None => Err(ConnectError::Unreachable(format!(
            "{} is a replica, and only the master has the newest records",
            live.address
        ))),
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
