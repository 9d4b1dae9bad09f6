//! Standard output, or standard error.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use super::{Sink, Wrote, patient};

/// Where of its own a process writes records to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// Standard output.
    Output,
    /// Standard error, of a command whose output is its answer.
    Error,
}

impl Standard {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Output => "stdout",
            Self::Error => "stderr",
        }
    }
}

/// Writes there, without the buffer others share.
pub(crate) struct StandardSink {
    file: File,
    /// Whether what is there ends within a line.
    is_torn: bool,
}

impl StandardSink {
    pub(crate) fn open(standard: Standard) -> io::Result<Self> {
        let own = match standard {
            Standard::Output => io::stdout().as_fd().try_clone_to_owned(),
            Standard::Error => io::stderr().as_fd().try_clone_to_owned(),
        }?;
        Ok(Self {
            file: own.into(),
            is_torn: false,
        })
    }
}

impl Sink for StandardSink {
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
