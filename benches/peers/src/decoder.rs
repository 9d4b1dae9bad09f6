//! HTTP/1.1 messages out of a byte stream, without a copy wherever a head arrives in one piece.

use std::io;

use memchr::memmem;

const LARGEST_HEAD: usize = 64 * 1024;

/// How far a body goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks, until an empty one.
    Chunked,
    /// Until the connection ends.
    Close,
}

impl Default for Framing {
    fn default() -> Self {
        Self::Length(0)
    }
}

/// What is read out of a head.
pub trait Head: Copy {
    /// Reads a complete head.
    fn parse(bytes: &[u8]) -> io::Result<Self>;
    /// How its body is framed.
    fn framing(&self) -> Framing;
}

/// A piece of a message.
#[derive(Debug, PartialEq)]
pub enum Piece<'a, H> {
    /// Its head.
    Head(H),
    /// Some of its body.
    Data(&'a [u8]),
    /// Its end.
    End,
}

#[derive(Clone, Copy)]
enum State {
    Head,
    Length(u64),
    ChunkSize(u64),
    /// The rest of the line of a chunk's size: an extension, or the line feed.
    ChunkLine(u64),
    Chunk(u64),
    ChunkEnd,
    /// A line of the trailer, and how long it is so far.
    Trailer(usize),
    Close,
}

/// Reads messages one after another.
pub struct Decoder {
    state: State,
    /// The first part of a head that came in several.
    carry: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            state: State::Head,
            carry: Vec::new(),
        }
    }
}

impl Decoder {
    /// The next piece of `input`, which is shortened by it; `None` when more input is needed.
    pub fn next<'a, H: Head>(&mut self, input: &mut &'a [u8]) -> io::Result<Option<Piece<'a, H>>> {
        loop {
            match self.state {
                State::Head => return Ok(self.head(input)?.map(Piece::Head)),
                State::Length(0) => return Ok(Some(self.end())),
                State::Chunk(0) => self.state = State::ChunkEnd,
                _ if input.is_empty() => return Ok(None),
                State::Length(left) => {
                    let data = take(input, left);
                    self.state = State::Length(left - data.len() as u64);
                    return Ok(Some(Piece::Data(data)));
                }
                State::Chunk(left) => {
                    let data = take(input, left);
                    self.state = State::Chunk(left - data.len() as u64);
                    return Ok(Some(Piece::Data(data)));
                }
                State::Close => return Ok(Some(Piece::Data(take(input, u64::MAX)))),
                State::Trailer(length) => match (take(input, 1)[0], length) {
                    (b'\n', 0) => return Ok(Some(self.end())),
                    (b'\n', _) => self.state = State::Trailer(0),
                    (b'\r', _) => {}
                    _ => self.state = State::Trailer(length + 1),
                },
                _ => self.chunk_line(take(input, 1)[0])?,
            }
        }
    }

    /// Whether the decoder is between two messages.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Head) && self.carry.is_empty()
    }

    fn end<'a, H>(&mut self) -> Piece<'a, H> {
        self.state = State::Head;
        Piece::End
    }

    fn head<H: Head>(&mut self, input: &mut &[u8]) -> io::Result<Option<H>> {
        const END: &[u8] = b"\r\n\r\n";
        let known = self.carry.len();
        let head = if known == 0
            && let Some(at) = memmem::find(input, END)
        {
            H::parse(take(input, (at + END.len()) as u64))?
        } else {
            self.carry.extend_from_slice(input);
            let from = known.saturating_sub(END.len() - 1);
            let Some(at) = memmem::find(&self.carry[from..], END) else {
                *input = &[];
                let too_large = self.carry.len() > LARGEST_HEAD;
                return if too_large {
                    Err(io::Error::other("a head too large"))
                } else {
                    Ok(None)
                };
            };
            let length = from + at + END.len();
            take(input, (length - known) as u64);
            let head = H::parse(&self.carry[..length])?;
            self.carry.clear();
            head
        };
        self.state = match head.framing() {
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize(0),
            Framing::Close => State::Close,
        };
        Ok(Some(head))
    }

    fn chunk_line(&mut self, byte: u8) -> io::Result<()> {
        self.state = match (self.state, byte) {
            (State::ChunkEnd, b'\r') => State::ChunkEnd,
            (State::ChunkEnd, b'\n') => State::ChunkSize(0),
            (State::ChunkSize(0) | State::ChunkLine(0), b'\n') => State::Trailer(0),
            (State::ChunkSize(size) | State::ChunkLine(size), b'\n') => State::Chunk(size),
            (State::ChunkLine(size), _) => State::ChunkLine(size),
            (State::ChunkSize(size), _) => match (byte as char).to_digit(16) {
                Some(digit) => State::ChunkSize(size << 4 | u64::from(digit)),
                None if matches!(byte, b'\r' | b';' | b' ') => State::ChunkLine(size),
                None => return Err(io::Error::other("no chunk size")),
            },
            _ => return Err(io::Error::other("no end of a chunk")),
        };
        Ok(())
    }
}

fn take<'a>(input: &mut &'a [u8], length: u64) -> &'a [u8] {
    let length = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .min(input.len());
    let (taken, left) = input.split_at(length);
    *input = left;
    taken
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use crate::head::Answer;

    const TWO: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10;x=y\r\n\
        0123456789abcdef\r\n0\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";

    fn read(step: usize) -> Vec<(u16, Vec<u8>)> {
        let (mut decoder, mut messages) = (Decoder::default(), Vec::new());
        for mut input in TWO.chunks(step) {
            while let Some(piece) = decoder.next::<Answer>(&mut input).unwrap() {
                match piece {
                    Piece::Head(head) => messages.push((head.status, Vec::new())),
                    Piece::Data(data) => messages.last_mut().unwrap().1.extend_from_slice(data),
                    Piece::End => {}
                }
            }
        }
        assert!(decoder.is_idle());
        messages
    }

    #[test]
    fn messages_are_the_same_however_the_bytes_are_cut() {
        let whole = vec![
            (200, b"abc0123456789abcdef".to_vec()),
            (404, b"no".to_vec()),
        ];
        for step in 1..TWO.len() + 1 {
            assert_eq!(read(step), whole, "in steps of {step}");
        }
    }
}
