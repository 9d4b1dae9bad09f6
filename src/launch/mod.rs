//! Starting child processes that are contained, and none of which outlives this process.
//!
//! ```text
//! proxy ── supervisor (`__supervise`, one per proxy, one thread, a session of its own, no secrets)
//!              ├── child     (`__child`, which becomes the command: own session and process group,
//!              │     └── …    limits, no_new_privs, no capabilities, a Landlock domain)
//!              └── child
//! ```
//!
//! 1. Everything between fork and exec is done by a program with one thread (`__child`, this program again),
//!    because hardly anything may be done in a fork of one with many.
//! 2. The environment with the secrets goes from the proxy to the child over a socket of theirs; the
//!    supervisor passes that socket on and reads nothing from it. A child inherits no other descriptor than
//!    0, 1 and 2.
//! 3. When the proxy ends, even by SIGKILL, the supervisor's socket ends; it kills all below it until none
//!    is left. When the supervisor is killed, the kernel kills its children (PR_SET_PDEATHSIG), the proxy
//!    adopts what was below them (PR_SET_CHILD_SUBREAPER) and kills it.
//! 4. A child adopts what is orphaned below it, and the supervisor what is left when a child ends: that is
//!    killed at once. So no daemon escapes by forking twice.
//! 5. Only the supervisor signals children, which it has not reaped: no number is used for another process.
//!
//! What the domain does not do:
//!
//! - The network stays open, for servers call the world: services on loopback need credentials of their own.
//!   So do those on Unix sockets before Linux 7.1, where a child may connect to what its user may.
//! - Landlock does not govern chmod, chown, utime and the like, nor does it hide that a path or a process
//!   number exists. A user of their own for children (`user`) does the first.
//! - Of `/proc` a child sees the directory of its own number only, so what it starts does not see its own
//!   (`/proc/self`): a server is better started directly than by a shell that stays.
//! - A child that lives long keeps the zombies of what was orphaned below it, unless it reaps them.

mod child;
mod domain;
mod family;
mod folder;
mod handle;
mod launcher;
mod letter;
mod link;
mod program;
mod readable;
mod supervisor;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use domain::{landlock_available, landlock_gaps};
pub use handle::{Exit, Handle};
pub use launcher::{LaunchError, Launcher, Process};
pub use program::ProgramError;
pub use readable::{ReadableError, readable};

/// The first arguments that make this program a supervisor, or a child's beginning.
const SUPERVISOR: &str = "__supervise";
const CHILD: &str = "__child";

/// A child that is wanted. It has no `Debug`, for its environment holds secrets.
pub struct Spec {
    /// A name to be looked for in `containment.path` or an absolute path; then its arguments.
    pub command: Vec<String>,
    /// What its environment holds besides PATH, LANG, HOME and TMPDIR, which may be set too.
    pub environment: Vec<(String, Zeroizing<Vec<u8>>)>,
    /// Its home and working directory, absolute: made if it is missing, 0700, and not shared with anybody
    /// else. `tmp` in it is its TMPDIR, and is never emptied.
    pub folder: PathBuf,
    /// What it may do.
    pub containment: Arc<Containment>,
}

/// What a child may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containment {
    /// What it is kept from.
    pub sandbox: Sandbox,
    /// Files and folders it may read and run besides the system and what its command needs. Absolute.
    pub readable: Vec<PathBuf>,
    /// Files and folders it must not be able to read: nothing starts that could. Absolute. A file forbids
    /// those beside it whose names begin with its own (`store.db-wal`), nothing else in its folder.
    pub forbidden: Vec<PathBuf>,
    /// How much it may use.
    pub limits: ProcessLimits,
    /// The user and group it runs as, if not ours. Needs root.
    pub user: Option<(u32, u32)>,
    /// Its PATH.
    pub path: String,
}

/// What a child is kept from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Sandbox {
    /// All but its folder, the system and what its command needs, by a Landlock domain.
    #[default]
    Landlock,
    /// Nothing: it may do what its user may, but for set-user-id programs and capabilities.
    None,
}

/// How much a child may use: the limits of `setrlimit(2)`, which hold for each process, but for `processes`.
/// Core dumps are always off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimits {
    /// File descriptors open at once.
    pub open_files: u64,
    /// Processes and threads of its user in all, wherever they run. Does not hold for root.
    pub processes: Option<u64>,
    /// Bytes of data: what a program may write that is no file. Some runtimes claim much more address space
    /// than they ever use, so that is not limited.
    pub data: Option<u64>,
    /// Seconds of processor time.
    pub cpu_seconds: Option<u64>,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            open_files: 1024,
            processes: None,
            data: None,
            cpu_seconds: None,
        }
    }
}

/// Does what this process was started for, if that was this module: to be called first of all. Not for
/// people: the arguments are documented nowhere.
#[must_use]
pub fn dispatch() -> Option<ExitCode> {
    let role = std::env::args_os().nth(1)?;
    if role == SUPERVISOR {
        let code = supervisor::run().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        return Some(code);
    }
    (role == CHILD).then(child::run)
}
