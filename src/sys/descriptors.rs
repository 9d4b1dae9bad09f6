//! Descriptors that this process was started with.

use std::fs;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

/// Closes all but standard input, output and error. To be called before anything is opened, by the only
/// thread: what is open then was inherited, and belongs to nobody in this process.
#[allow(
    unsafe_code,
    reason = "what was inherited has no owner that could close it"
)]
pub fn close_inherited() {
    let Ok(open) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    // Read to its end first: this list is open too, and closed by then.
    let open: Vec<RawFd> = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for inherited in open.into_iter().filter(|fd| *fd > 2) {
        if fs::symlink_metadata(format!("/proc/self/fd/{inherited}")).is_ok() {
            // SAFETY: it is open, and the caller vouches that nothing in this process owns it.
            drop(unsafe { OwnedFd::from_raw_fd(inherited) });
        }
    }
}
