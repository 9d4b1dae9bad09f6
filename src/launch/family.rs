//! Which processes are below which, as `/proc` shows it.
//!
//! Never by `getpgid`, `getpgrp` and `getsid`, of this process neither: for one that is just being reaped, and
//! for a group or session that began outside of our PID namespace (`kubectl exec`, `nsenter`, `unshare`), the
//! kernel answers 0, which rustix takes for impossible (it panics where that is looked at, and makes an invalid
//! `Pid`).

use std::fs;
use std::os::fd::OwnedFd;

use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, kill_process, kill_process_group, pidfd_open,
    pidfd_send_signal,
};

/// Below how many others a process is looked for; more is a circle of numbers used anew.
const DEPTH: usize = 1024;

/// The children of a process, those that ended and were not reaped too. Complete when it is asked of this
/// process by its only thread: the list then grows only at its end.
pub(super) fn children(of: Pid) -> Vec<Pid> {
    let of = of.as_raw_nonzero();
    if !fs::exists("/proc/thread-self/children").unwrap_or(false) {
        return scanned(of.get());
    }
    let Ok(threads) = fs::read_dir(format!("/proc/{of}/task")) else {
        return Vec::new();
    };
    let listed = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let mut found = Vec::new();
    for list in listed {
        found.extend(list.split_ascii_whitespace().filter_map(parse));
    }
    found
}

/// The same where the kernel keeps no such list (`CONFIG_PROC_CHILDREN`).
fn scanned(of: i32) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| parse(entry.file_name().to_str()?))
        .filter(|pid| parent(*pid).is_some_and(|parent| parent.as_raw_pid() == of))
        .collect()
}

fn parse(pid: &str) -> Option<Pid> {
    // A negative one, which `/proc` shows of what is gone, is not to be given to rustix either.
    Pid::from_raw(pid.parse().ok().filter(|pid| *pid > 0)?)
}

/// What a process belongs to: its parent, its process group, its session. One that is just being reaped
/// belongs to nothing any more, and what is outside of our PID namespace has no number.
struct Kin {
    parent: Option<Pid>,
    group: Option<Pid>,
    session: Option<Pid>,
}

impl Kin {
    fn of(pid: Pid) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?)
    }

    fn parse(stat: &[u8]) -> Option<Self> {
        // The name before it, in parentheses, may hold anything, also what is no text.
        let stat = String::from_utf8_lossy(stat);
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace().skip(1).map(parse);
        Some(Self {
            parent: fields.next()?,
            group: fields.next()?,
            session: fields.next()?,
        })
    }
}

/// Whose child a process is.
fn parent(pid: Pid) -> Option<Pid> {
    Kin::of(pid)?.parent
}

fn group(pid: Pid) -> Option<Pid> {
    Kin::of(pid)?.group
}

/// The session of a process. Nothing for one that is gone or just being reaped, or whose `/proc` is hidden
/// from us (`hidepid`; a process that is not dumpable), or whose session began outside of our PID namespace.
pub(super) fn session(pid: Pid) -> Option<Pid> {
    Kin::of(pid)?.session
}

/// All below a process.
fn descendants(of: Pid) -> Vec<Pid> {
    let mut found = children(of);
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let below: Vec<_> = children(*pid)
            .into_iter()
            .filter(|child| !found.contains(child))
            .collect();
        found.extend(below);
        next += 1;
    }
    found
}

fn is_below(mut pid: Pid, ancestor: Pid) -> bool {
    for _ in 0..DEPTH {
        match parent(pid) {
            Some(above) if above == ancestor => return true,
            Some(above) => pid = above,
            None => return false,
        }
    }
    false
}

/// Kills a child of this process, its process group, and all below it. It must not have been reaped: its
/// number could be another's. What is forked meanwhile turns up below this process when its parent is gone.
pub(super) fn kill_tree(child: Pid) {
    let below: Vec<_> = descendants(child)
        .into_iter()
        .filter_map(|pid| held(pid, child))
        .collect();
    // A group has members of one session only, so none that is not below a child.
    if let Some(group) = group(child)
        && Some(group) != self::group(getpid())
    {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = kill_process(child, Signal::KILL);
    for process in below {
        let _ = pidfd_send_signal(&process, Signal::KILL);
    }
}

/// A process that is surely below another: others may reap it and use its number anew, but not while its
/// descriptor is held and its ancestors are looked at afterwards.
fn held(pid: Pid, below: Pid) -> Option<OwnedFd> {
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    is_below(pid, below).then_some(process)
}

/// Bytes of memory a process and all below it have in use. What they share is counted for each.
pub(super) fn resident(pid: Pid) -> Option<u64> {
    let of = |pid: Pid| {
        let statm = fs::read_to_string(format!("/proc/{}/statm", pid.as_raw_pid())).ok()?;
        let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(pages * rustix::param::page_size() as u64)
    };
    let own = of(pid)?;
    Some(own + descendants(pid).into_iter().filter_map(of).sum::<u64>())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_is_just_being_reaped_belongs_to_nothing() {
        let parsed = |stat: &[u8]| {
            let Kin {
                parent,
                group,
                session,
            } = Kin::parse(stat).unwrap();
            [parent, group, session].map(|pid| pid.map(Pid::as_raw_pid))
        };
        let named = b"1 (a ) \xff (b) S 7 8 9 0 -1";
        assert_eq!(parsed(named), [Some(7), Some(8), Some(9)]);
        assert_eq!(parsed(b"1 (a) X 0 0 0 0 -1"), [None; 3]);
        assert_eq!(parsed(b"1 (a) X -1 -1 0 0 -1"), [None; 3]);
    }

    #[test]
    fn a_process_belongs_to_what_the_system_says() {
        // One of its own, since this one's may have begun outside of the PID namespace.
        let mut child = Command::new("setsid")
            .arg("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        // What `cat` says was said after `setsid` made its session.
        input.write_all(b"x").unwrap();
        output.read_exact(&mut [0]).unwrap();
        let pid = Pid::from_child(&child);
        let belongs = (parent(pid), group(pid), session(pid));
        drop(input);
        child.wait().unwrap();
        assert_eq!(belongs, (Some(getpid()), Some(pid), Some(pid)));
    }
}
