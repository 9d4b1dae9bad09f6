//! A connection shared by many, made again after a failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{ErrorKind, FromRedisValue, Pipeline, RedisError, ServerErrorKind};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::link::{ConnectError, Live, Target, words};
use crate::store::StoreError;

/// After a failed attempt others fail at once for so long: a herd must not wait in a queue, each for
/// a timeout of its own.
const REFUSE_FOR: Duration = Duration::from_millis(250);

/// Why a request on a [`Line`] failed.
pub(super) struct Failed {
    pub(super) error: StoreError,
    /// The server wants to be told the script's text.
    pub(super) unknown_script: bool,
}

/// One connection shared by many.
pub(super) struct Line {
    target: Target,
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
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            lost: AtomicU64::new(0),
            found: AtomicU64::new(0),
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
        match self.target.connect(None).await {
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
