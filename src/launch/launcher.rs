//! The proxy's side: [`Launcher`].

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as Socket;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{self, pipe};
use tokio::runtime;
use tokio::sync::{oneshot, watch};

use super::handle::Handle;
use super::letter::{Letter, READY};
use super::link::{Job, Link, Start};
use super::{Spec, wire};

/// What a child may say of why it did not begin, in bytes.
const REFUSAL: u64 = 4096;

/// Starts children, through a supervisor of its own. It and they are gone when the launcher and all handles
/// are dropped. A clone is the same launcher.
#[derive(Clone)]
pub struct Launcher {
    inner: Arc<Inner>,
}

struct Inner {
    program: PathBuf,
    runtime: runtime::Handle,
    link: Mutex<Arc<Link>>,
    next: AtomicU64,
}

/// A child that runs.
pub struct Process {
    /// To its standard input.
    pub stdin: pipe::Sender,
    /// From its standard output.
    pub stdout: pipe::Receiver,
    /// From its standard error.
    pub stderr: pipe::Receiver,
    /// The child itself: dropping it kills.
    pub handle: Handle,
}

/// Why a child was not started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no supervisor.
    #[error("the supervisor of child processes cannot be started: {0}")]
    Supervisor(#[source] io::Error),
    /// The supervisor was killed meanwhile. The next launch starts another.
    #[error("the supervisor of child processes was killed")]
    Gone,
    /// The system gives no pipe or process, for want of file descriptors, memory or numbers.
    #[error("the system has no room for a child process: {0}")]
    Room(#[source] io::Error),
    /// What is wanted cannot be told to a child: a path is not UTF-8.
    #[error("a child process cannot be told what to run: {0}")]
    Unspeakable(#[source] io::Error),
    /// The command cannot be run as wanted: which step, which path, and what to do.
    #[error("{0}")]
    Refused(String),
    /// The child was killed before the command ran.
    #[error("the child process was killed before its command ran")]
    Killed,
}

impl Launcher {
    /// A launcher whose supervisor and children are this program. To be called in a runtime, which serves
    /// the supervisor from then on, whichever calls [`Launcher::launch`].
    ///
    /// # Errors
    /// The supervisor cannot be started.
    pub fn start() -> Result<Self, LaunchError> {
        Self::start_as(Path::new("/proc/self/exe"))
    }

    /// The same, where this program does not call [`super::dispatch`] but that one does.
    ///
    /// # Errors
    /// The supervisor cannot be started.
    pub fn start_as(program: &Path) -> Result<Self, LaunchError> {
        let runtime = runtime::Handle::current();
        let link = Link::start(program, &runtime).map_err(LaunchError::Supervisor)?;
        let inner = Inner {
            program: program.to_owned(),
            runtime,
            link: Mutex::new(Arc::new(link)),
            next: AtomicU64::new(0),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Starts a child. Its pipes are served by the runtime this is called in. When this is dropped before
    /// it is done, so is the child.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub async fn launch(&self, spec: Spec) -> Result<Process, LaunchError> {
        let (link, ours, handle) = match self.fork().await {
            // It was killed, and nobody had noticed. Nothing was told to it yet.
            Err(LaunchError::Gone) => self.fork().await?,
            forked => forked?,
        };
        let (streams, theirs) = streams().map_err(LaunchError::Room)?;
        let letter = Letter::of(&spec, link.pid).map_err(LaunchError::Unspeakable)?;
        drop(spec);
        begin(ours, &letter, theirs).await?;
        let [stdout, stderr] = streams.out;
        Ok(Process {
            stdin: streams.stdin,
            stdout,
            stderr,
            handle,
        })
    }

    /// The number of the supervisor's process.
    #[must_use]
    pub fn supervisor_pid(&self) -> u32 {
        let link = self.inner.link.lock();
        link.unwrap_or_else(PoisonError::into_inner).pid
    }

    /// A process that waits to be told what to run, over the socket.
    async fn fork(&self) -> Result<(Arc<Link>, Socket, Handle), LaunchError> {
        let link = self.link()?;
        let (ours, theirs) = Socket::pair().map_err(LaunchError::Room)?;
        let (started, pid) = oneshot::channel();
        let (exit, exited) = watch::channel(None);
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let start = Start {
            id,
            socket: theirs.into(),
            started,
            exit,
        };
        let job = link.jobs.send(Job::Start(start));
        job.map_err(|_| LaunchError::Gone)?;
        let pid = pid.await.map_err(|_| LaunchError::Gone)?;
        let pid = pid.map_err(LaunchError::Room)?;
        // From here on it is killed when this is given up.
        let handle = Handle::new(id, pid, link.jobs.clone(), exited);
        Ok((link, ours, handle))
    }

    /// The supervisor, or a new one if it was killed.
    fn link(&self) -> Result<Arc<Link>, LaunchError> {
        let link = self.inner.link.lock();
        let mut link = link.unwrap_or_else(PoisonError::into_inner);
        if link.jobs.is_closed() {
            let new = Link::start(&self.inner.program, &self.inner.runtime);
            *link = Arc::new(new.map_err(LaunchError::Supervisor)?);
        }
        Ok(link.clone())
    }
}

struct Streams {
    stdin: pipe::Sender,
    out: [pipe::Receiver; 2],
}

/// The proxy's ends of three pipes, and a child's.
fn streams() -> io::Result<(Streams, [OwnedFd; 3])> {
    let (stdin, childs_stdin) = pipe()?;
    let (childs_stdout, stdout) = pipe()?;
    let (childs_stderr, stderr) = pipe()?;
    let theirs = [
        childs_stdin.into_blocking_fd()?,
        childs_stdout.into_blocking_fd()?,
        childs_stderr.into_blocking_fd()?,
    ];
    let out = [stdout, stderr];
    Ok((Streams { stdin, out }, theirs))
}

/// Tells a child what to run, and waits until it does.
async fn begin(socket: Socket, letter: &Letter, streams: [OwnedFd; 3]) -> Result<(), LaunchError> {
    let answer = told(socket, letter, streams).await;
    // It may refuse before it has read everything, and then writing fails; what it says counts.
    let said = answer.map_err(LaunchError::Room)?;
    let said = String::from_utf8_lossy(&said);
    match said.strip_prefix(READY) {
        Some("") => Ok(()),
        None if said.is_empty() => Err(LaunchError::Killed),
        Some(refusal) => Err(LaunchError::Refused(refusal.to_owned())),
        None => Err(LaunchError::Refused(said.into_owned())),
    }
}

async fn told(socket: Socket, letter: &Letter, streams: [OwnedFd; 3]) -> io::Result<Vec<u8>> {
    // The first bytes fit into any socket, and bring the descriptors.
    wire::send_with(&socket.as_fd(), &letter.head(), Some(&streams))?;
    drop(streams);
    socket.set_nonblocking(true)?;
    let mut socket = UnixStream::from_std(socket)?;
    let _ = socket.write_all(letter.body()).await;
    let mut said = Vec::new();
    let read = socket.take(REFUSAL).read_to_end(&mut said).await;
    match read {
        // It ended before it had read everything.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(said),
        Err(error) => Err(error),
        Ok(_) => Ok(said),
    }
}
