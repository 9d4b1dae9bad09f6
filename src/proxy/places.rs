//! So many connections may be open and no more, lest their descriptors are missing elsewhere: for
//! backends, the store, probers. When all places are taken, the connection that was idle longest makes
//! room for the next; while none is idle the next waits, which costs nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::sys::Tick;

/// How long a connection must be idle to make room: one that was just accepted may have sent its first
/// request, and nobody has read it yet. How often it is looked for one, too.
const AGAIN: Duration = Duration::from_millis(100);

/// The places there are.
pub(super) struct Places {
    most: usize,
    since: Tick,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    next: u64,
    seats: HashMap<u64, Arc<Seat>>,
}

struct Seat {
    /// Requests whose answers are not written yet.
    busy: AtomicUsize,
    /// Milliseconds from the start to the end of the last of them.
    idle_since: AtomicU64,
    asked: AtomicBool,
    leave: Notify,
}

/// The place of one connection, until it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    seat: Arc<Seat>,
}

/// A request of a connection, until it is dropped.
pub(super) struct Busy {
    places: Arc<Places>,
    seat: Arc<Seat>,
}

/// A request that does not keep its connection from making room, until this is dropped.
pub(super) struct Resting(Arc<Seat>);

impl Places {
    /// So many, at least one.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most.max(1),
            since: Tick::last(),
            taken: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// A place, as soon as there is one.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        loop {
            if let Some(place) = self.try_take() {
                return place;
            }
            if let Some(seat) = self.idle_longest() {
                seat.asked.store(true, Ordering::Relaxed);
                seat.leave.notify_one();
            }
            let _ = timeout(AGAIN, self.freed.notified()).await;
        }
    }

    /// A place, if there is one.
    pub(super) fn try_take(self: &Arc<Self>) -> Option<Place> {
        let seat = Arc::new(Seat {
            busy: AtomicUsize::new(0),
            idle_since: AtomicU64::new(self.now()),
            asked: AtomicBool::new(false),
            leave: Notify::new(),
        });
        let mut taken = self.lock();
        if taken.seats.len() >= self.most {
            return None;
        }
        let number = taken.next;
        taken.next += 1;
        taken.seats.insert(number, seat.clone());
        Some(Place {
            places: self.clone(),
            number,
            seat,
        })
    }

    fn rest(&self, seat: &Seat) {
        let now = self.now();
        seat.idle_since.store(now, Ordering::Relaxed);
        seat.busy.fetch_sub(1, Ordering::Relaxed);
    }

    /// The one idle longest that was not asked to leave yet.
    fn idle_longest(&self) -> Option<Arc<Seat>> {
        let least = self.now().saturating_sub(AGAIN.as_millis() as u64);
        let taken = self.lock();
        let idle = taken.seats.values().filter_map(|seat| {
            let since = seat.idle_since.load(Ordering::Relaxed);
            let may = seat.is_idle() && !seat.asked.load(Ordering::Relaxed);
            (may && since <= least).then_some((since, seat))
        });
        let longest = idle.min_by_key(|(since, _)| *since);
        longest.map(|(_, seat)| seat.clone())
    }

    fn now(&self) -> u64 {
        Tick::last().millis_since(self.since)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn is_idle(&self) -> bool {
        self.busy.load(Ordering::Relaxed) == 0
    }
}

impl Place {
    /// A request begins.
    pub(super) fn busy(&self) -> Busy {
        self.seat.busy.fetch_add(1, Ordering::Relaxed);
        Busy {
            places: self.places.clone(),
            seat: self.seat.clone(),
        }
    }

    /// A request of this connection lets it be as idle as if it were not there, until this is dropped.
    pub(super) fn resting(&self) -> Resting {
        self.places.rest(&self.seat);
        Resting(self.seat.clone())
    }

    /// Whether there is no request.
    pub(super) fn is_idle(&self) -> bool {
        self.seat.is_idle()
    }

    /// Resolves when somebody else is to have the place.
    pub(super) async fn wanted(&self) {
        self.seat.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().seats.remove(&self.number);
        self.places.freed.notify_one();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.places.rest(&self.seat);
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    // Fails when a busy connection is sent away, or not the one that was idle longest.
    #[tokio::test(start_paused = true)]
    async fn the_one_idle_longest_makes_room() {
        let places = Places::new(3);
        let [first, second, third] = [
            places.take().await,
            places.take().await,
            places.take().await,
        ];
        let busy = first.busy();
        second.seat.idle_since.store(2, Ordering::Relaxed);
        third.seat.idle_since.store(1, Ordering::Relaxed);
        let waiting = places.clone();
        let waiting = tokio::spawn(async move { waiting.take().await });
        assert!(timeout(AGAIN / 2, third.wanted()).await.is_err());
        third.wanted().await;
        assert!(first.wanted().now_or_never().is_none());
        assert!(second.wanted().now_or_never().is_none());
        drop(third);
        let _fourth = waiting.await.unwrap();
        assert!(places.take().now_or_never().is_none(), "all are taken");
        drop((first, busy));
        assert!(places.take().now_or_never().is_some());
    }

    // Fails when `resting` leaves the seat busy, or its end does not make it so again.
    #[tokio::test(start_paused = true)]
    async fn whose_answer_is_held_back_makes_room_too() {
        let places = Places::new(1);
        let place = places.take().await;
        let busy = place.busy();
        let resting = place.resting();
        assert!(place.is_idle());
        let waiting = places.clone();
        let waiting = tokio::spawn(async move { waiting.take().await });
        place.wanted().await;
        drop(resting);
        assert!(!place.is_idle());
        drop((busy, place));
        waiting.await.unwrap();
    }
}
