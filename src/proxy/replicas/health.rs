//! Whether one of several replicas is tried: what its last connections said, on a given instant.

use std::time::{Duration, Instant};

/// How long it is left alone after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// And at most.
const LONGEST: Duration = Duration::from_secs(30);

/// What is known of one replica.
#[derive(Debug, Default)]
pub(super) struct Health {
    down: Option<Down>,
    /// Changes whenever it goes down or comes back: what began before says nothing of it since.
    age: u64,
    /// Its active checks fail, and only they bring it back.
    failing_checks: bool,
}

#[derive(Debug)]
struct Down {
    wait: Duration,
    /// When one request may try it.
    next: Instant,
}

/// A leave to try a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leave {
    age: u64,
    /// It was down, and this is to find out whether it still is.
    pub(super) trial: bool,
}

impl Health {
    /// Whether nothing is known against it.
    pub(super) fn is_up(&self) -> bool {
        self.down.is_none() && !self.failing_checks
    }

    /// Leave to try it now, if it is up or it is time for a trial. One that is down gets one trial at a
    /// time, and another after the same wait should nothing be heard of this one.
    pub(super) fn admit(&mut self, now: Instant) -> Option<Leave> {
        if self.failing_checks {
            return None;
        }
        let age = self.age;
        let Some(down) = &mut self.down else {
            return Some(Leave { age, trial: false });
        };
        if now < down.next {
            return None;
        }
        down.next = now + down.wait;
        Some(Leave { age, trial: true })
    }

    /// No connection came about: it is left alone, twice as long each time. Connections that fail at
    /// once count once. Whether it was up before.
    pub(super) fn failed(&mut self, leave: Leave, now: Instant) -> bool {
        if leave.age != self.age {
            return false;
        }
        let was_up = self.is_up();
        let wait = self.down.as_ref().map_or(FIRST, |down| down.wait * 2);
        let wait = wait.min(LONGEST);
        self.down = Some(Down {
            wait,
            next: now + wait,
        });
        self.age += 1;
        was_up
    }

    /// A connection came about. Whether it was down before.
    pub(super) fn succeeded(&mut self) -> bool {
        let was_down = self.down.take().is_some();
        self.age += u64::from(was_down);
        was_down && !self.failing_checks
    }

    /// Its active checks pass from now on, or fail. Whether that is news.
    #[cfg(any(test, feature = "pingora-lb"))]
    pub(super) fn checked(&mut self, well: bool) -> bool {
        let was_up = self.is_up();
        self.failing_checks = !well;
        if well {
            self.down = None;
        }
        self.age += 1;
        was_up != well
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(1);

    // Mutations: no `min`; `wait * 2` once; no `down.next` in `admit`.
    #[test]
    fn one_that_fails_is_left_alone_longer_and_longer() {
        let mut health = Health::default();
        let mut now = Instant::now();
        let leave = health.admit(now).unwrap();
        assert!(!leave.trial && health.failed(leave, now) && !health.is_up());
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let wait = Duration::from_secs(seconds);
            assert_eq!(health.admit(now + wait - TICK), None, "{seconds}");
            now += wait;
            let trial = health.admit(now).unwrap();
            assert!(trial.trial);
            // One at a time, until the same wait has passed in silence.
            assert_eq!(health.admit(now + wait - TICK), None);
            assert!(!health.failed(trial, now));
        }
        assert!(health.succeeded() && health.is_up());
        let leave = health.admit(now).unwrap();
        health.failed(leave, now);
        let after_a_second = health.admit(now + Duration::from_secs(1));
        assert!(after_a_second.is_some_and(|leave| leave.trial));
    }

    // Mutation: `failed` does not look at the age.
    #[test]
    fn what_fails_at_once_counts_once() {
        let mut health = Health::default();
        let now = Instant::now();
        let leaves = [(); 9].map(|()| health.admit(now).unwrap());
        let went_down = leaves.map(|leave| health.failed(leave, now));
        assert_eq!(went_down.iter().filter(|went| **went).count(), 1);
        let trial = health.admit(now + Duration::from_secs(1));
        assert!(trial.is_some());
        // Nor does one that began before it came back.
        assert!(health.succeeded() && !health.failed(trial.unwrap(), now) && health.is_up());
        assert!(!health.succeeded());
    }

    #[test]
    fn what_fails_its_checks_is_not_tried_until_it_passes_them() {
        let mut health = Health::default();
        let now = Instant::now();
        assert!(health.checked(false) && !health.checked(false));
        assert_eq!(health.admit(now + LONGEST), None);
        assert!(!health.succeeded() && !health.is_up());
        assert!(health.checked(true) && health.is_up());
        let leave = health.admit(now).unwrap();
        assert!(health.failed(leave, now) && health.checked(true) && health.is_up());
    }
}
