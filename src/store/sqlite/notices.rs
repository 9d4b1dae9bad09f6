//! When to look at the file again: as soon as the system tells of a write to it (inotify), and now and then in any
//! case.
//!
//! Looking every 25 ms whether or not anything happens was half a percent of a core of a process with nothing to
//! do, and a tenth of what a thousand event streams cost.
//!
//! A write is told of before its commit can be seen: pages are written first, then made durable. So a notice is
//! followed by looking soon, then less and less often, for [`AWAKE`]. Whoever writes is on this machine, or SQLite's
//! shared memory would not reach him; so the system should know of it. Where it tells nothing all the same, for a
//! user has only so many instances or the file system knows better, the file is looked at every [`EVERY`] as before.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::{Errno, read};

/// How often the file is looked at where nothing is told.
const EVERY: Duration = Duration::from_millis(25);
/// How soon after a notice, the first time.
const SOON: Duration = Duration::from_millis(1);
/// How long after a notice its commit is waited for. One that takes longer is found when nothing is told.
const AWAKE: Duration = Duration::from_secs(1);

/// What the system tells of a database's files, and what was made of it.
pub(super) struct Notices {
    inotify: Option<OwnedFd>,
    pace: Pace,
}

impl Notices {
    /// Those of this database from now on, which somebody has open: only then all its files are there. It is
    /// looked at every `rarely` though nothing is told.
    pub(super) fn of(database: &Path, rarely: Duration) -> Self {
        // SQLite's other files are beside the file a link leads to.
        let database = database.canonicalize().unwrap_or(database.to_owned());
        let mut log = database.clone().into_os_string();
        log.push("-wal");
        let inotify = watch(&[&database, Path::new(&log)]);
        let inotify = inotify
            .inspect_err(|error| tracing::debug!(%error, "{NOT_TOLD}"))
            .ok();
        Self {
            inotify,
            pace: Pace::new(rarely, Instant::now()),
        }
    }

    /// Waits until the file is to be looked at.
    pub(super) fn wait(&mut self) {
        let Some(inotify) = &self.inotify else {
            return thread::sleep(EVERY);
        };
        match self.pace.next(Instant::now()) {
            Pause::Whatever(pause) => thread::sleep(pause),
            Pause::UnlessTold(pause) => wait(inotify, pause),
        }
        if was_told(inotify) {
            self.pace.told(Instant::now());
        }
    }

    /// A commit was seen. When nothing told of it, nothing will of the next.
    pub(super) fn seen(&mut self) {
        let Some(inotify) = &self.inotify else {
            return;
        };
        // It may have come since.
        if was_told(inotify) {
            self.pace.told(Instant::now());
        }
        if !self.pace.seen(Instant::now()) {
            tracing::debug!("{NOT_TOLD}");
            self.inotify = None;
        }
    }
}

const NOT_TOLD: &str =
    "The system does not tell of writes to the store; it is looked at every 25 ms.";

fn watch(files: &[&Path]) -> Result<OwnedFd, Errno> {
    let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    // Another file in its place shows as one name less of this one.
    let what =
        WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF;
    for &file in files {
        inotify::add_watch(&inotify, file, what)?;
    }
    Ok(inotify)
}

/// Waits for a notice, for so long at most.
fn wait(inotify: &OwnedFd, most: Duration) {
    let most = Timespec {
        tv_sec: most.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: most.subsec_nanos().into(),
    };
    let mut readable = [PollFd::new(inotify, PollFlags::IN)];
    // A signal ends it early, which is as good as a notice; what cannot be waited for is slept through.
    if !matches!(poll(&mut readable, Some(&most)), Ok(_) | Err(Errno::INTR)) {
        thread::sleep(EVERY);
    }
}

/// Takes what was told, if anything was.
fn was_told(inotify: &OwnedFd) -> bool {
    let mut told = false;
    let mut notices = [0_u8; 1024];
    while matches!(read(inotify.as_fd(), &mut notices), Ok(1..)) {
        told = true;
    }
    told
}

/// How to wait.
#[derive(Debug, PartialEq)]
enum Pause {
    /// So long, whatever is told: much may be.
    Whatever(Duration),
    /// Until something is told, for so long at most.
    UnlessTold(Duration),
}

/// How long to wait, by what was told and seen.
struct Pace {
    rarely: Duration,
    awake_until: Instant,
    next: Duration,
    /// Whether anything was told since a commit was seen last.
    is_told: bool,
}

impl Pace {
    fn new(rarely: Duration, now: Instant) -> Self {
        Self {
            rarely,
            // What was written before this began was told to nobody.
            awake_until: now + AWAKE,
            next: EVERY,
            is_told: false,
        }
    }

    fn next(&mut self, now: Instant) -> Pause {
        if now >= self.awake_until {
            self.next = SOON;
            return Pause::UnlessTold(self.rarely);
        }
        let pause = self.next;
        self.next = (pause * 2).min(EVERY);
        Pause::Whatever(pause)
    }

    fn told(&mut self, now: Instant) {
        self.awake_until = now + AWAKE;
        self.is_told = true;
    }

    /// Whether the commit that is seen now can have been told of. One notice may be of two commits, the second of
    /// which is seen after the first.
    fn seen(&mut self, now: Instant) -> bool {
        std::mem::take(&mut self.is_told) || now < self.awake_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RARELY: Duration = Duration::from_millis(250);

    // Fails when a commit that takes its time is waited for from notice to notice only.
    #[test]
    fn a_notice_is_followed_by_looking_soon_and_for_as_long_as_a_commit_may_take() {
        let begun = Instant::now();
        let mut pace = Pace::new(RARELY, begun);
        let quiet = begun + AWAKE;
        assert_eq!(pace.next(quiet), Pause::UnlessTold(RARELY));
        pace.told(quiet);
        let pauses = [1, 2, 4, 8, 16, 25, 25];
        for pause in pauses.map(Duration::from_millis) {
            assert_eq!(pace.next(quiet), Pause::Whatever(pause));
        }
        let last = quiet + AWAKE - SOON;
        assert_eq!(pace.next(last), Pause::Whatever(EVERY));
        assert_eq!(pace.next(last + SOON), Pause::UnlessTold(RARELY));
    }

    // Fails when one who is told nothing goes on looking rarely, or one who is told stops listening because two
    // commits had one notice.
    #[test]
    fn who_sees_a_commit_of_which_nothing_told_believes_in_no_notices() {
        let begun = Instant::now();
        let mut pace = Pace::new(RARELY, begun);
        let told = begun + AWAKE;
        pace.told(told);
        assert!(pace.seen(told));
        assert!(pace.seen(told));
        pace.told(told);
        let late = told + AWAKE;
        assert!(pace.seen(late));
        assert!(!pace.seen(late));
    }

    /// Whether what is done to these files is told of, by the name of a link to the database.
    fn is_told_of(write: impl FnOnce(&Path)) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        for name in ["a.db", "a.db-wal", "b.db"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(&database, &link).unwrap();
        let Notices { inotify, .. } = Notices::of(&link, RARELY);
        let inotify = inotify.unwrap();
        assert!(!was_told(&inotify));
        write(folder.path());
        was_told(&inotify)
    }

    // Fails when a file is left out, or what a restored copy does.
    #[test]
    fn what_is_written_and_what_takes_its_place_is_told_of() {
        let write = |name: &'static str| {
            move |folder: &Path| std::fs::write(folder.join(name), "y").unwrap()
        };
        assert!(is_told_of(write("a.db")));
        assert!(is_told_of(write("a.db-wal")));
        assert!(!is_told_of(write("b.db")));
        assert!(is_told_of(|folder| {
            std::fs::rename(folder.join("b.db"), folder.join("a.db")).unwrap();
        }));
        assert!(is_told_of(|folder| {
            std::fs::rename(folder.join("a.db"), folder.join("c.db")).unwrap();
        }));
    }
}
