//! What the proxy holds of a child.

use std::sync::Arc;

use rustix::process::Pid;
use tokio::sync::{mpsc, watch};

use super::family;
use super::link::Job;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// What is said of children whose supervisor was killed: they were, too.
    pub(super) const LOST: Self = Self::Signal(9);
}

/// A child that was started. It is killed when the last clone is dropped.
#[derive(Clone)]
pub struct Handle {
    child: Arc<Child>,
}

struct Child {
    id: u64,
    pid: u32,
    jobs: mpsc::UnboundedSender<Job>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Handle {
    pub(super) fn new(
        id: u64,
        pid: u32,
        jobs: mpsc::UnboundedSender<Job>,
        exit: watch::Receiver<Option<Exit>>,
    ) -> Self {
        let child = Child {
            id,
            pid,
            jobs,
            exit,
        };
        Self {
            child: Arc::new(child),
        }
    }

    /// The number of its process, which is also that of its process group and session.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid
    }

    /// Asks it and its process group to end (SIGTERM).
    pub fn terminate(&self) {
        let _ = self.child.jobs.send(Job::Terminate(self.child.id));
    }

    /// Ends it, its process group and all processes below it (SIGKILL).
    pub fn kill(&self) {
        let _ = self.child.jobs.send(Job::Kill(self.child.id));
    }

    /// Waits until it has ended. Whatever it leaves behind is killed then. Many may wait.
    pub async fn exited(&self) -> Exit {
        let mut exit = self.child.exit.clone();
        let ended = exit.wait_for(Option::is_some).await;
        // Nobody is left to say how only when the runtime that served the supervisor is gone.
        ended.ok().and_then(|exit| *exit).unwrap_or(Exit::LOST)
    }

    /// Bytes of memory that it and all processes below it have in use, what they share counted for each.
    /// Nothing when it has ended. Reads some files of `/proc` for each process.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        let pid = Pid::from_raw(i32::try_from(self.child.pid).ok()?)?;
        let bytes = family::resident(pid)?;
        // Looked at afterwards: until then the number was its own.
        self.child.exit.borrow().is_none().then_some(bytes)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exit.borrow().is_none() {
            let _ = self.jobs.send(Job::Kill(self.id));
        }
    }
}
