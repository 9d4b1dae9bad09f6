//! Whether what the cache holds may still be used: one pure decision, and the clock it needs.
//!
//! While changes are pushed, an entry read in the current epoch is as good as the store. The epoch
//! moves whenever a change may have been missed: when pushing ends and when it begins again. So
//! after a loss or a reconnect every entry is read again before it is served. While only the push
//! is lost, or the store refuses it, an entry is read again every [`RECHECK`]. While the store cannot be reached at all, an
//! entry is served for `stale_for` after the last moment at which it was known to be right; but once
//! changes are pushed again, only for [`UNCHECKED`] more, should it still not be possible to read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::figures::Watch;
use crate::sys::Tick;

/// How old an entry may be while no changes are pushed. Under the 5 s that are promised.
pub(super) const RECHECK: Duration = Duration::from_secs(2);
/// How long after a reconnect an entry is served that could not be read again: connections for
/// reading may come back later than the one that is pushed on. More would be serving what was changed
/// meanwhile although the store is there.
const UNCHECKED: Duration = Duration::from_secs(5);
/// Pushing counts as lost when nothing was heard for so long, whatever the watcher says: it
/// reports itself alive at least once a second.
const SILENCE: Duration = Duration::from_secs(3);

/// When an entry was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The epoch when the read began.
    pub(super) epoch: u64,
    /// When the read began, since [`Freshness`] was made.
    pub(super) checked: Duration,
}

/// What is known about pushing at one moment.
#[derive(Debug, Clone, Copy)]
struct View {
    now: Duration,
    epoch: u64,
    up: bool,
    /// When pushing last began.
    up_at: Duration,
    alive: Duration,
    /// The last epoch in which changes were pushed, and until when.
    lost_epoch: u64,
    lost_at: Duration,
}

/// Whether an entry may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Yes.
    Fresh,
    /// Not before it was read again. It was known to be right so long ago, and for so long changes
    /// have been pushed since, if they are.
    Recheck {
        age: Duration,
        pushed_for: Option<Duration>,
    },
}

impl Verdict {
    /// Whether it may be served where it cannot be read again.
    pub(super) fn may_be_stale(self, stale_for: Duration) -> bool {
        match self {
            Self::Fresh => true,
            Self::Recheck { age, pushed_for } => {
                age < stale_for && pushed_for.is_none_or(|time| time < UNCHECKED)
            }
        }
    }
}

fn judge(stamp: Stamp, view: View) -> Verdict {
    let pushed = view.up && view.now.saturating_sub(view.alive) < SILENCE;
    let recent = view.now.saturating_sub(stamp.checked) < RECHECK;
    if stamp.epoch == view.epoch && (pushed || recent) {
        return Verdict::Fresh;
    }
    let confirmed = if stamp.epoch == view.epoch && view.up {
        stamp.checked.max(view.alive)
    } else if stamp.epoch == view.lost_epoch {
        stamp.checked.max(view.lost_at)
    } else {
        stamp.checked
    };
    Verdict::Recheck {
        age: view.now.saturating_sub(confirmed),
        pushed_for: pushed.then(|| view.now.saturating_sub(view.up_at)),
    }
}

/// The state of pushing, shared by every thread.
pub(super) struct Freshness {
    begun: Tick,
    epoch: watch::Sender<u64>,
    /// Copies for the hot path, which takes no lock. Of what is read together, what is written first is
    /// read last: so nothing looks better than it was before the writing or is after it.
    epoch_now: AtomicU64,
    up_at: AtomicU64,
    up: AtomicBool,
    blind: AtomicBool,
    alive: AtomicU64,
    lost_epoch: AtomicU64,
    lost_at: AtomicU64,
}

impl Freshness {
    pub(super) fn new() -> Self {
        Self {
            begun: Tick::last(),
            epoch: watch::Sender::new(1),
            epoch_now: AtomicU64::new(1),
            up_at: AtomicU64::new(0),
            up: AtomicBool::new(false),
            blind: AtomicBool::new(false),
            alive: AtomicU64::new(0),
            lost_epoch: AtomicU64::new(0),
            lost_at: AtomicU64::new(0),
        }
    }

    /// A stamp for a read that begins now.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            epoch: self.epoch_now.load(Ordering::SeqCst),
            checked: self.now(),
        }
    }

    pub(super) fn judge(&self, stamp: Stamp) -> Verdict {
        judge(stamp, self.view())
    }

    /// Whether changes are being pushed.
    pub(super) fn pushed(&self) -> bool {
        self.watch() == Watch::Up
    }

    pub(super) fn watch(&self) -> Watch {
        let view = self.view();
        let heard = view.now.saturating_sub(view.alive) < SILENCE;
        match (heard, view.up) {
            (true, true) => Watch::Up,
            (true, false) if self.blind.load(Ordering::SeqCst) => Watch::Blind,
            _ => Watch::Down,
        }
    }

    /// How long the watch has heard nothing.
    pub(super) fn silent_for(&self) -> Duration {
        let view = self.view();
        view.now.saturating_sub(view.alive)
    }

    /// Sees each change of the epoch from now on.
    pub(super) fn epochs(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }

    pub(super) fn on_up(&self) {
        self.on_alive();
        self.next_epoch();
        self.blind.store(false, Ordering::SeqCst);
        self.up_at.store(millis(self.now()), Ordering::SeqCst);
        self.up.store(true, Ordering::SeqCst);
    }

    pub(super) fn on_alive(&self) {
        self.alive.store(millis(self.now()), Ordering::SeqCst);
    }

    /// As when it is down, but the store is heard.
    pub(super) fn on_blind(&self) {
        self.on_down();
        self.on_alive();
        self.blind.store(true, Ordering::SeqCst);
    }

    pub(super) fn on_down(&self) {
        self.blind.store(false, Ordering::SeqCst);
        if self.up.swap(false, Ordering::SeqCst) {
            self.lost_epoch
                .store(self.epoch_now.load(Ordering::SeqCst), Ordering::SeqCst);
            self.lost_at
                .store(self.alive.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        self.next_epoch();
    }

    fn next_epoch(&self) {
        let next = self.epoch_now.fetch_add(1, Ordering::SeqCst) + 1;
        self.epoch.send_replace(next);
    }

    /// The time since this was made. It is asked for with each record that is looked up, and all that is
    /// reckoned with it are seconds.
    fn now(&self) -> Duration {
        Tick::last().since(self.begun)
    }

    fn view(&self) -> View {
        let load = |value: &AtomicU64| value.load(Ordering::SeqCst);
        let up = self.up.load(Ordering::SeqCst);
        let lost_at = Duration::from_millis(load(&self.lost_at));
        View {
            up,
            up_at: Duration::from_millis(load(&self.up_at)),
            lost_at,
            lost_epoch: load(&self.lost_epoch),
            epoch: load(&self.epoch_now),
            alive: Duration::from_millis(load(&self.alive)),
            now: self.now(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn view(now: u64, epoch: u64, up: bool) -> View {
        View {
            now: s(now),
            epoch,
            up,
            up_at: s(now - 1),
            alive: s(now),
            lost_epoch: 0,
            lost_at: s(0),
        }
    }

    fn stamp(epoch: u64, checked: u64) -> Stamp {
        Stamp {
            epoch,
            checked: s(checked),
        }
    }

    /// While nothing is pushed.
    const fn recheck(age: u64) -> Verdict {
        Verdict::Recheck {
            age: s(age),
            pushed_for: None,
        }
    }

    #[test]
    fn while_pushed_an_entry_of_this_epoch_is_fresh_for_ever() {
        assert_eq!(judge(stamp(5, 1), view(90_000, 5, true)), Verdict::Fresh);
    }

    #[test]
    fn after_a_reconnect_nothing_older_is_served_unchecked() {
        let verdict = judge(stamp(4, 99), view(100, 5, true));
        assert_ne!(verdict, Verdict::Fresh);
    }

    // Fails when `pushed_for` is always `None`, or not looked at.
    #[test]
    fn after_a_reconnect_nothing_older_is_served_for_long_that_cannot_be_read() {
        let since = |up_at| View {
            up_at: s(up_at),
            ..view(100, 5, true)
        };
        let served = |view| judge(stamp(4, 90), view).may_be_stale(s(60));
        assert!(served(since(96)));
        assert!(!served(since(95)));
        // While nothing is pushed it is as old as `stale_for` allows, whenever it was.
        let lost = View {
            up: false,
            ..since(95)
        };
        assert!(served(lost));
        assert!(!judge(stamp(4, 40), lost).may_be_stale(s(60)));
        assert!(!judge(stamp(4, 40), since(99)).may_be_stale(s(60)));
        assert!(!judge(stamp(4, 100), since(99)).may_be_stale(s(0)));
    }

    #[test]
    fn without_pushes_an_entry_is_read_again_after_two_seconds() {
        assert_eq!(judge(stamp(5, 99), view(100, 5, false)), Verdict::Fresh);
        assert_eq!(judge(stamp(5, 98), view(100, 5, false)), recheck(2));
        assert_eq!(judge(stamp(4, 99), view(100, 5, false)), recheck(1));
    }

    #[test]
    fn a_silent_watcher_counts_as_lost_and_its_last_word_as_confirmation() {
        let silent = View {
            alive: s(90),
            ..view(100, 5, true)
        };
        assert_eq!(judge(stamp(5, 1), silent), recheck(10));
    }

    #[test]
    fn an_old_entry_was_right_until_the_push_was_lost_but_only_if_it_was_of_that_time() {
        let lost = View {
            lost_epoch: 4,
            lost_at: s(70),
            ..view(100, 6, false)
        };
        assert_eq!(judge(stamp(4, 1), lost), recheck(30));
        assert_eq!(judge(stamp(3, 1), lost), recheck(99));
    }

    // Fails when `on_blind` does not move the epoch, or counts as up.
    #[test]
    fn a_blind_store_is_there_but_confirms_nothing() {
        let freshness = Freshness::new();
        freshness.on_up();
        let before = freshness.stamp();
        freshness.on_blind();
        freshness.on_alive();
        assert_eq!(freshness.watch(), Watch::Blind);
        assert!(matches!(freshness.judge(before), Verdict::Recheck { .. }));
        assert_eq!(freshness.judge(freshness.stamp()), Verdict::Fresh);
        freshness.on_down();
        assert_eq!(freshness.watch(), Watch::Down);
        freshness.on_up();
        assert_eq!(freshness.watch(), Watch::Up);
    }

    #[test]
    fn a_read_begun_before_a_reconnect_is_stamped_with_the_older_epoch() {
        let freshness = Freshness::new();
        let before = freshness.stamp();
        freshness.on_up();
        assert!(matches!(freshness.judge(before), Verdict::Recheck { .. }));
        assert_eq!(freshness.judge(freshness.stamp()), Verdict::Fresh);
        let before = freshness.stamp();
        freshness.on_down();
        assert!(matches!(freshness.judge(before), Verdict::Recheck { .. }));
    }
}
