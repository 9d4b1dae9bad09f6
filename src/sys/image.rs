//! The files this process runs: the program and its libraries.

use std::collections::HashSet;
use std::ffi::c_void;
use std::fs;
use std::ops::Range;
use std::ptr;

use rustix::mm::{Advice, madvise};

/// The parts of the program and its libraries in memory that nobody may write to. They stay where they are for
/// as long as this process does.
pub struct Image {
    /// As `/proc/self/maps` has them.
    parts: HashSet<String>,
}

impl Image {
    /// To be called while this process has one thread: what another is just mapping, or will take away again,
    /// looks the same.
    #[must_use]
    pub fn loaded() -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let parts = maps.lines().filter(|line| read_only(line).is_some());
        Self {
            parts: parts.map(str::to_owned).collect(),
        }
    }

    /// Lets go of what was read of these files until now: of the code a start runs, most is never run again, and
    /// it is two thirds of what a process that just began occupies. What is wanted again is taken from the
    /// system's cache of the file, a minor fault for each 64 KiB or so. Takes some milliseconds.
    ///
    /// What the system refuses is no harm, and not told.
    pub fn forget_start(&self) {
        let now = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        for part in self.unchanged(&now) {
            drop_pages(part);
        }
    }

    /// Those of its parts that are still there, and of which every page is as the file has it.
    fn unchanged(&self, smaps: &str) -> Vec<Range<usize>> {
        let (mut found, mut part, mut clean) = (Vec::new(), None, 0);
        for line in smaps.lines() {
            if is_first(line) {
                part = read_only(line).filter(|_| self.parts.contains(line));
                clean = 0;
            }
            clean += usize::from(is_clean(line));
            // Of its own this process has no page, neither in memory nor swapped out.
            if clean == 2 {
                found.extend(part.take());
            }
        }
        found
    }
}

/// Whether a line of `/proc/PID/smaps` is the first of a part, which is a line of `/proc/PID/maps`.
fn is_first(line: &str) -> bool {
    range(line).is_some()
}

fn range(line: &str) -> Option<Range<usize>> {
    let (range, _) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |digits| usize::from_str_radix(digits, 16).ok();
    Some(number(start)?..number(end)?)
}

/// The range of a part, by its first line, that is a file's, private, and not to be written to.
fn read_only(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_whitespace().skip(1);
    let is_fixed = ["r-xp", "r--p"].contains(&words.next()?);
    let is_file = words.nth(3)?.starts_with('/');
    range(line).filter(|_| is_fixed && is_file)
}

/// Two lines say of a part how many of its pages are no longer what the file says: what the loader filled in
/// before it was protected, or a debugger wrote.
fn is_clean(line: &str) -> bool {
    let own = ["Anonymous:", "Swap:"]
        .iter()
        .find_map(|name| line.strip_prefix(name));
    own.is_some_and(|own| own.trim() == "0 kB")
}

#[expect(
    unsafe_code,
    reason = "memory is taken from under this process, which gets the same again"
)]
fn drop_pages(part: Range<usize>) {
    let start = ptr::with_exposed_provenance_mut::<c_void>(part.start);
    // SAFETY: this is a part of the program, or of a library it was started with, and these are never unmapped.
    // It is private, nobody may write to it, and none of its pages was written to. So they say what the file
    // says, and say it again when they are next looked at; and who writes to the file would be seen through them
    // as they were, too.
    let _ = unsafe { madvise(start, part.len(), Advice::LinuxDontNeed) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(what: &str, file: &str) -> String {
        format!("7f00-8f00 {what} 00001000 08:01 42      {file}")
    }

    #[test]
    fn what_somebody_may_write_to_is_no_part_of_it() {
        for what in ["r-xp", "r--p"] {
            assert_eq!(read_only(&first(what, "/bin/x")), Some(0x7f00..0x8f00));
            assert_eq!(read_only(&first(what, "[vdso]")), None);
            assert_eq!(read_only(&first(what, "")), None);
        }
        for what in ["rwxp", "rw-p", "r-xs", "r--s", "---p"] {
            assert_eq!(read_only(&first(what, "/bin/x")), None);
        }
        for line in [
            "",
            "Size: 16 kB",
            "VmFlags: rd ex mr mw me sd",
            "Rss: 4-5 kB",
        ] {
            assert!(!is_first(line), "{line}");
        }
    }

    // Fails when a page of our own, also one that was swapped out, or a part that was not there, does not count.
    #[test]
    fn only_what_is_all_the_files_is_let_go() {
        let (known, other) = (first("r--p", "/bin/x"), first("r--p", "/bin/y"));
        let image = Image {
            parts: HashSet::from([known.clone()]),
        };
        let unchanged = |first: &str, own: u32, swapped: u32| {
            let smaps = format!(
                "1-2 rw-p 0 0:0 0 \nAnonymous: 0 kB\nSwap: 0 kB\n{first}\nSize: 4 kB\n\
                 Anonymous:  {own} kB\nSwapPss:  0 kB\nSwap:      {swapped} kB\n3-4 rw-p 0 0:0 0 \n\
                 Anonymous: 0 kB\nSwap: 0 kB\n"
            );
            image.unchanged(&smaps)
        };
        assert_eq!(unchanged(&known, 0, 0).first(), Some(&(0x7f00..0x8f00)));
        assert!(unchanged(&known, 4, 0).is_empty());
        assert!(unchanged(&known, 0, 8).is_empty());
        assert!(unchanged(&other, 0, 0).is_empty());
    }

    #[test]
    fn the_program_is_in_it() {
        let image = Image::loaded();
        let code = what_somebody_may_write_to_is_no_part_of_it as fn() as usize;
        let mut parts = image.parts.iter().filter_map(|line| read_only(line));
        assert!(parts.any(|part| part.contains(&code)));
    }
}
