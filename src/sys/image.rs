//! The files this process runs: the program and its libraries.

use std::ffi::c_void;
use std::ops::Range;
use std::{io, ptr};

use rustix::mm::{Advice, madvise};

/// Lets go of what was read of the program and its libraries until now: of the code a start runs, most is
/// never run again, and it is two thirds of what a process that just began occupies. What is wanted again is
/// taken from the system's cache of the file, a minor fault for each 64 KiB or so.
///
/// What the system refuses is no harm, and not told.
pub fn forget_start() {
    for part in unchanged().unwrap_or_default() {
        drop_pages(part);
    }
}

/// Where parts of files lie as the files have them.
fn unchanged() -> io::Result<Vec<Range<usize>>> {
    let maps = std::fs::read_to_string("/proc/self/smaps")?;
    let mut found = Vec::new();
    let mut part = None;
    for line in maps.lines() {
        if let Some(begun) = read_only(line) {
            part = begun;
        } else if is_all_the_files(line) {
            found.extend(part.take());
        }
    }
    Ok(found)
}

/// The first line of a part in `/proc/PID/smaps`: its range, if it is of a file, private, and nobody may write
/// to it. `None` for other lines.
fn read_only(line: &str) -> Option<Option<Range<usize>>> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |digits| usize::from_str_radix(digits, 16).ok();
    let range = number(start)?..number(end)?;
    let is_fixed = ["r-xp ", "r--p "]
        .iter()
        .any(|rights| rest.starts_with(rights));
    let is_file = rest
        .split_whitespace()
        .nth(4)
        .is_some_and(|name| name.starts_with('/'));
    Some((is_fixed && is_file).then_some(range))
}

/// The line of a part that says that none of its pages is this process's own: what the loader filled in, before
/// it was protected, or a debugger wrote, is no longer what the file says.
fn is_all_the_files(line: &str) -> bool {
    let own = line.strip_prefix("Anonymous:").map(str::trim);
    own == Some("0 kB")
}

#[expect(
    unsafe_code,
    reason = "memory is taken from under this process, which gets the same again"
)]
fn drop_pages(part: Range<usize>) {
    let start = ptr::with_exposed_provenance_mut::<c_void>(part.start);
    // SAFETY: these pages are a file's, in a private mapping that nobody may write to and of which nobody has
    // written to any. So they say what the file says, and say it again when they are next looked at; and who
    // writes to the file would be seen through them as they were, too.
    let _ = unsafe { madvise(start, part.len(), Advice::LinuxDontNeed) };
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when what somebody may write to, or has written to, is taken for the file's.
    #[test]
    fn only_what_is_all_the_files_is_let_go() {
        let first =
            |what, file| read_only(&format!("7f00-8f00 {what} 00001000 08:01 42      {file}"));
        for what in ["r-xp", "r--p"] {
            assert_eq!(first(what, "/bin/cloakroom"), Some(Some(0x7f00..0x8f00)));
            assert_eq!(first(what, "[vdso]"), Some(None));
            assert_eq!(first(what, ""), Some(None));
        }
        for what in ["rwxp", "rw-p", "r-xs", "r--s", "---p"] {
            assert_eq!(first(what, "/bin/cloakroom"), Some(None));
        }
        for line in [
            "",
            "Size:  16 kB",
            "VmFlags: rd ex mr mw me sd",
            "Rss: 4-5 kB",
        ] {
            assert_eq!(read_only(line), None, "{line}");
        }
        assert!(is_all_the_files("Anonymous:             0 kB"));
        for line in [
            "Anonymous:             4 kB",
            "AnonHugePages:         0 kB",
            "",
        ] {
            assert!(!is_all_the_files(line), "{line}");
        }
    }

    #[test]
    fn the_program_goes_on_after_it_was_let_go() {
        let parts = unchanged().unwrap();
        let code = only_what_is_all_the_files_is_let_go as fn() as usize;
        let constant = "a constant".as_ptr().addr();
        for here in [code, constant] {
            assert!(parts.iter().any(|part| part.contains(&here)));
        }
        forget_start();
        only_what_is_all_the_files_is_let_go();
    }
}
