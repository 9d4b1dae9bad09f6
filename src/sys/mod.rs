//! What is asked of the operating system about this process and its machine.
//!
//! The one module where `unsafe` would be allowed; there is none yet.

mod files;

pub use files::{PrivateFileError, open_private};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// What the machine, or the pod, calls itself.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// The number of the user this process runs as.
#[must_use]
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Keeps this process's memory to itself: no core dump holds it, and other processes of the same
/// user can neither trace it nor read its environment. To be called before the keyring is read.
///
/// What the system refuses is logged, not fatal: it is a second wall, not the first.
pub fn keep_memory_private() {
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let done = setrlimit(Resource::Core, no_core)
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = done {
        tracing::warn!(%error, "the system does not let this process keep its memory to itself");
    }
}
