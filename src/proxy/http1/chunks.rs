//! A chunked body as it is read from a backend (RFC 9112, 7.1).
//!
//! Extensions and trailer fields are read over, and bounded; lines end in CRLF and nothing else.

/// Bytes of extensions and of trailer fields, each, that one body may have.
const EXTRA: u16 = 16 * 1024;
/// Most digits of a chunk's size.
const DIGITS: u8 = 15;

/// How far a chunked body was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunks {
    state: State,
    /// Bytes read over.
    extra: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size {
        digits: u8,
        size: u64,
    },
    SizeSpace {
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the beginning of a trailer field, or of the empty line that is the end.
    Field,
    InName,
    InValue,
    FieldLf,
    EndLf,
    End,
}

/// It is no chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server's answer is not chunked as it should be")]
pub(super) struct NotChunked;

impl Default for Chunks {
    fn default() -> Self {
        Self {
            state: State::Size { digits: 0, size: 0 },
            extra: 0,
        }
    }
}

impl Chunks {
    /// Whether the body was read to its end.
    pub(super) fn is_end(&self) -> bool {
        self.state == State::End
    }

    /// Reads on and appends the data to `data`: how many of `bytes` belong to the body.
    ///
    /// # Errors
    /// What comes is no chunk. What came before it stands in `data`.
    pub(super) fn read(&mut self, bytes: &[u8], data: &mut Vec<u8>) -> Result<usize, NotChunked> {
        let mut at = 0;
        while at < bytes.len() && !self.is_end() {
            if let State::Data { left } = &mut self.state {
                let here = (bytes.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                data.extend_from_slice(&bytes[at..at + here]);
                at += here;
                *left -= here as u64;
                if *left == 0 {
                    self.state = State::DataCr;
                }
            } else {
                self.state = self.step(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// The state after a byte that is not data.
    fn step(&mut self, byte: u8) -> Result<State, NotChunked> {
        Ok(match (self.state, byte) {
            (State::Size { digits, size }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F')
                if digits < DIGITS =>
            {
                let value = char::from(byte).to_digit(16).unwrap_or(0);
                State::Size {
                    digits: digits + 1,
                    size: size << 4 | u64::from(value),
                }
            }
            (State::Size { digits: 1.., size } | State::SizeSpace { size }, b'\r')
            | (State::Extension { size }, b'\r') => State::SizeLf { size },
            (State::Size { digits: 1.., size } | State::SizeSpace { size }, b' ' | b'\t') => {
                self.over(State::SizeSpace { size })?
            }
            (State::Size { digits: 1.., size } | State::SizeSpace { size }, b';') => {
                State::Extension { size }
            }
            (State::Extension { .. }, byte) if byte != b'\n' => self.over(self.state)?,
            (State::SizeLf { size: 0 }, b'\n') | (State::FieldLf, b'\n') => State::Field,
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { digits: 0, size: 0 },
            (State::Field, b'\r') => State::EndLf,
            (State::InName, b':') => State::InValue,
            (State::Field | State::InName, byte) if is_token(byte) => self.over(State::InName)?,
            (State::InValue, b'\r') => State::FieldLf,
            (State::InValue, b'\t' | b' '..=b'~' | 128..) => self.over(State::InValue)?,
            (State::EndLf, b'\n') => State::End,
            _ => return Err(NotChunked),
        })
    }

    /// Reads over a byte.
    fn over(&mut self, then: State) -> Result<State, NotChunked> {
        self.extra += 1;
        if self.extra > EXTRA {
            return Err(NotChunked);
        }
        Ok(then)
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
