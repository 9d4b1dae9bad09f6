//! What is still to be written to a connection that takes no more for the moment.

use std::io::{self, Write};

/// Bytes that wait, in order.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    written: usize,
}

impl Outbox {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes `bytes` after what waits; what does not fit is kept.
    pub fn send(&mut self, mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
        let written = if self.is_empty() {
            write(&mut to, bytes)?
        } else {
            0
        };
        self.bytes.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    /// Writes on, as far as it goes.
    pub fn flush(&mut self, mut to: impl Write) -> io::Result<()> {
        self.written += write(&mut to, &self.bytes[self.written..])?;
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
        }
        Ok(())
    }
}

fn write(to: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match to.write(&bytes[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
