//! A chunked body, followed by its framing (RFC 9112, 7.1) and nothing more than that.

use super::fault::Fault;

/// Most digits of a chunk's size: what a number of 64 bits holds.
const DIGITS: u8 = 16;

/// Where in the body the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunked {
    Size { digits: u8, size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    EndCr,
    EndLf,
}

impl Chunked {
    pub(super) const START: Self = Self::Size { digits: 0, size: 0 };

    /// Follows the body: how many of `bytes` belong to it, and whether it ends there. With a fault, how
    /// many come before that.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> (usize, Result<bool, Fault>) {
        let mut at = 0;
        while at < bytes.len() {
            if let Self::Data { left } = self {
                let here = (bytes.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                at += here;
                *left -= here as u64;
                if *left == 0 {
                    *self = Self::DataCr;
                }
                continue;
            }
            match self.step(bytes[at]) {
                Ok(Some(next)) => *self = next,
                Ok(None) => return (at + 1, Ok(true)),
                Err(fault) => return (at, Err(fault)),
            }
            at += 1;
        }
        (at, Ok(false))
    }

    /// The state after a byte that is not data; none after the last.
    fn step(self, byte: u8) -> Result<Option<Self>, Fault> {
        Ok(Some(match (self, byte) {
            (Self::Size { digits, size }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F')
                if digits < DIGITS =>
            {
                let value = char::from(byte).to_digit(16).unwrap_or(0);
                Self::Size {
                    digits: digits + 1,
                    size: size << 4 | u64::from(value),
                }
            }
            (Self::Size { digits: 1.., size }, b'\r') => Self::SizeLf { size },
            (Self::Size { digits: 1.., .. }, b';') => return Err(Fault::ChunkExtension),
            (Self::SizeLf { size: 0 }, b'\n') => Self::EndCr,
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::Size { .. } | Self::SizeLf { .. }, _) => return Err(Fault::ChunkSize),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::START,
            (Self::EndCr, b'\r') => Self::EndLf,
            (Self::EndLf, b'\n') => return Ok(None),
            (Self::EndCr | Self::EndLf, _) => return Err(Fault::Trailer),
            (Self::Data { .. } | Self::DataCr | Self::DataLf, _) => return Err(Fault::ChunkEnd),
        }))
    }
}
