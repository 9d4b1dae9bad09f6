//! No child, and nothing it started, outlives what it is for.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::support::{Chance, memory};

/// How long anything may take to be gone.
const GONE: Duration = Duration::from_secs(30);

/// What no other process has in its command line.
fn mark() -> String {
    format!("launch-mark-{:012x}", Chance::new(7).next())
}

/// The processes that have the mark, zombies too: those have no command line, but it is theirs whose parent
/// they have.
fn marked(mark: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let folders = processes.map(|entry| entry.path());
    let lines = folders.filter_map(|folder| {
        let line = fs::read(folder.join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        Some(format!("{}: {line}", folder.display()))
    });
    lines.filter(|line| line.contains(mark)).collect()
}

/// The children of a process, alive or not.
fn children(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < GONE, "not yet: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Leaves a daemon: a grandchild in a session of its own, whose parent is gone. `$0` is the mark.
const DAEMON: &str = "(setsid sh -c 'sleep 1000; :' \"$0\" &); ";

/// Starts a script, and waits until it says that it is up.
async fn up(room: &Room, script: &str, mark: &str) -> Process {
    let script = script.replace("UP", "echo up");
    let mut process = room.launch(&["sh", "-c", &script, mark]).await.unwrap();
    let mut said = [0; 3];
    let read = process.stdout.read_exact(&mut said);
    timeout(GONE, read).await.unwrap().unwrap();
    process
}

/// One life of each kind of child that is hard to end.
async fn cycle(room: &Room, kind: usize, mark: &str) {
    match kind {
        // One that has a daemon.
        0 => {
            let process = up(room, &format!("{DAEMON} UP; cat; :"), mark).await;
            process.handle.kill();
            assert_eq!(process.handle.exited().await, Exit::Signal(9));
        }
        // One that does not listen.
        1 => {
            let process = up(room, "trap '' TERM; UP; sleep 1000; :", mark).await;
            process.handle.terminate();
            process.handle.kill();
            assert_eq!(process.handle.exited().await, Exit::Signal(9));
        }
        // One whose output nobody reads.
        2 => drop(up(room, "UP; cat /dev/zero; :", mark).await),
        // One that goes by itself, and leaves a daemon.
        _ => {
            let process = up(room, &format!("{DAEMON} UP; exit 3"), mark).await;
            assert_eq!(process.handle.exited().await, Exit::Code(3));
        }
    }
}

/// Bytes of memory, and open descriptors, which only root is shown.
fn cost(pid: u32) -> (u64, Option<usize>) {
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    let open = open.ok().map(Iterator::count);
    (memory(pid), open)
}

// Fails when orphans are not killed (`Supervisor::reap`), when a kill goes to the process alone, or when what
// is reaped stays in a table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_500_children_that_are_hard_to_end_nothing_is_left() {
    let room = Room::new();
    let mark = mark();
    let supervisor = room.launcher.supervisor_pid();
    let mut after_some = None;
    for batch in 0..25 {
        let cycles = (0..20).map(|i| cycle(&room, (batch + i) % 4, &mark));
        futures_util::future::join_all(cycles).await;
        if batch == 4 {
            until("some are gone", || children(supervisor).is_empty()).await;
            // What it opens to look around it closes at once.
            let several = (0..20).map(|_| cost(supervisor));
            after_some = several.min_by_key(|(_, open)| *open);
        }
    }
    until("all are gone", || marked(&mark).is_empty()).await;
    until("none is a zombie", || children(supervisor).is_empty()).await;
    let (before, open_before) = after_some.unwrap();
    until("what it opened is closed", || {
        cost(supervisor).1 <= open_before
    })
    .await;
    let (memory, _) = cost(supervisor);
    println!("supervisor: {before} -> {memory} bytes, {open_before:?} descriptors");
    assert!(memory < before + (1 << 20), "{before} -> {memory}");
}

#[tokio::test]
async fn a_launch_that_is_given_up_leaves_nothing() {
    let room = Room::new();
    let mark = mark();
    let mut chance = Chance::new(3);
    let (mut done, mut given_up) = (0, 0);
    while done + given_up < 60 {
        let wait = Duration::from_micros(chance.below(30_000));
        match timeout(wait, up(&room, "UP; sleep 1000; :", &mark)).await {
            Ok(process) => {
                done += 1;
                drop(process);
            }
            Err(_) => given_up += 1,
        }
    }
    let supervisor = room.launcher.supervisor_pid();
    until("all are gone", || {
        marked(&mark).is_empty() && children(supervisor).is_empty()
    })
    .await;
    assert!(given_up > 5, "{done} done, {given_up} given up");
}

#[tokio::test]
async fn the_supervisor_is_deaf_and_goes_with_the_last_handle() {
    let room = Room::new();
    let mark = mark();
    let supervisor = room.launcher.supervisor_pid();
    drop(up(&room, "UP; sleep 1000; :", &mark).await);
    for name in [
        Signal::INT,
        Signal::TERM,
        Signal::HUP,
        Signal::QUIT,
        Signal::PIPE,
    ] {
        signal(supervisor, name);
    }
    let process = up(&room, &format!("{DAEMON} UP; sleep 1000; :"), &mark).await;
    assert_eq!(room.launcher.supervisor_pid(), supervisor);
    // As a child finds it: what the supervisor does not hear, children do.
    process.handle.terminate();
    assert_eq!(process.handle.exited().await, Exit::Signal(15));
    drop(process);
    let process = up(&room, &format!("{DAEMON} UP; sleep 1000; :"), &mark).await;
    let Room {
        launcher, folder, ..
    } = room;
    drop(launcher);
    assert!(process.handle.memory().is_some(), "the handle keeps it");
    drop(process);
    let there = format!("/proc/{supervisor}");
    until("the supervisor is gone", || !fs::exists(&there).unwrap()).await;
    assert_eq!(marked(&mark), [""; 0], "it waits until all are gone");
    drop(folder);
}

// Fails when the proxy does not adopt, or when children do not die with the supervisor.
#[tokio::test]
async fn nothing_survives_a_supervisor_that_is_killed_and_the_next_child_has_another() {
    let room = Room::new();
    let mark = mark();
    let script = format!("{DAEMON} UP; trap '' TERM; sleep 1000; :");
    let first = up(&room, &script, &mark).await;
    let second = up(&room, &script, &mark).await;
    let supervisor = room.launcher.supervisor_pid();
    signal(supervisor, Signal::KILL);
    for process in [&first, &second] {
        let exit = timeout(GONE, process.handle.exited()).await.unwrap();
        assert_eq!(exit, Exit::Signal(9));
        assert_eq!(process.handle.memory(), None);
    }
    assert_eq!(marked(&mark), [""; 0]);
    let third = up(&room, &script, &mark).await;
    assert_ne!(room.launcher.supervisor_pid(), supervisor);
    third.handle.kill();
    assert_eq!(third.handle.exited().await, Exit::Signal(9));
    until("all are gone", || marked(&mark).is_empty()).await;
}

const HOLDS: &str = "CLOAKROOM_TEST_HOLDS";

// In two parts: the proxy is this test again, in a process of its own. Fails when the supervisor goes on when
// its socket ends.
#[tokio::test]
async fn nothing_survives_a_proxy_that_is_killed() {
    if let Ok(mark) = std::env::var(HOLDS) {
        let room = Room::new();
        let mut held = Vec::new();
        for script in [
            format!("{DAEMON} UP; sleep 1000; :"),
            "trap '' TERM HUP; UP; sleep 1000; :".to_owned(),
            "UP; cat /dev/zero; :".to_owned(),
        ] {
            held.push(up(&room, &script, &mark).await);
        }
        println!("supervisor={}", room.launcher.supervisor_pid());
        return std::future::pending().await;
    }
    let mark = mark();
    let name = "launch::survivors::nothing_survives_a_proxy_that_is_killed";
    let mut proxy = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(HOLDS, &mark)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(proxy.stdout.take().unwrap()).lines();
    let mut said = lines.map_while(Result::ok);
    let supervisor = said.find_map(|line| Some(line.split_once("supervisor=")?.1.to_owned()));
    let supervisor = supervisor.unwrap();
    assert!(marked(&mark).len() >= 4, "{:?}", marked(&mark));
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    until("all are gone", || marked(&mark).is_empty()).await;
    // Whoever adopts it reaps it or not: a zombie has no program.
    let program = format!("/proc/{supervisor}/exe");
    until("the supervisor is gone", || {
        fs::read_link(&program).is_err()
    })
    .await;
}

// Fails when only the process that was started is killed: the others fork faster.
#[tokio::test]
async fn a_fork_bomb_ends_with_its_child() {
    let mut room = Room::new();
    if rustix::process::geteuid().as_raw() == 0 {
        // The limit does not hold for root.
        room.containment.user = Some((54_322, 54_322));
    }
    room.containment.limits.processes = Some(200);
    let mark = mark();
    // Half of them in sessions of their own.
    let bomb = "bomb() { while :; do bomb & setsid sh -c \"$1\" \"$0\" \"$1\" & wait; done; }; \
                echo up; bomb 2>/dev/null";
    let command = ["sh", "-c", bomb, &mark, bomb];
    let mut process = room.launch(&command).await.unwrap();
    let mut said = [0; 3];
    process.stdout.read_exact(&mut said).await.unwrap();
    until("it is large", || marked(&mark).len() > 50).await;
    process.handle.kill();
    assert_eq!(process.handle.exited().await, Exit::Signal(9));
    let supervisor = room.launcher.supervisor_pid();
    until("all are gone", || {
        marked(&mark).is_empty() && children(supervisor).is_empty()
    })
    .await;
}
