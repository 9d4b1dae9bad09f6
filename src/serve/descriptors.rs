//! What file descriptors are used for, so that none is missing where it matters.

use crate::sys;

/// Kept for the store, listeners, probers, files and look-ups of names, and for each thread.
const KEPT: usize = 64;
const KEPT_FOR_A_THREAD: usize = 8;

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptors {
    /// Of clients.
    pub(super) connections: usize,
    /// To backends, idle, of one thread.
    pub(super) idle_backends: usize,
}

/// As many as the system gives, or as are wanted if these are fewer.
pub(super) fn divide(wanted: Option<usize>, threads: usize) -> Descriptors {
    let limit = sys::raise_descriptors();
    let divided = within(limit, wanted, threads);
    if let Some(wanted) = wanted.filter(|wanted| *wanted > divided.connections) {
        let connections = divided.connections;
        tracing::warn!(
            wanted,
            connections,
            limit,
            "limits.connections is more than the file descriptors of this process allow (ulimit -n)"
        );
    }
    divided
}

/// A third for clients, a third for backends they wait for, a third for idle ones.
fn within(limit: usize, wanted: Option<usize>, threads: usize) -> Descriptors {
    let third = limit.saturating_sub(KEPT + KEPT_FOR_A_THREAD * threads) / 3;
    Descriptors {
        connections: wanted.unwrap_or(third).min(third).max(1),
        idle_backends: (third / threads).clamp(1, 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_fit_into_the_limit() {
        for (limit, wanted, threads, connections, idle_backends) in [
            (256, None, 2, 58, 29),
            (1024, None, 2, 314, 157),
            (1024, Some(100), 2, 100, 157),
            (1024, Some(1000), 2, 314, 157),
            (1 << 20, None, 8, 349_482, 1024),
            (16, None, 2, 1, 1),
        ] {
            let expected = Descriptors {
                connections,
                idle_backends,
            };
            assert_eq!(within(limit, wanted, threads), expected, "{limit}");
        }
    }
}
