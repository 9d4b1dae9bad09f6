//! What processes used, as the kernel counts it.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

/// A thread of a watched process.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Thread {
    /// Its number.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// The CPU time of each thread of these processes, in nanoseconds: from `schedstat`, since `stat` counts in
/// ticks of 10 ms.
pub fn cpu(pids: &[u32]) -> BTreeMap<Thread, u64> {
    pids.iter().flat_map(|pid| cpu_of(*pid)).collect()
}

fn cpu_of(pid: u32) -> Vec<(Thread, u64)> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let run = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let run = text.split(' ').next()?.parse().ok()?;
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        let thread = Thread {
            id: task.file_name().into_string().ok()?,
            name: name.trim_end().to_owned(),
        };
        Some((thread, run))
    };
    tasks.flatten().filter_map(run).collect()
}

/// The CPU time of this process, in seconds.
pub fn own_cpu() -> f64 {
    cpu(&[std::process::id()]).values().sum::<u64>() as f64 / 1e9
}

/// The memory of these processes, in KiB: resident, its proportional share, and the most that was resident.
pub fn memory(pids: &[u32]) -> Value {
    let sum = |file: &str, label: &str| -> u64 {
        pids.iter().filter_map(|pid| field(*pid, file, label)).sum()
    };
    json!({
        "rss": sum("status", "VmRSS:"),
        "pss": sum("smaps_rollup", "Pss:"),
        "peak": sum("status", "VmHWM:"),
    })
}

fn field(pid: u32, file: &str, label: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
