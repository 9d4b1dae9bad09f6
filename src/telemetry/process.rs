//! What the system tells of this process, by the names Prometheus' own libraries use.

use std::fs;

use super::metrics::Page;

/// Reads `/proc` once; what is not to be had there is left out.
pub(super) fn figures(page: &mut Page<'_, '_>) {
    if let Some(bytes) = resident() {
        let help = "Memory of this process that is in RAM, in bytes";
        page.gauge("process_resident_memory_bytes", help, bytes);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder being read.
        let open = open.count().saturating_sub(1) as u64;
        page.gauge("process_open_fds", "Files and sockets open", open);
    }
    if let Some(most) = most_files() {
        let help = "Files and sockets that may be open";
        page.gauge("process_max_fds", help, most);
    }
}

fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn most_files() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
