//! How much of something may be done in a while: some at once, and then so much a second.

use std::time::Instant;

/// A bucket of tokens.
pub(super) struct Allowance {
    most: u32,
    per_second: u32,
    left: f64,
    at: Instant,
}

impl Allowance {
    pub(super) fn new(most: u32, per_second: u32, now: Instant) -> Self {
        Self {
            most,
            per_second,
            left: most.into(),
            at: now,
        }
    }

    /// How many are left.
    pub(super) fn left(&mut self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = f64::min(
            self.left + passed * f64::from(self.per_second),
            self.most.into(),
        );
        self.at = self.at.max(now);
        // Rounds down.
        self.left as u32
    }

    /// Takes `many`, or all that are left.
    pub(super) fn take(&mut self, many: usize) {
        self.left = f64::max(self.left - many as f64, 0.0);
    }
}
