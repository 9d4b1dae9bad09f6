//! What users may have under way at one moment, each of them and all together: requests, bytes of
//! bodies, open streams.
//!
//! One user's flood must not be everybody's. Who has too many requests under way waits in line for a
//! moment, before any of the body is read: a client that sends a few too many in parallel only gets
//! slower, and one that floods is slowed with every request it makes. Whoever cannot wait is refused.
//!
//! A request is under way until its answer was passed on whole or has become a stream; a stream is open
//! until its last byte was passed on. Whatever is counted is counted by a guard, and given back when
//! that is dropped, wherever that happens.

mod reading;
mod shares;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use crate::rejection::{Kind, Rejection};
use crate::vault::UserId;
use shares::{Entered, Over, Shares};

/// How long a request waits for another of its user to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bounds on what is under way at one moment, and on single bodies.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one body.
    pub body: usize,
    /// Bytes of all bodies that are being read or forwarded.
    pub in_flight: usize,
    /// The same of one user.
    pub user_in_flight: usize,
    /// Requests whose answers are not passed on yet.
    pub requests: usize,
    /// The same of one user; sixteen times as many wait in line.
    pub user_requests: usize,
    /// Open event streams.
    pub streams: usize,
    /// The same of one user.
    pub user_streams: usize,
    /// Bytes of the list of tools in one answer of a server with argument slots.
    pub list: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 << 20,
            in_flight: 1 << 30,
            user_in_flight: 128 << 20,
            requests: 4096,
            user_requests: 64,
            streams: 4096,
            user_streams: 128,
            list: 8 << 20,
        }
    }
}

/// Figures of one moment; counts are since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of bodies in flight.
    pub bytes: usize,
    /// Requests under way.
    pub requests: usize,
    /// Open streams.
    pub streams: usize,
    /// Requests that had to wait in line.
    pub waited: u64,
    /// Requests refused because one user had too much under way.
    pub refused: u64,
    /// Requests refused because all together had.
    pub overloaded: u64,
}

/// What is under way, and its bounds. Clones count together.
#[derive(Clone)]
pub struct Budget(Arc<Bounded>);

struct Bounded {
    limits: Limits,
    shares: Arc<Shares>,
}

/// A request under way or in line, until it is dropped.
pub(super) struct Turn {
    budget: Budget,
    user: UserId,
    /// Its number in line, if it had to wait.
    number: Option<u64>,
}

/// Bytes of bodies in flight, until they are dropped.
pub(super) struct Held {
    budget: Budget,
    user: UserId,
    counted: usize,
    /// Whether they were waited for.
    waited: bool,
}

/// An open stream, until it is dropped.
pub(super) struct Open {
    budget: Budget,
    user: UserId,
}

/// What an answer counts as until it was passed on.
pub(super) enum Counted {
    /// An answer: its request is under way still.
    Request(#[expect(dead_code, reason = "counts while it is there")] Turn),
    /// What is held of it alone: no request is under way for it.
    Held(#[expect(dead_code, reason = "counts while it is there")] Held),
    /// A stream.
    Stream(#[expect(dead_code, reason = "counts while it is there")] Open),
}

impl Budget {
    /// With nothing under way.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Bounded {
            limits,
            shares: Arc::default(),
        }))
    }

    /// The same counts within other bounds, for what begins from now on.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        let shares = self.0.shares.clone();
        Self(Arc::new(Bounded { limits, shares }))
    }

    /// What is under way, and what came of it so far.
    #[must_use]
    pub fn figures(&self) -> Usage {
        let Shares { all, counts, .. } = &*self.0.shares;
        Usage {
            bytes: all.bytes.load(Ordering::Relaxed),
            requests: all.requests.load(Ordering::Relaxed),
            streams: all.streams.load(Ordering::Relaxed),
            waited: counts.waited.load(Ordering::Relaxed),
            refused: counts.refused.load(Ordering::Relaxed),
            overloaded: counts.overloaded.load(Ordering::Relaxed),
        }
    }

    /// Bytes the list of tools in an answer may have.
    pub(super) fn list_max(&self) -> usize {
        self.0.limits.list
    }

    /// Lets a request of this user begin, if it must after a wait in line. `most` is how many of his may
    /// be under way, where that is not what everybody's may.
    ///
    /// # Errors
    /// Too much under way for too long.
    pub(super) async fn enter(&self, user: UserId, most: Option<u32>) -> Result<Turn, Rejection> {
        let (mut limits, shares) = (self.0.limits, &self.0.shares);
        if let Some(most) = most {
            limits.user_requests = most as usize;
        }
        match shares.enter(&user, &limits) {
            Ok(Entered::Now) => Ok(self.turn(user, None)),
            Ok(Entered::InLine(number, called)) => {
                // Dropped before it is called, it leaves the line.
                let turn = self.turn(user, Some(number));
                let called = timeout(PATIENCE, called).await;
                let called = called.is_ok_and(|called| called.is_ok());
                called
                    .then_some(turn)
                    .ok_or_else(|| self.refuse_within(Over::Requests, &limits))
            }
            Err(over) => Err(self.refuse_within(over, &limits)),
        }
    }

    /// Counts no bytes yet.
    pub(super) fn hold(&self, user: UserId) -> Held {
        Held {
            budget: self.clone(),
            user,
            counted: 0,
            waited: false,
        }
    }

    /// Whether one more stream of this user would be let through: for a request that may be answered by
    /// one. So many such requests as may be under way can pass here together, and no more.
    ///
    /// # Errors
    /// Too many are open.
    pub(super) fn may_open(&self, user: UserId) -> Result<(), Rejection> {
        let (limits, shares) = (&self.0.limits, &self.0.shares);
        let may = shares.may_open(&user, limits);
        may.map_err(|over| self.refuse(over))
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// Too many are open.
    pub(super) fn open(&self, user: UserId) -> Result<Open, Rejection> {
        let (limits, shares) = (&self.0.limits, &self.0.shares);
        let opened = shares.open(&user, limits);
        opened.map_err(|over| self.refuse(over))?;
        Ok(self.opened(user))
    }

    /// Counts a stream the backend has opened, to whoever was let through by [`Budget::may_open`].
    pub(super) fn open_answer(&self, user: UserId) -> Open {
        self.0.shares.open_answer(&user);
        self.opened(user)
    }

    fn opened(&self, user: UserId) -> Open {
        let budget = self.clone();
        Open { budget, user }
    }

    fn turn(&self, user: UserId, number: Option<u64>) -> Turn {
        let budget = self.clone();
        Turn {
            budget,
            user,
            number,
        }
    }

    /// The refusal of what would be too much.
    fn refuse(&self, over: Over) -> Rejection {
        self.refuse_within(over, &self.0.limits)
    }

    fn refuse_within(&self, over: Over, limits: &Limits) -> Rejection {
        let counts = &self.0.shares.counts;
        let what = match over {
            Over::All(setting) => {
                counts.overloaded.fetch_add(1, Ordering::Relaxed);
                let text = format!(
                    "too much is under way (the operator's `limits.{setting}`): try again in a moment"
                );
                return Rejection::with_text(Kind::Overloaded, text);
            }
            Over::Bytes => format!(
                "your requests under way have more than {} bytes together, the operator's \
                 `limits.user_in_flight`: wait for an answer before you send more",
                limits.user_in_flight
            ),
            Over::Requests => format!(
                "you have {} requests under way, which is your limit (`limits.user_requests`, or your \
                 own): wait for an answer before you send more",
                limits.user_requests
            ),
            Over::Streams => format!(
                "you have {} streams open, the operator's `limits.user_streams`: close one before you \
                 open more",
                limits.user_streams
            ),
        };
        counts.refused.fetch_add(1, Ordering::Relaxed);
        Rejection::with_text(Kind::TooManyRequests, what)
    }
}

impl Turn {
    /// Whether it was waited for.
    pub(super) fn was_waited_for(&self) -> bool {
        self.number.is_some()
    }
}

impl Held {
    /// Whether they were waited for.
    pub(super) fn were_waited_for(&self) -> bool {
        self.waited
    }

    /// Counts more.
    ///
    /// # Errors
    /// That would be too much. It is counted nevertheless, until this is dropped.
    pub(super) fn count(&mut self, bytes: usize) -> Result<(), Rejection> {
        let Bounded { limits, shares } = &*self.budget.0;
        self.counted += bytes;
        let taken = shares.take_bytes(&self.user, bytes, limits);
        taken.map_err(|over| self.budget.refuse(over))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.counted > 0 {
            self.budget.0.shares.give_bytes(&self.user, self.counted);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.budget.0.shares.leave(&self.user, self.number);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.budget.0.shares.close(&self.user);
    }
}
