//! What the reader of a connection and the service that answers it tell each other.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Response, Uri};
use tokio::time::Instant;

use super::fault::Fault;
use crate::rejection::{Kind, Rejection};
use crate::sys::Tick;

/// What the HTTP library gets in place of a request that is refused. No client's request has this
/// target: it is refused itself.
pub(super) const SUBSTITUTE: &[u8] =
    b"OPTIONS * HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// One per connection, shared by its two ends.
#[derive(Clone)]
pub struct Line(Arc<Shared>);

struct Shared {
    opened: Instant,
    /// The same for less, some milliseconds before.
    opened_at: Tick,
    fault: OnceLock<Fault>,
    /// Requests that are being answered.
    busy: AtomicUsize,
    /// When the last one had been, in milliseconds since `opened_at`.
    done: AtomicU64,
}

impl Line {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            opened: Instant::now(),
            opened_at: Tick::last(),
            fault: OnceLock::new(),
            busy: AtomicUsize::new(0),
            done: AtomicU64::new(0),
        }))
    }

    pub(super) fn opened(&self) -> Instant {
        self.0.opened
    }

    pub(super) fn refuse(&self, fault: Fault) {
        // The first one ends the connection.
        let _ = self.0.fault.set(fault);
    }

    /// Whether something is being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.0.busy.load(Ordering::Relaxed) > 0
    }

    /// Since when nothing is being answered; `None` while something is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let done = Duration::from_millis(self.0.done.load(Ordering::Relaxed));
        (!self.is_busy()).then(|| self.0.opened + done)
    }

    /// What is answered to a request with this target, if it stands for one that is refused.
    #[must_use]
    pub fn refusal(&self, target: &Uri) -> Option<Rejection> {
        let fault = self.0.fault.get().filter(|_| target.path() == "*");
        fault.map(|fault| fault.rejection())
    }

    /// The answer, with the reason in it if it only says that the body broke off.
    #[must_use]
    pub fn explain<B>(
        &self,
        response: Response<B>,
        own: impl FnOnce(Rejection) -> Response<B>,
    ) -> Response<B> {
        let rejection = response.extensions().get::<Rejection>();
        let broke_off = rejection.is_some_and(|rejection| rejection.kind() == Kind::BodyUnreadable);
        match self.0.fault.get() {
            Some(fault) if broke_off => own(fault.rejection()),
            _ => response,
        }
    }

    /// To be held for as long as a request is being answered: the client owes nothing meanwhile.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.0.clone())
    }
}

/// A request is being answered.
pub struct Busy(Arc<Shared>);

impl Drop for Busy {
    fn drop(&mut self) {
        let since = Tick::last().millis_since(self.0.opened_at);
        self.0.done.store(since, Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
