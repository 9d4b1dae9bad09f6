//! What several tests need.
pub(crate) mod backend;
pub(crate) mod chaos;
pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod counted;
pub(crate) mod echo;
pub(crate) mod health;
pub(crate) mod load;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod relay;
pub(crate) mod sse;

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use tempfile::TempDir;

/// What backends say of a credential instead of the credential.
pub(crate) fn fingerprint(credential: &[u8]) -> String {
    let hash = digest(&SHA256, credential);
    hash.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// A folder for a store, in memory where there is such a place. SQLite and a node of a Cluster wait for the disk, which
/// takes half a second when the compiler's work is just being written there. A container may have 64 MB of it, which is
/// too little for these tests together.
pub(crate) fn folder_in_memory() -> TempDir {
    const ENOUGH: u64 = 1 << 30;
    let free = rustix::fs::statvfs("/dev/shm").map(|fs| fs.f_bavail * fs.f_frsize);
    let memory = free.is_ok_and(|free| free >= ENOUGH);
    let folder = memory.then(|| TempDir::new_in("/dev/shm").ok()).flatten();
    folder.unwrap_or_else(|| TempDir::new().unwrap())
}

/// Memory of a process in bytes, without its code, of which more or less is there as it happens.
pub(crate) fn memory(pid: u32) -> u64 {
    kibibytes(pid, "RssAnon:") << 10
}

/// What a line of `/proc/PID/status` says, in KiB.
pub(crate) fn kibibytes(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let said = status.lines().find_map(|said| said.strip_prefix(line));
    let number = said.unwrap().trim().strip_suffix(" kB").unwrap();
    number.parse().unwrap()
}

/// Chance for tests (xorshift64): cheap, and no secret depends on it.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self((clock.as_nanos() as u64) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number from 0 to `end - 1`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
