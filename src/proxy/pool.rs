//! Idle connections of one core, each for one user, server and profile.
//!
//! A connection is never shared between users, not even one after the other: a backend that writes
//! one answer too many would hand it to whoever comes next (measured with a connection pool keyed by
//! address: half of all requests).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::yield_now;

use super::backend::Sender;
use crate::names::{ProfileName, ServerName};
use crate::vault::UserId;

/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(4);

/// Whom a connection serves: all of it, always.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub(super) user: UserId,
    pub(super) server: ServerName,
    pub(super) profile: ProfileName,
}

struct Idle {
    sender: Sender,
    since: Instant,
}

/// The idle connections of one core.
#[derive(Clone)]
pub(super) struct Pool {
    idle: Arc<Mutex<HashMap<Owner, Idle>>>,
    /// How many there may be; the one idle longest makes room.
    most: usize,
}

impl Pool {
    pub(super) fn new(most: usize) -> Self {
        let idle = Arc::default();
        Self { idle, most }
    }

    /// The owner's idle connection, if it is still good.
    ///
    /// It is not if the request before this was answered early and its body is not written yet: a
    /// backend that reads no more of it would never read what comes after.
    pub(super) async fn take(&self, owner: &Owner) -> Option<Sender> {
        let idle = self.lock().remove(owner)?;
        let sender = idle.sender;
        if idle.since.elapsed() >= IDLE || sender.is_closed() {
            return None;
        }
        if !sender.is_ready() {
            // Its task may not have come round since the answer ended.
            yield_now().await;
        }
        sender.is_ready().then_some(sender)
    }

    fn put(&self, owner: Owner, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.lock();
        if idle.len() >= self.most && !idle.contains_key(&owner) {
            let oldest = idle
                .iter()
                .min_by_key(|(_, idle)| idle.since)
                .map(|(owner, _)| owner.clone());
            if let Some(oldest) = oldest {
                idle.remove(&oldest);
            }
        }
        idle.insert(
            owner,
            Idle {
                sender,
                since: Instant::now(),
            },
        );
    }

    /// Closes what was idle for too long.
    pub(super) fn sweep(&self) {
        self.lock()
            .retain(|_, idle| idle.since.elapsed() < IDLE && !idle.sender.is_closed());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of a backend's answer. When it was read to its end, the connection becomes idle; when
/// not, the connection is closed: what is left on it belongs to nobody.
pub struct Pooled {
    body: Incoming,
    lease: Option<Lease>,
}

struct Lease {
    pool: Pool,
    owner: Owner,
    sender: Sender,
}

impl Pooled {
    pub(super) fn new(body: Incoming, pool: Pool, owner: Owner, sender: Sender) -> Self {
        Self {
            body,
            lease: Some(Lease {
                pool,
                owner,
                sender,
            }),
        }
    }

    /// The last body on its connection, which ends with it.
    pub(super) fn last(body: Incoming) -> Self {
        Self { body, lease: None }
    }

    fn give_back(&mut self) {
        if let Some(Lease {
            pool,
            owner,
            sender,
        }) = self.lease.take()
        {
            pool.put(owner, sender);
        }
    }
}

impl Body for Pooled {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Err(_))) => self.lease = None,
            Poll::Ready(None) => self.give_back(),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        // Whoever knows the length stops at the last byte and never asks for the end.
        if self.body.is_end_stream() {
            self.give_back();
        }
    }
}
