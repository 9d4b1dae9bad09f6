//! Writing to what may have a slow reader, or none.

use std::fs::File;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a reader may take nothing.
const PATIENCE: Duration = Duration::from_millis(200);
/// Bytes a pipe that has room for any takes at once (PIPE_BUF, pipe(7)): so that a blocking one does not block.
const CHUNK: usize = 4096;

/// Writes until the reader takes nothing any more; says how much was written, and why no more was.
pub(super) fn write(mut file: &File, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    let mut until = Instant::now() + PATIENCE;
    while written < bytes.len() {
        if let Err(error) = wait(file, until) {
            return (written, Some(error));
        }
        let rest = &bytes[written..];
        match file.write(&rest[..rest.len().min(CHUNK)]) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(some) => {
                written += some;
                until = Instant::now() + PATIENCE;
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// Waits until there is room.
fn wait(file: &File, until: Instant) -> io::Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut asked = [PollFd::new(file, PollFlags::OUT)];
        match poll(&mut asked, Some(&left)) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it")),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
