//! The supervisor: one small process between the proxy and all children, which outlives the proxy by as
//! long as it takes to kill them. It has one thread and is told no secret.
//!
//! A child adopts whatever below it loses its parent, and the supervisor whatever is below a child that
//! ends. So a process directly below the supervisor that it did not start has nobody left that it works for.

use std::collections::{HashMap, VecDeque};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper,
    setsid, wait,
};
use tokio::signal::unix::{SignalKind, signal};

use super::wire::{Order, Packet, Report, Socket};
use super::{CHILD, Exit, domain, family};
use crate::sys;

/// Serves the proxy at the other end of standard input, until it is gone.
///
/// # Errors
/// Standard input is no such socket, or the system refuses what a supervisor needs.
pub(super) fn run() -> io::Result<()> {
    sys::close_inherited();
    sys::keep_memory_private();
    sys::raise_descriptors();
    // Not in the session of a terminal, which signals all in it.
    setsid()?;
    set_child_subreaper(Some(getpid()))?;
    rustix::thread::set_name(c"supervisor")?;
    std::env::set_current_dir("/")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let socket = Socket::new(io::stdin().as_fd().try_clone_to_owned()?)?;
        // They are handled by doing nothing, and not ignored: that is what children would inherit.
        let _deaf = [
            SignalKind::hangup(),
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::terminate(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
        ]
        .map(signal);
        let mut deaths = signal(SignalKind::child())?;
        let mut supervisor = Supervisor::default();
        let _pinned: Vec<_> = domain::OF_PROC.iter().map(|path| pin(path)).collect();
        let served = loop {
            let report = supervisor.reports.front().copied();
            tokio::select! {
                _ = deaths.recv() => supervisor.reap(),
                packet = socket.receive() => match packet {
                    Ok(Some((packet, brought))) => supervisor.obey(packet, brought),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                },
                sent = tell(&socket, report), if report.is_some() => match sent {
                    Ok(()) => drop(supervisor.reports.pop_front()),
                    Err(error) => break Err(error),
                },
            }
        };
        while kill_all() {
            deaths.recv().await;
        }
        served
    })
}

async fn tell(socket: &Socket, report: Option<Packet<Report>>) -> io::Result<()> {
    match report {
        Some(packet) => socket.send(&packet, None).await,
        None => Ok(()),
    }
}

#[derive(Default)]
struct Supervisor {
    children: HashMap<Pid, Child>,
    pids: HashMap<u64, Pid>,
    /// Not sent yet.
    reports: VecDeque<Packet<Report>>,
}

struct Child {
    id: u64,
    _proc: Option<OwnedFd>,
}

impl Supervisor {
    fn obey(&mut self, packet: Packet<Order>, brought: Option<OwnedFd>) {
        let id = packet.id;
        match (packet.what, brought, self.pids.get(&id)) {
            (Order::Start, Some(socket), None) => self.start(id, socket),
            // It has not been reaped, so the number is still its own.
            (Order::Terminate, _, Some(&pid)) => {
                // Before it has a group of its own, it is alone.
                let _ = kill_process_group(pid, Signal::TERM)
                    .or_else(|_| kill_process(pid, Signal::TERM));
            }
            (Order::Kill, _, Some(&pid)) => family::kill_tree(pid),
            // It has ended meanwhile.
            _ => {}
        }
    }

    fn start(&mut self, id: u64, socket: OwnedFd) {
        let started = Command::new("/proc/self/exe")
            .arg0("cloakroom")
            .arg(CHILD)
            .env_clear()
            .stdin(socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let what = match started {
            Ok(child) => {
                let pid = Pid::from_child(&child);
                let _proc = pin(&format!("/proc/{}", pid.as_raw_pid()));
                self.children.insert(pid, Child { id, _proc });
                self.pids.insert(id, pid);
                Report::Started(pid.as_raw_pid())
            }
            Err(error) => Report::NotStarted(error.raw_os_error().unwrap_or_default()),
        };
        self.reports.push_back(Packet { id, what });
    }

    /// Takes note of all that ended, and kills whom they left behind.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let code = status.exit_status().map(Exit::Code);
            let signal = status.terminating_signal().map(Exit::Signal);
            let (Some(child), Some(exit)) = (self.children.remove(&pid), code.or(signal)) else {
                continue;
            };
            self.pids.remove(&child.id);
            self.reports.push_back(Packet {
                id: child.id,
                what: Report::Exited(exit),
            });
        }
        for orphan in family::children(getpid()) {
            if !self.children.contains_key(&orphan) {
                family::kill_tree(orphan);
            }
        }
    }
}

/// Kills everything below this process, and says whether something may be left.
fn kill_all() -> bool {
    for child in family::children(getpid()) {
        family::kill_tree(child);
    }
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Err(Errno::CHILD) => return false,
            Ok(None) | Err(_) => return true,
        }
    }
}

/// Keeps what Landlock's rules on `/proc` are tied to: under memory pressure the kernel forgets a file there
/// and makes another of the same name, to which no rule applies.
fn pin(path: &str) -> Option<OwnedFd> {
    let path_only = i32::try_from(OFlags::PATH.bits()).ok()?;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(path_only)
        .open(path);
    opened.ok().map(OwnedFd::from)
}
