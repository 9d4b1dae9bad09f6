//! The Landlock domain of a child.

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictSelf,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

/// What is asked for. An older kernel gives what it has.
const WANTED: ABI = ABI::V9;

/// What of `/proc` says nothing of other processes, and runtimes ask for.
pub(super) const OF_PROC: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys",
    "/proc/uptime",
    "/proc/version",
];

const OF_SYS: &[&str] = &[
    "/sys/devices/system/cpu",
    "/sys/kernel/mm/transparent_hugepage",
];

const DEVICES: &[&str] = &[
    "/dev/full",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
];

/// Why there is no domain.
#[derive(Debug, thiserror::Error)]
pub(super) enum DomainError {
    #[error(
        "this kernel has no Landlock, or it is off, or a filter of system calls forbids it, so child \
         processes cannot be contained: set sandbox = \"none\" if they may do whatever their user may"
    )]
    Unavailable,
    #[error("the folder {0:?} of a child process cannot be opened: {1}")]
    Folder(PathBuf, #[source] landlock::PathFdError),
    #[error("the kernel does not contain the child process: {0}")]
    Ruleset(#[from] RulesetError),
}

/// The version of Landlock this kernel has, if it is there and on.
#[must_use]
pub fn landlock_available() -> Option<u32> {
    // Asks, and does nothing else: there is nothing to apply.
    let asked = RestrictSelf::default().no_new_privs(false).apply().ok()?;
    match asked.landlock {
        LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        } => u32::try_from(kernel_abi.unwrap_or(effective_abi as i32)).ok(),
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => None,
    }
}

/// What a child of a kernel with this version of Landlock can still do to what its user owns.
#[must_use]
pub fn landlock_gaps(abi: u32) -> Option<&'static str> {
    match abi {
        ..3 => Some(
            "this kernel (before Linux 6.2) does not keep child processes from emptying files of their \
             user, signalling its processes, or connecting to abstract sockets: give them a user of their own",
        ),
        3..6 => Some(
            "this kernel (before Linux 6.12) does not keep child processes from signalling processes of \
             their user or connecting to abstract sockets: give them a user of their own",
        ),
        _ => None,
    }
}

/// Puts this process into a domain of its own: it may read and run what is readable, and do all but make
/// devices in its folder.
///
/// # Errors
/// Landlock is missing, or refuses.
pub(super) fn enter(readable: &[PathBuf], folder: &Path) -> Result<(), DomainError> {
    let read = AccessFs::from_read(WANTED);
    let devices = AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::IoctlDev;
    let own = AccessFs::from_all(WANTED) & !devices;
    let root = PathFd::new(folder);
    let root = root.map_err(|error| DomainError::Folder(folder.to_owned(), error))?;
    // One's own processes only: `/proc/self` leads to the number it is now.
    let of_kernel = OF_PROC.iter().chain(OF_SYS).copied().chain(["/proc/self"]);
    let look: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let use_device: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::WriteFile;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(WANTED))?
        .scope(Scope::from_all(WANTED))?
        .create()?
        .add_rules(path_beneath_rules(readable, read))?
        .add_rules(path_beneath_rules(of_kernel, look))?
        .add_rules(path_beneath_rules(control_group(), look))?
        .add_rules(path_beneath_rules(DEVICES, use_device))?
        .add_rule(PathBeneath::new(root, own))?
        .restrict_self()?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err(DomainError::Unavailable),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

/// Where the limits of memory are that runtimes size themselves by.
fn control_group() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(own))
}
