//! A connection shared by many, made again after a failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{ErrorKind, Pipeline, RedisError, ServerErrorKind, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::link::{ConnectError, Live, words};
use super::way::Way;
use crate::store::StoreError;
use crate::store::url::Address;

/// After a failed attempt others fail at once for so long: a herd must not wait in a queue, each for
/// a timeout of its own.
const REFUSE_FOR: Duration = Duration::from_millis(250);

/// Why a request on a [`Line`] has no answer.
pub(super) enum Failed {
    /// There is no connection, so nothing was sent.
    Unsent(ConnectError),
    /// The connection turned out to be closed: the request may have been lost, or its answer.
    Dropped(StoreError),
    /// No answer in time, or none that can be read.
    Unanswered(StoreError),
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Unsent(error) => Self::Unreachable(error.to_string()),
            Failed::Dropped(error) | Failed::Unanswered(error) => error,
        }
    }
}

impl From<Failed> for ConnectError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Unsent(error) => error,
            Failed::Dropped(error) | Failed::Unanswered(error) => {
                Self::Unreachable(error.to_string())
            }
        }
    }
}

/// One connection shared by many.
pub(super) struct Line {
    way: Way,
    /// How often [`Line::lost`] and [`Line::found`] were called. Apart from the state, which is locked
    /// while connecting.
    lost: AtomicU64,
    found: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lost: u64,
    found: u64,
    live: Option<Arc<Live>>,
    refused: Option<(Instant, ConnectError)>,
}

impl Line {
    pub(super) fn new(way: Way) -> Self {
        Self {
            way,
            lost: AtomicU64::new(0),
            found: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Asks once; see [`Live::ask`] for the answer. A connection that is of no more use is left.
    pub(super) async fn ask(
        &self,
        request: &mut Pipeline,
        timeout: Duration,
    ) -> Result<Vec<Value>, Failed> {
        Ok(self.ask_whom(request, timeout).await?.1)
    }

    /// As [`Line::ask`]; says too who answered.
    pub(super) async fn ask_whom(
        &self,
        request: &mut Pipeline,
        timeout: Duration,
    ) -> Result<(Address, Vec<Value>), Failed> {
        let live = self.live().await.map_err(Failed::Unsent)?;
        let answer = live.ask(request, timeout).await;
        let broken = match &answer {
            Ok(values) => values.iter().any(is_misled),
            Err(error) => error.is_io_error() || error.is_unrecoverable_error(),
        };
        if broken {
            self.leave(&live).await;
        }
        let answer = answer.map(|values| (live.address.clone(), values));
        answer.map_err(|error| {
            if error.is_connection_dropped() {
                Failed::Dropped(meaning(&error))
            } else {
                Failed::Unanswered(meaning(&error))
            }
        })
    }

    /// The server was lost: no request uses this connection any more. A refusal still counts, or a
    /// herd would have to wait for the next.
    pub(super) fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// The server was found again: connection and refusal are of the time before.
    pub(super) fn found(&self) {
        self.lost();
        self.found.fetch_add(1, Ordering::Relaxed);
    }

    async fn leave(&self, left: &Arc<Live>) {
        let mut state = self.state.lock().await;
        if state
            .live
            .as_ref()
            .is_some_and(|now| Arc::ptr_eq(now, left))
        {
            state.live = None;
        }
    }

    async fn live(&self) -> Result<Arc<Live>, ConnectError> {
        // Held while connecting: whoever comes meanwhile gets the same connection, or refusal.
        let mut state = self.state.lock().await;
        let lost = self.lost.load(Ordering::Relaxed);
        if std::mem::replace(&mut state.lost, lost) != lost {
            state.live = None;
        }
        let found = self.found.load(Ordering::Relaxed);
        if std::mem::replace(&mut state.found, found) != found {
            state.refused = None;
        }
        if let Some(live) = &state.live
            && !live.is_closed()
        {
            return Ok(Arc::clone(live));
        }
        if let Some((at, error)) = &state.refused
            && at.elapsed() < REFUSE_FOR
        {
            return Err(error.clone());
        }
        match self.way.connect(None).await {
            Ok(live) => {
                state.refused = None;
                Ok(Arc::clone(state.live.insert(Arc::new(live))))
            }
            Err(error) => {
                state.live = None;
                state.refused = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

/// Whether an answer says that the server's role has changed: its name may lead elsewhere by now.
fn is_misled(value: &Value) -> bool {
    use ServerErrorKind::{BusyLoading, MasterDown, ReadOnly};
    let Value::ServerError(error) = value else {
        return false;
    };
    matches!(error.kind(), Some(BusyLoading | MasterDown | ReadOnly))
}

pub(super) fn meaning(error: &RedisError) -> StoreError {
    let reason = words(error);
    match error.kind() {
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => StoreError::Damaged(reason),
        _ if reason.starts_with("WRONGTYPE") => StoreError::Damaged(reason),
        _ => StoreError::Unreachable(reason),
    }
}
