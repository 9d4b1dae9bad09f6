//! A histogram that threads observe into without a lock; the library's own takes one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// How long things took, counted by upper bounds in seconds. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Durations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: &'static [f64],
    /// One for each bound, and one for what is above all of them.
    counts: Box<[AtomicU64]>,
    micros: AtomicU64,
}

impl Durations {
    /// None yet; `bounds` are upper bounds in seconds, rising.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner {
            bounds,
            counts,
            micros: AtomicU64::new(0),
        }))
    }

    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let Inner {
            bounds,
            counts,
            micros,
        } = &*self.0;
        let seconds = took.as_secs_f64();
        let at = bounds.partition_point(|bound| *bound < seconds);
        counts[at].fetch_add(1, Ordering::Relaxed);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        micros.fetch_add(took, Ordering::Relaxed);
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Inner {
            bounds,
            counts,
            micros,
        } = &*self.0;
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        // The sum of what is shown, not of what was counted meanwhile: a page is consistent in itself.
        let total = buckets.iter().map(|(_, count)| count).sum();
        let sum = micros.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, total, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
