//! The proxy's end: starts a supervisor and passes on what handles ask of it.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{
    Pid, WaitId, WaitIdOptions, WaitOptions, getpid, set_child_subreaper, waitid, waitpid,
};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::wire::{Order, Packet, Report, Socket};
use super::{Exit, SUPERVISOR, family};

/// What the supervisor is to be asked for.
pub(super) enum Job {
    Start(Start),
    Terminate(u64),
    Kill(u64),
}

/// A child that is wanted.
pub(super) struct Start {
    pub(super) id: u64,
    /// Over which it is told what to run.
    pub(super) socket: OwnedFd,
    /// The number of its process, or why there is none.
    pub(super) started: oneshot::Sender<io::Result<u32>>,
    pub(super) exit: watch::Sender<Option<Exit>>,
}

/// A supervisor that was started.
pub(super) struct Link {
    /// Closed when the supervisor is gone. It goes when no sender is left.
    pub(super) jobs: mpsc::UnboundedSender<Job>,
    pub(super) pid: u32,
}

/// The supervisors of this process: it adopts what one leaves behind, and must not take another for that.
static SUPERVISORS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// How often it is looked whether a supervisor, or what it left behind, is gone.
const SWEEP: Duration = Duration::from_millis(10);

impl Link {
    /// Starts a supervisor, and the task that serves it.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(program: &Path, runtime: &Handle) -> io::Result<Self> {
        // Should the supervisor be killed, this process adopts whatever was below it.
        set_child_subreaper(Some(getpid()))?;
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let socket = {
            let _inside = runtime.enter();
            Socket::new(ours)?
        };
        let mut supervisors = SUPERVISORS.lock().unwrap_or_else(PoisonError::into_inner);
        let process = Command::new(program)
            .arg0("cloakroom")
            .arg(SUPERVISOR)
            .env_clear()
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pid = process.id();
        supervisors.push(pid);
        drop(supervisors);
        let (jobs, wanted) = mpsc::unbounded_channel();
        let task = Task {
            socket,
            wanted,
            children: HashMap::new(),
        };
        runtime.spawn(task.run(process));
        Ok(Self { jobs, pid })
    }
}

struct Task {
    socket: Socket,
    wanted: mpsc::UnboundedReceiver<Job>,
    children: HashMap<u64, Child>,
}

struct Child {
    pid: Option<u32>,
    started: Option<oneshot::Sender<io::Result<u32>>>,
    exit: watch::Sender<Option<Exit>>,
}

impl Task {
    async fn run(mut self, mut supervisor: process::Child) {
        let is_wanted = self.serve().await.is_err();
        let Self {
            socket,
            wanted,
            children,
        } = self;
        // Whoever asks from now on finds it closed, and starts another.
        drop(wanted);
        drop(socket);
        if is_wanted {
            let _ = supervisor.kill();
        }
        while matches!(supervisor.try_wait(), Ok(None)) {
            tokio::time::sleep(SWEEP).await;
        }
        {
            let mut supervisors = SUPERVISORS.lock().unwrap_or_else(PoisonError::into_inner);
            supervisors.retain(|pid| *pid != supervisor.id());
        }
        let known: Vec<_> = children.values().filter_map(|child| child.pid).collect();
        while sweep(&known) {
            tokio::time::sleep(SWEEP).await;
        }
        // Only now: who waits for their end may rely on it.
        for child in children.into_values() {
            child.exit.send_replace(Some(Exit::LOST));
        }
    }

    /// Until nobody wants anything any more.
    ///
    /// # Errors
    /// The supervisor is gone before that.
    async fn serve(&mut self) -> io::Result<()> {
        loop {
            tokio::select! {
                job = self.wanted.recv() => match job {
                    Some(job) => self.order(job).await?,
                    None => return Ok(()),
                },
                packet = self.socket.receive() => match packet? {
                    Some((packet, _)) => self.note(packet).await?,
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                },
            }
        }
    }

    async fn order(&mut self, job: Job) -> io::Result<()> {
        let (id, what, brings) = match job {
            Job::Start(start) => {
                let child = Child {
                    pid: None,
                    started: Some(start.started),
                    exit: start.exit,
                };
                self.children.insert(start.id, child);
                (start.id, Order::Start, Some(start.socket))
            }
            Job::Terminate(id) => (id, Order::Terminate, None),
            Job::Kill(id) => (id, Order::Kill, None),
        };
        let packet = Packet { id, what };
        self.socket.send(&packet, brings.as_ref()).await
    }

    async fn note(&mut self, packet: Packet<Report>) -> io::Result<()> {
        let id = packet.id;
        match packet.what {
            Report::Started(pid) => {
                let Some(child) = self.children.get_mut(&id) else {
                    return Ok(());
                };
                let pid = pid.unsigned_abs();
                child.pid = Some(pid);
                let told = child.started.take().map(|started| started.send(Ok(pid)));
                if !matches!(told, Some(Ok(()))) {
                    // Whoever wanted it has left.
                    self.order(Job::Kill(id)).await?;
                }
            }
            Report::NotStarted(errno) => {
                let started = self.children.remove(&id).and_then(|child| child.started);
                if let Some(started) = started {
                    let _ = started.send(Err(io::Error::from_raw_os_error(errno)));
                }
            }
            Report::Exited(exit) => {
                if let Some(child) = self.children.remove(&id) {
                    child.exit.send_replace(Some(exit));
                }
            }
        }
        Ok(())
    }
}

/// Kills what a supervisor that was killed left to this process, and says whether there was anything: its
/// children, and what was below them, all in sessions that are not ours. Nothing else that this process
/// starts has a session of its own.
fn sweep(known: &[u32]) -> bool {
    let ours = family::session(getpid());
    let supervisors = SUPERVISORS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut any = false;
    for pid in family::children(getpid()) {
        let number = pid.as_raw_pid().unsigned_abs();
        let session = family::session(pid);
        let is_left = known.contains(&number) || is_foreign(session, ours, || is_child(pid));
        if is_left && !supervisors.contains(&number) {
            family::kill_tree(pid);
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            any = true;
        }
    }
    any
}

/// Whether a child in this session was started by a supervisor or below one, and not by us, whose session is
/// `ours`.
fn is_foreign(session: Option<Pid>, ours: Option<Pid>, is_child: impl FnOnce() -> bool) -> bool {
    match (session, ours) {
        (Some(_), _) => session != ours,
        // What we start ourselves can be seen, so this is none of it, unless it is just being reaped.
        (None, Some(_)) => is_child(),
        // Ours began outside of our PID namespace, and what we start has it too.
        (None, None) => false,
    }
}

/// Whether it is a child of this process still, so that its number is no other's.
fn is_child(pid: Pid) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), look).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_started_itself_is_not_killed() {
        let [ours, other] = [7, 8].map(Pid::from_raw);
        assert!(!is_foreign(ours, ours, || true));
        assert!(is_foreign(other, ours, || true));
        assert!(is_foreign(None, ours, || true), "its /proc is hidden");
        assert!(!is_foreign(None, ours, || false), "it is gone");
        // Where our session began outside of our PID namespace.
        assert!(!is_foreign(None, None, || true));
        assert!(is_foreign(other, None, || true));
    }
}
