//! The program's own code in memory.

use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::ptr;

use rustix::mm::{Advice, madvise};

/// Lets go of what was read of the program's file until now: of the code a start runs, most is never run
/// again, and it is two thirds of what a process that just began occupies. What is wanted again is taken from
/// the system's cache of the file, a minor fault for each 64 KiB or so.
///
/// What the system refuses is no harm, and not told.
pub fn forget_start() {
    for part in unchanged().unwrap_or_default() {
        drop_pages(part);
    }
}

/// Where parts of this program's file lie as the file has them.
fn unchanged() -> io::Result<Vec<Range<usize>>> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let program = program.to_str().unwrap_or_default();
    let parts = maps.lines().filter_map(|line| part_of(line, program));
    Ok(parts.collect())
}

/// The range of a line of `/proc/PID/maps` that is a part of `program` nobody writes to, and nobody has:
/// its code, and the constants before it. What the loader filled in and then protected comes after both.
fn part_of(line: &str, program: &str) -> Option<Range<usize>> {
    let (range, rest) = line.split_once(' ')?;
    let mut words = rest.split_whitespace();
    let (rights, offset) = (words.next()?, words.next()?);
    let is_unchanged = match rights {
        "r-xp" => true,
        "r--p" => offset.bytes().all(|digit| digit == b'0'),
        _ => false,
    };
    let is_ours = is_unchanged && words.nth(2) == Some(program);
    let (start, end) = range.split_once('-').filter(|_| is_ours)?;
    let number = |digits| usize::from_str_radix(digits, 16).ok();
    Some(number(start)?..number(end)?)
}

#[expect(
    unsafe_code,
    reason = "memory is taken from under this process, which gets the same again"
)]
fn drop_pages(part: Range<usize>) {
    let start = ptr::with_exposed_provenance_mut::<c_void>(part.start);
    // SAFETY: these pages are a private mapping of the program's file that is not writable and never was, so
    // they say what the file says, and say it again when they are next looked at. The file cannot change
    // meanwhile: the system lets nobody write to a program that runs (ETXTBSY).
    let _ = unsafe { madvise(start, part.len(), Advice::LinuxDontNeed) };
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when anything else is taken for it: what was written to would be lost.
    #[test]
    fn only_what_nobody_writes_to_is_let_go() {
        let line = |what, file| format!("7f00-8f00 {what} 08:01 42      {file}");
        let part = |what, file| part_of(&line(what, file), "/bin/cloakroom");
        for what in ["r-xp 00001000", "r--p 00000000"] {
            assert_eq!(part(what, "/bin/cloakroom"), Some(0x7f00..0x8f00));
        }
        for what in ["rwxp 00001000", "r--p 00001000", "rw-p 00000000", "r-xs 0"] {
            assert_eq!(part(what, "/bin/cloakroom"), None);
        }
        for file in ["", "/lib/libc.so.6", "/bin/cloakroom.old", "[vdso]"] {
            assert_eq!(part("r-xp 00001000", file), None);
        }
        assert_eq!(part_of("", "/bin/cloakroom"), None);
    }

    #[test]
    fn the_program_goes_on_after_it_was_let_go() {
        let parts = unchanged().unwrap();
        let code = only_what_nobody_writes_to_is_let_go as fn() as usize;
        let constant = "a constant".as_ptr().addr();
        for here in [code, constant] {
            assert!(parts.iter().any(|part| part.contains(&here)));
        }
        forget_start();
        only_what_nobody_writes_to_is_let_go();
    }
}
