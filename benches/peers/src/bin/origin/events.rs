//! When which stream gets its next event. All have the same interval, so a queue is always in order.

use std::collections::VecDeque;
use std::time::Duration;

use cloakroom_peers::clock;

/// An event to be sent.
#[derive(Clone, Copy)]
pub struct Due {
    /// When, by the monotonic clock.
    pub at: u64,
    /// The connection's place.
    pub slot: usize,
    /// Which of the connections that had this place.
    pub serial: u64,
}

/// What is due when.
pub struct Schedule {
    interval: u64,
    together: bool,
    queue: VecDeque<Due>,
}

impl Schedule {
    /// Nothing is due yet. `together`, all streams have their events at the same moments.
    pub fn new(interval: Duration, together: bool) -> Self {
        Self {
            interval: clock::nanos(interval),
            together,
            queue: VecDeque::new(),
        }
    }

    /// How long to wait for the next.
    pub fn wait(&self, now: u64) -> Option<u64> {
        self.queue.front().map(|due| due.at.saturating_sub(now))
    }

    /// The next that is due.
    pub fn due(&mut self, now: u64) -> Option<Due> {
        self.queue.pop_front_if(|due| due.at <= now)
    }

    /// A stream begins.
    pub fn begin(&mut self, slot: usize, serial: u64, now: u64) {
        let since = if self.together {
            now % self.interval
        } else {
            0
        };
        let at = now - since + self.interval;
        self.queue.push_back(Due { at, slot, serial });
    }

    /// A stream goes on: late events do not make later ones late, unless the origin is overwhelmed.
    pub fn again(&mut self, due: Due) {
        let last = self.queue.back().map_or(0, |last| last.at);
        let at = (due.at + self.interval).max(last);
        self.queue.push_back(Due { at, ..due });
    }
}
