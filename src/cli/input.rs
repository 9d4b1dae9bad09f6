//! Secrets and keys from a hidden prompt or from standard input, never from arguments.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use zeroize::Zeroizing;

use super::Failure;
use super::keyring_source::fill;
use crate::vault::SECRET_MAX;

/// Room for the longest secret, a newline, and one byte more that shows it is too long.
const ROOM: usize = SECRET_MAX + 3;

/// Asks for a value without showing it when a person sits there, else takes all of standard input.
/// Exactly one newline at the end (`\n` or `\r\n`) is dropped: `echo` and editors add one that
/// nobody means, while a second one was meant.
pub(super) fn hidden(prompt: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut value = if io::stdin().is_terminal() {
        let typed = rpassword::prompt_password(prompt)
            .map_err(|error| Failure::new(format!("nothing could be read: {error}")))?;
        Zeroizing::new(typed.into_bytes())
    } else {
        piped().map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))?
    };
    drop_newline(&mut value);
    Ok(value)
}

/// Asks a person to type `expected`; `None` when nobody sits there.
pub(super) fn confirmed(prompt: &str, expected: &str) -> Option<bool> {
    if !io::stdin().is_terminal() {
        return None;
    }
    let _ = io::Write::write_all(&mut io::stderr(), prompt.as_bytes());
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    Some(read.is_ok() && line.trim() == expected)
}

/// Without the buffer of [`io::stdin`], which is never wiped.
fn piped() -> io::Result<Zeroizing<Vec<u8>>> {
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut bytes = Zeroizing::new(vec![0; ROOM]);
    let len = fill(&mut stdin, &mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

fn drop_newline(value: &mut Zeroizing<Vec<u8>>) {
    if value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_newline_is_dropped() {
        for (given, kept) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a\r\n\r\n", "a\r\n"),
            ("a\r", "a\r"),
            ("\n", ""),
            ("", ""),
        ] {
            let mut value = Zeroizing::new(given.as_bytes().to_vec());
            drop_newline(&mut value);
            assert_eq!(*value, kept.as_bytes(), "{given:?}");
        }
    }
}
