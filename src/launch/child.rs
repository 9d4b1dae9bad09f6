//! The beginning of a child: this program, until it becomes the command.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::fs::Mode;
use rustix::process::{
    Gid, Resource, Rlimit, Signal, Uid, getegid, getpid, getppid, set_child_subreaper,
    set_parent_process_death_signal, setrlimit, setsid, umask,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs, set_thread_gid, set_thread_groups, set_thread_uid,
};

use super::domain::{self, DomainError};
use super::folder::{self, FolderError};
use super::letter::{READY, Received};
use super::program::{self, ProgramError};
use super::readable::{self, ReadableError};
use super::{ProcessLimits, Sandbox};
use crate::sys;

/// Why the command does not run. The proxy gets the text.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the child process was not told what to run: {0}")]
    Letter(#[source] io::Error),
    #[error("the supervisor is gone")]
    Orphan,
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Readable(#[from] ReadableError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Domain(#[from] DomainError),
    #[error("a child process cannot become user {0} and group {1}, which only root may: {2}")]
    User(u32, u32, #[source] io::Error),
    #[error("the name of the environment variable {0:?} is not possible")]
    Name(String),
    #[error("the value of the environment variable {0} has a zero byte in it")]
    Value(String),
    #[error("the folder {0:?} of a child process cannot be entered: {1}")]
    Enter(PathBuf, #[source] io::Error),
    #[error("the limit {0} of a child process cannot be set: {1}")]
    Limit(&'static str, #[source] io::Error),
    #[error("a child process cannot be prepared: {0}")]
    System(#[from] rustix::io::Errno),
    #[error("{0:?} cannot be run: {1}{hint}", hint = hint(.1))]
    Run(PathBuf, #[source] io::Error),
}

/// What the system's word does not say.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => " (the loader it was built for is missing)",
        io::ErrorKind::PermissionDenied => {
            " (not by this user, or its loader is not among what a child process may read)"
        }
        io::ErrorKind::ArgumentListTooLong => " (its environment is too long)",
        _ => "",
    }
}

/// Becomes what the proxy at the other end of standard input wants, or says why not.
pub(super) fn run() -> ExitCode {
    let socket = io::stdin().as_fd().try_clone_to_owned();
    let Ok(mut socket) = socket.map(UnixStream::from) else {
        return ExitCode::FAILURE;
    };
    let Err(refusal) = become_command(&mut socket);
    let _ = socket.write_all(refusal.to_string().as_bytes());
    ExitCode::FAILURE
}

fn become_command(socket: &mut UnixStream) -> Result<Infallible, Refusal> {
    // Before it is not ours any more: children go first when memory is short.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    sys::keep_memory_private();
    setsid()?;
    let Received {
        orders,
        environment,
        streams,
    } = Received::from(socket).map_err(Refusal::Letter)?;
    let containment = &orders.containment;
    let folder = &orders.folder;
    let name = orders.command.first().ok_or(ProgramError::Empty)?;
    let program = program::find(name, &containment.path)?;

    let mut command = Command::new(&program);
    command.arg0(name).args(&orders.command[1..]);
    command.env_clear().current_dir(folder);
    command
        .env("PATH", &containment.path)
        .env("LANG", "C.UTF-8")
        .env("HOME", folder)
        .env("TMPDIR", folder.join("tmp"));
    for (name, value) in &environment {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Refusal::Name(name.clone()));
        }
        if value.contains(&0) {
            return Err(Refusal::Value(name.clone()));
        }
        command.env(name, OsStr::from_bytes(value));
    }
    let [stdin, stdout, stderr] = streams;
    command.stdin(stdin).stdout(stdout).stderr(stderr);

    let ours = sys::user();
    let readable = match containment.sandbox {
        Sandbox::None => None,
        Sandbox::Landlock => {
            readable::refuse_folder(folder, containment)?;
            Some(readable::readable(&orders.command, containment)?)
        }
    };
    folder::prepare(folder, ours, containment.user)?;
    if let Some((user, group)) = containment.user {
        become_user(user, group).map_err(|error| Refusal::User(user, group, error))?;
    }
    stay_below(orders.supervisor)?;
    umask(Mode::RWXG | Mode::RWXO);
    set_no_new_privs(true)?;
    if let Some(readable) = readable {
        domain::enter(&readable, folder)?;
    }
    enter(folder).map_err(|error| Refusal::Enter(folder.clone(), error))?;
    drop_capabilities();
    limit(&containment.limits)?;
    socket
        .write_all(READY.as_bytes())
        .map_err(Refusal::Letter)?;
    Err(Refusal::Run(program, command.exec()))
}

/// Another user for good, in no other groups.
fn become_user(user: u32, group: u32) -> io::Result<()> {
    if user == sys::user() && group == getegid().as_raw() && user != 0 {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    set_thread_groups(&[])?;
    set_thread_gid(group)?;
    set_thread_uid(user)?;
    Ok(())
}

/// Dies with the supervisor, and adopts what is below. Both survive exec; the first does not survive a change
/// of user.
fn stay_below(supervisor: u32) -> Result<(), Refusal> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = getppid().map(|pid| pid.as_raw_pid().unsigned_abs());
    if parent != Some(supervisor) {
        return Err(Refusal::Orphan);
    }
    set_child_subreaper(Some(getpid()))?;
    Ok(())
}

/// What is made here is the child's own, and is made as the child: it may have put a link there.
fn enter(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder.join("tmp")) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    std::env::set_current_dir(folder)
}

/// Root without capabilities is one user among others. Those who have none cannot drop any.
fn drop_capabilities() {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if remove_capability_from_bounding_set(capability).is_err() {
            break;
        }
    }
    let none = CapabilitySet::empty();
    let _ = set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    );
}

fn limit(limits: &ProcessLimits) -> Result<(), Refusal> {
    let wanted = [
        ("open_files", Resource::Nofile, Some(limits.open_files)),
        ("processes", Resource::Nproc, limits.processes),
        ("data", Resource::Data, limits.data),
        ("cpu_seconds", Resource::Cpu, limits.cpu_seconds),
    ];
    for (name, resource, limit) in wanted {
        if limit.is_some() {
            let both = Rlimit {
                current: limit,
                maximum: limit,
            };
            setrlimit(resource, both).map_err(|error| Refusal::Limit(name, error.into()))?;
        }
    }
    Ok(())
}
