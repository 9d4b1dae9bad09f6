//! Standard output.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use super::{Sink, Wrote, patient};

/// Writes to standard output, without the buffer others share.
pub(crate) struct StdoutSink {
    file: File,
    /// Whether what is there ends within a line.
    is_torn: bool,
}

impl StdoutSink {
    pub(crate) fn open() -> io::Result<Self> {
        let own = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Self {
            file: own.into(),
            is_torn: false,
        })
    }
}

impl Sink for StdoutSink {
    fn ready(&mut self) -> Result<bool, String> {
        if self.is_torn {
            let (_, trouble) = patient::write(&self.file, b"\n");
            if let Some(why) = trouble {
                return Err(why.to_string());
            }
            self.is_torn = false;
        }
        Ok(false)
    }

    fn write(&mut self, bytes: &[u8], _ends: &[usize]) -> Wrote {
        match patient::write(&self.file, bytes) {
            (_, None) => Wrote::all(bytes),
            (some, Some(why)) => {
                self.is_torn = some > 0 && bytes[some - 1] != b'\n';
                Wrote::only(some, why)
            }
        }
    }
}
