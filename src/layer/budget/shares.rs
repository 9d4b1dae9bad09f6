//! The counts: of all, and of each user who has something under way.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use super::Limits;
use crate::vault::UserId;

/// Users are spread over so many maps, so that cores seldom meet at a lock.
const SHARDS: usize = 64;
/// Requests in line for each that may be under way. More than a client sends by mistake: one that is
/// refused at once asks again at once.
const LINE: usize = 16;

/// What would be too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Of all users together; the name of the setting.
    All(&'static str),
    /// Bytes of one user.
    Bytes,
    /// Requests of one user.
    Requests,
    /// Streams of one user.
    Streams,
}

/// How a request begins.
pub(super) enum Entered {
    Now,
    /// Once this is sent; by its number it may leave the line before.
    InLine(u64, oneshot::Receiver<()>),
}

/// All that is counted.
pub(super) struct Shares {
    pub(super) all: Totals,
    pub(super) counts: Counts,
    users: [Mutex<Users>; SHARDS],
}

/// What all users have under way.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) bytes: AtomicUsize,
    pub(super) requests: AtomicUsize,
    pub(super) streams: AtomicUsize,
}

/// What came of requests, since the start.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) waited: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) overloaded: AtomicU64,
}

/// Those who have something under way, and nobody else.
type Users = HashMap<UserId, Share, RandomState>;

/// What one user has under way.
#[derive(Default)]
struct Share {
    bytes: usize,
    requests: usize,
    streams: usize,
    /// By their numbers, which grow.
    line: BTreeMap<u64, Waiting>,
}

/// A request in line.
struct Waiting {
    /// How many of its user may be under way once it is: a reload may have changed it since those began.
    most: usize,
    call: oneshot::Sender<()>,
}

impl Share {
    fn is_idle(&self) -> bool {
        self.bytes == 0 && self.requests == 0 && self.streams == 0 && self.line.is_empty()
    }
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            all: Totals::default(),
            counts: Counts::default(),
            users: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Shares {
    /// Begins a request, or puts it in line.
    pub(super) fn enter(&self, user: &UserId, limits: &Limits) -> Result<Entered, Over> {
        self.of(user, |share| {
            if share.requests < limits.user_requests {
                take(&self.all.requests, 1, limits.requests, "requests")?;
                share.requests += 1;
                return Ok(Entered::Now);
            }
            let most = limits.user_requests.saturating_mul(LINE);
            if share.line.len() >= most {
                return Err(Over::Requests);
            }
            let number = self.counts.waited.fetch_add(1, Ordering::Relaxed);
            let (call, called) = oneshot::channel();
            let most = limits.user_requests;
            share.line.insert(number, Waiting { most, call });
            Ok(Entered::InLine(number, called))
        })
    }

    /// Takes a request out of the line, if it waits there by this number still. If not, it is under way:
    /// ends it, or hands its place to the first in line who may have it.
    pub(super) fn leave(&self, user: &UserId, number: Option<u64>) {
        let next = self.of(user, |share| {
            if number.is_some_and(|number| share.line.remove(&number).is_some()) {
                return None;
            }
            // Too many are under way for some who wait when the bound was lowered, or their key has another.
            let mut line = share.line.iter();
            let first = line.find(|(_, waiting)| share.requests <= waiting.most);
            if let Some(number) = first.map(|(number, _)| *number) {
                return share.line.remove(&number);
            }
            share.requests -= 1;
            self.all.requests.fetch_sub(1, Ordering::Relaxed);
            None
        });
        if let Some(next) = next {
            // Whoever gives up now is not in line any more, so he hands it on himself.
            let _ = next.call.send(());
        }
    }

    /// Counts bytes, also when they are too many.
    pub(super) fn take_bytes(
        &self,
        user: &UserId,
        bytes: usize,
        limits: &Limits,
    ) -> Result<(), Over> {
        let all = self.all.bytes.fetch_add(bytes, Ordering::Relaxed);
        let own = self.of(user, |share| {
            share.bytes += bytes;
            share.bytes
        });
        if own > limits.user_in_flight {
            Err(Over::Bytes)
        } else if all.saturating_add(bytes) > limits.in_flight {
            Err(Over::All("in_flight"))
        } else {
            Ok(())
        }
    }

    pub(super) fn give_bytes(&self, user: &UserId, bytes: usize) {
        self.all.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.of(user, |share| share.bytes -= bytes);
    }

    /// Whether there is room for one more stream.
    pub(super) fn may_open(&self, user: &UserId, limits: &Limits) -> Result<(), Over> {
        if self.all.streams.load(Ordering::Relaxed) >= limits.streams {
            return Err(Over::All("streams"));
        }
        let open = self.of(user, |share| share.streams);
        if open < limits.user_streams {
            Ok(())
        } else {
            Err(Over::Streams)
        }
    }

    /// Counts a stream if there is room.
    pub(super) fn open(&self, user: &UserId, limits: &Limits) -> Result<(), Over> {
        self.of(user, |share| {
            if share.streams >= limits.user_streams {
                return Err(Over::Streams);
            }
            take(&self.all.streams, 1, limits.streams, "streams")?;
            share.streams += 1;
            Ok(())
        })
    }

    /// Counts a stream.
    pub(super) fn open_answer(&self, user: &UserId) {
        self.all.streams.fetch_add(1, Ordering::Relaxed);
        self.of(user, |share| share.streams += 1);
    }

    pub(super) fn close(&self, user: &UserId) {
        self.all.streams.fetch_sub(1, Ordering::Relaxed);
        self.of(user, |share| share.streams -= 1);
    }

    /// How many users have something under way.
    #[cfg(test)]
    pub(super) fn users(&self) -> usize {
        let locked = |users: &Mutex<Users>| lock(users).len();
        self.users.iter().map(locked).sum()
    }

    /// Looks at the share of a user, or changes it. Who then has nothing under way is forgotten.
    fn of<T>(&self, user: &UserId, look: impl FnOnce(&mut Share) -> T) -> T {
        // Ids are random, and nobody chooses his.
        let shard = usize::from(user.as_bytes()[0]) % SHARDS;
        match lock(&self.users[shard]).entry(*user) {
            Entry::Occupied(mut share) => {
                let seen = look(share.get_mut());
                if share.get().is_idle() {
                    share.remove();
                }
                seen
            }
            Entry::Vacant(place) => {
                let mut share = Share::default();
                let seen = look(&mut share);
                if !share.is_idle() {
                    place.insert(share);
                }
                seen
            }
        }
    }
}

fn lock(users: &Mutex<Users>) -> MutexGuard<'_, Users> {
    users.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts `more`, unless that would be more than `most`.
fn take(count: &AtomicUsize, more: usize, most: usize, setting: &'static str) -> Result<(), Over> {
    if count.fetch_add(more, Ordering::Relaxed) + more > most {
        count.fetch_sub(more, Ordering::Relaxed);
        return Err(Over::All(setting));
    }
    Ok(())
}
