//! What the system tells of this process, by the names Prometheus' own libraries use.

use std::fs;

/// A figure's name, what it says, and its value.
pub(super) type Figure = (&'static str, &'static str, u64);

/// Reads `/proc` once; what is not to be had there is left out.
pub(super) fn figures() -> impl Iterator<Item = Figure> {
    let memory = "Memory of this process that is in RAM, in bytes";
    let most = "Files and sockets that may be open";
    [
        resident().map(|bytes| ("process_resident_memory_bytes", memory, bytes)),
        open_files().map(|open| ("process_open_fds", "Files and sockets open", open)),
        most_files().map(|files| ("process_max_fds", most, files)),
    ]
    .into_iter()
    .flatten()
}

fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn open_files() -> Option<u64> {
    let open = fs::read_dir("/proc/self/fd").ok()?;
    // One of them is the folder being read.
    Some(open.count().saturating_sub(1) as u64)
}

fn most_files() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
