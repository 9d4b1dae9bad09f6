//! When the next request is sent, and by whom.

use std::collections::VecDeque;

/// How requests follow each other.
pub enum Pace {
    /// A connection sends its next when it has the answer to its last.
    Closed,
    /// So many nanoseconds apart, whatever the answers do: latency counts from the moment a request should
    /// have been sent, so that those a stall holds up are not left out.
    Rate {
        /// Between two requests.
        interval: u64,
        /// When the next is to be sent.
        next: u64,
    },
    /// As `Closed`, but each request has the key of another user, until all have been used.
    EachUser {
        /// The next user.
        next: usize,
        /// How many there are.
        count: usize,
    },
}

/// The connections that wait for something to do, the longest first.
pub struct Turn {
    /// How requests follow each other.
    pub pace: Pace,
    free: VecDeque<usize>,
}

impl Turn {
    /// All of `connections` are free.
    pub fn new(pace: Pace, connections: usize) -> Self {
        Self {
            pace,
            free: (0..connections).collect(),
        }
    }

    /// A connection has its answer.
    pub fn release(&mut self, connection: usize) {
        self.free.push_back(connection);
    }

    /// Whether nothing is left to be sent.
    pub fn is_over(&self) -> bool {
        matches!(self.pace, Pace::EachUser { next, count } if next == count)
    }

    /// Which connection sends now, from when its latency counts, and as whom if not as itself.
    pub fn next(&mut self, now: u64) -> Option<(usize, u64, Option<usize>)> {
        let connection = *self.free.front()?;
        let (since, user) = match &mut self.pace {
            Pace::Closed => (now, None),
            Pace::Rate { next, .. } if *next > now => return None,
            Pace::Rate { interval, next } => {
                let due = *next;
                *next += *interval;
                (due, None)
            }
            Pace::EachUser { next, count } if next == count => return None,
            Pace::EachUser { next, .. } => {
                *next += 1;
                (now, Some(*next - 1))
            }
        };
        self.free.pop_front();
        Some((connection, since, user))
    }

    /// How long to wait before a request has to be sent.
    pub fn wait(&self, now: u64) -> Option<u64> {
        match self.pace {
            Pace::Rate { next, .. } if !self.free.is_empty() => Some(next.saturating_sub(now)),
            _ => None,
        }
    }
}
