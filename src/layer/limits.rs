//! How much of clients' bodies is held at one moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;

use crate::rejection::{Kind, Rejection};

/// Bounds on bodies of requests, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// One body.
    pub body: usize,
    /// All bodies that are being read or forwarded.
    pub in_flight: usize,
    /// The list of tools in one answer of a server with argument slots.
    pub list: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 << 20,
            in_flight: 1 << 30,
            list: 8 << 20,
        }
    }
}

/// What is held of all bodies together.
#[derive(Clone)]
pub(super) struct Budget {
    used: Arc<AtomicUsize>,
    limits: Limits,
    /// How long one body may take to arrive.
    patience: Duration,
}

/// A body that counts against the budget until it is dropped.
pub(super) struct Held {
    budget: Budget,
    counted: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

impl Held {
    fn count(&mut self, bytes: usize) -> Result<(), Rejection> {
        let used = self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        self.counted += bytes;
        if used.saturating_add(bytes) > self.budget.limits.in_flight {
            return Err(Rejection::new(Kind::Overloaded));
        }
        Ok(())
    }
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self::counting(Arc::default(), limits)
    }

    /// The same budget, of which what is held already is held, with other limits.
    pub(super) fn with_limits(&self, limits: Limits) -> Self {
        Self::counting(self.used.clone(), limits)
    }

    fn counting(used: Arc<AtomicUsize>, limits: Limits) -> Self {
        Self {
            used,
            limits,
            // Whoever sends a byte now and then would hold a connection and memory for ever.
            patience: Duration::from_secs(30 + (limits.body >> 20) as u64),
        }
    }

    /// Bytes the list of tools in an answer may have.
    pub(super) fn list_max(&self) -> usize {
        self.limits.list
    }

    /// Reads a body whole, if it arrives in time.
    ///
    /// # Errors
    /// Larger than the limit, too much held already, or not arrived whole.
    pub(super) async fn read_in_time<B: Body>(&self, body: B) -> Result<(Bytes, Held), Rejection> {
        let read = tokio::time::timeout(self.patience, self.read(body)).await;
        read.unwrap_or_else(|_| Err(Rejection::new(Kind::BodyUnreadable)))
    }

    /// Reads a body whole. Trailers are dropped: one could carry what no header may.
    ///
    /// # Errors
    /// Larger than the limit, too much held already, or not arrived whole.
    async fn read<B: Body>(&self, body: B) -> Result<(Bytes, Held), Rejection> {
        let max = self.limits.body;
        let too_large = || Rejection::new(Kind::BodyTooLarge);
        if body.size_hint().lower() > max as u64 {
            return Err(too_large());
        }
        let mut held = Held {
            budget: self.clone(),
            counted: 0,
        };
        let mut body = std::pin::pin!(body);
        let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Rejection::new(Kind::BodyUnreadable))?;
            let Ok(mut data) = frame.into_data() else {
                continue;
            };
            let len = data.remaining();
            if first.len() + rest.len() + len > max {
                return Err(too_large());
            }
            held.count(len)?;
            if first.is_empty() && rest.is_empty() {
                first = data.copy_to_bytes(len);
            } else {
                // Only a body in several pieces is copied.
                if rest.is_empty() {
                    rest.extend_from_slice(&std::mem::take(&mut first));
                }
                rest.extend_from_slice(&data.copy_to_bytes(len));
            }
        }
        let whole = if rest.is_empty() {
            first
        } else {
            rest.freeze()
        };
        Ok((whole, held))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use futures_util::{FutureExt as _, StreamExt as _};
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn pieces(list: &[&'static str]) -> impl Body<Data = Bytes> {
        let frames: Vec<_> = list
            .iter()
            .map(|piece| Ok::<_, std::io::Error>(Frame::data(Bytes::from(*piece))))
            .collect();
        StreamBody::new(stream::iter(frames))
    }

    fn read<B: Body>(budget: &Budget, body: B) -> Result<(Bytes, Held), Kind> {
        budget
            .read(body)
            .now_or_never()
            .unwrap()
            .map_err(|rejection| rejection.kind())
    }

    #[test]
    fn bodies_are_held_to_the_limit_exactly() {
        let budget = Budget::new(Limits {
            body: 4,
            in_flight: 6,
            ..Limits::default()
        });
        assert_eq!(read(&budget, pieces(&["ab", "cd"])).ok().unwrap().0, "abcd");
        assert_eq!(
            read(&budget, pieces(&["ab", "cde"])).err(),
            Some(Kind::BodyTooLarge)
        );
        assert_eq!(
            read(&budget, Full::new(Bytes::from("abcde"))).err(),
            Some(Kind::BodyTooLarge)
        );
        assert_eq!(read(&budget, pieces(&[])).ok().unwrap().0, "");
    }

    #[test]
    fn what_is_held_counts_until_it_is_dropped() {
        let budget = Budget::new(Limits {
            body: 4,
            in_flight: 6,
            ..Limits::default()
        });
        let (_, held) = read(&budget, pieces(&["abc"])).ok().unwrap();
        let (_, second) = read(&budget, pieces(&["abc"])).ok().unwrap();
        assert_eq!(read(&budget, pieces(&["a"])).err(), Some(Kind::Overloaded));
        drop(held);
        assert!(read(&budget, pieces(&["abc"])).is_ok());
        drop(second);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_not_waited_for_and_not_counted_any_more() {
        let mut budget = Budget::new(Limits {
            body: 4,
            in_flight: 6,
            ..Limits::default()
        });
        budget.patience = Duration::from_millis(1);
        let first = stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from("ab")))]);
        let endless = StreamBody::new(first.chain(stream::pending()));
        let refused = budget.read_in_time(endless).await.err().unwrap();
        assert_eq!(refused.kind(), Kind::BodyUnreadable);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
        let whole = budget.read_in_time(pieces(&["ab"])).await;
        assert_eq!(whole.ok().unwrap().0, "ab");
    }
}
