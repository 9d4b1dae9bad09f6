//! What is asked of the operating system about this process and its machine.
//!
//! The one module where `unsafe` is allowed.

mod clock;
mod descriptors;
mod files;
mod image;
#[cfg(feature = "jemalloc")]
mod memory;
mod sockets;
mod watched;

pub use clock::{Tick, turn, wall};
pub use descriptors::close_inherited;
pub use files::{PrivateFileError, open_private};
pub use image::Image;
#[cfg(feature = "jemalloc")]
pub use memory::{Allocator, give_back_when_idle};
pub use sockets::keep_alive;
pub use watched::Watched;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// What the machine, or the pod, calls itself.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Lets this process have as many file descriptors as the system allows it, and says how many.
pub fn raise_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of file descriptors stays as it is");
    }
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
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
