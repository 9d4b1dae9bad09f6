//! What becomes of a child's standard error: the log, and the text of errors.
//!
//! `lines` cuts it into lines, has the mask hide secrets in them and `escape` make the rest safe to show, lets
//! through what its `allowance` allows, and keeps the `tail` for errors.

mod allowance;
mod escape;
mod lines;
#[cfg(test)]
mod lines_tests;
mod tail;

use std::time::Instant;

use tracing::info;

pub use self::lines::{Lines, Said};
use super::mask::Mask;
use crate::names::{ProfileName, ServerName};
use crate::vault::UserId;

/// The target of the lines children write, at level info: `log = "info,cloakroom::child=off"` leaves them
/// out.
pub const CHILD: &str = "cloakroom::child";

/// Whose child it is.
#[derive(Debug, Clone)]
pub(super) struct Whose {
    /// The server it is a process of.
    pub(in crate::stdio) server: ServerName,
    /// The user it runs for; a name may be a person's, so the log has the id.
    pub(in crate::stdio) user: UserId,
    /// With the secrets of which profile.
    pub(in crate::stdio) profile: ProfileName,
    /// Its process id.
    pub(in crate::stdio) pid: u32,
}

/// What one child writes to its standard error: into the log, with its secrets hidden, control characters
/// escaped, at most 50 lines at once and then 10 a second; the last lines are kept for errors.
pub(super) struct Words {
    whose: Whose,
    lines: Lines,
}

impl Words {
    /// Of a child that is being started, whose secrets `mask` hides.
    #[must_use]
    pub(in crate::stdio) fn new(mask: Mask, whose: Whose, now: Instant) -> Self {
        let lines = Lines::new(mask, now);
        Self { whose, lines }
    }

    /// Takes what came next.
    pub(in crate::stdio) fn push(&mut self, bytes: &[u8], now: Instant) {
        let Self { whose, lines } = self;
        lines.push(bytes, now, |said| log(whose, &said));
    }

    /// Nothing more comes.
    pub(in crate::stdio) fn end(&mut self, now: Instant) {
        let Self { whose, lines } = self;
        lines.end(now, |said| log(whose, &said));
    }

    /// The last lines for the text of an error: at most 1 KiB, parted by ` | `; empty when there were none.
    #[must_use]
    pub(in crate::stdio) fn tail(&self) -> String {
        self.lines.tail()
    }
}

/// A child's text comes last, so that nothing in it reads like a field of ours.
fn log(whose: &Whose, said: &Said<'_>) {
    let Whose {
        server,
        user,
        profile,
        pid,
    } = whose;
    match said {
        Said::Line(line) => {
            info!(target: CHILD, %server, %user, %profile, pid, %line, "A child wrote");
        }
        Said::LeftOut(lines) => {
            info!(target: CHILD, %server, %user, %profile, pid, lines, "A child wrote more than is logged");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    // Fails when the text comes before a field of ours, or says it in the user's name.
    #[test]
    fn a_line_says_whose_it_is_and_cannot_say_otherwise() {
        let user = "000102030405060708090a0b0c0d0e0f";
        let whose = Whose {
            server: ServerName::parse("notion").unwrap(),
            user: UserId::from_hex(user).unwrap(),
            profile: ProfileName::parse("work").unwrap(),
            pid: 77,
        };
        let (log, now) = (Log::default(), Instant::now());
        let writer = log.clone();
        let lines = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .finish();
        tracing::subscriber::with_default(lines, || {
            let mut words = Words::new(Mask::of([&b"ntn_1234"[..]]), whose, now);
            words.push(b"token ntn_1234 user=ab pid=1\nbad\x1b[0m", now);
            words.end(now);
            words.push(&b"more\n".repeat(60), now);
            words.end(now);
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = log.lines().collect();
        let fields = format!("server=notion user={user} profile=work pid=77");
        let wrote = format!(" INFO cloakroom::child: A child wrote {fields} line=");
        assert_eq!(lines.len(), 51, "{log}");
        assert_eq!(lines[0], format!("{wrote}token *** user=ab pid=1"));
        assert_eq!(lines[1], format!("{wrote}bad\\x1b[0m"));
        let more = "A child wrote more than is logged";
        assert!(
            lines[50].ends_with(&format!("{more} {fields} lines=12")),
            "{}",
            lines[50]
        );
    }
}
