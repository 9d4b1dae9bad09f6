//! Event streams on their way to a client: every event id sealed, every other byte as it came.
//!
//! A client may give any `Last-Event-ID` it likes, and a backend that keeps one event store for all
//! its sessions would replay another user's events to it. So the ids a client gets to know are
//! sealed to it (see [`ids`](super::ids)), and this is where that happens.
//!
//! Line by line, as WHATWG HTML 9.2.6 "Interpreting an event stream" has it: lines end with LF, CRLF
//! or CR, one byte order mark may stand first, a line starting with a colon is a comment.

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2};

pub use super::answer::MAX_EVENT_ID;

/// Why a stream cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// An event id longer than [`MAX_EVENT_ID`].
    #[error("the backend sent an event id of more than 1024 bytes")]
    IdTooLong,
    /// The stream ended in the middle of an event.
    #[error("the backend's stream ended inside an event")]
    CutEvent,
}

/// Turns a backend's event id into the one the client gets.
pub trait SealId {
    /// The sealed form of `id`, which is 1 to [`MAX_EVENT_ID`] bytes without NUL, CR and LF. The
    /// result must be free of those too and must not begin with a space.
    fn seal(&self, id: &[u8]) -> Vec<u8>;
}

impl<F: Fn(&[u8]) -> Vec<u8>> SealId for F {
    fn seal(&self, id: &[u8]) -> Vec<u8> {
        self(id)
    }
}

/// Seals the event ids of one stream, chunk by chunk.
///
/// Nothing is buffered but a line that is, or may still become, an `id` field, until its end
/// arrives. All else leaves with the chunk it came in, as slices of it.
pub struct SealEventIds<S> {
    seal: S,
    state: State,
    /// The beginning of an `id` line whose end has not arrived.
    held: BytesMut,
    /// Whether anything but comments came since the last blank line.
    in_event: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes of a byte order mark have come, and nothing else.
    Start(usize),
    /// At the beginning of a line, or in a line held because it may be an `id` field.
    Line,
    /// A line ended with CR; a LF would belong to it.
    AfterCr,
    /// In a line that is not an `id` field.
    Other,
}

const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

impl<S: SealId> SealEventIds<S> {
    /// For a stream that begins now.
    pub fn new(seal: S) -> Self {
        Self {
            seal,
            state: State::Start(0),
            held: BytesMut::new(),
            in_event: false,
        }
    }

    /// Takes the next bytes of the backend's stream and appends what can go to the client to `out`.
    ///
    /// # Errors
    /// [`SseError::IdTooLong`]; the stream is to be reset then, and nothing more pushed.
    pub fn push(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<(), SseError> {
        let mut sent = 0;
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            match self.state {
                State::Start(n) if byte == BOM[n] => {
                    self.state = if n == 2 {
                        State::Line
                    } else {
                        State::Start(n + 1)
                    };
                    at += 1;
                }
                State::Start(0) => self.state = State::Line,
                State::Start(_) => {
                    self.state = State::Other;
                    self.in_event = true;
                }
                State::AfterCr => {
                    self.state = State::Line;
                    at += usize::from(byte == b'\n');
                }
                State::Other => at = self.skip_line(&chunk, at),
                State::Line => {
                    let line = at;
                    at = self.read_line(&chunk, line, &mut sent, out)?;
                }
            }
        }
        pass(&chunk, sent, chunk.len(), out);
        Ok(())
    }

    /// The backend ended its stream.
    ///
    /// # Errors
    /// [`SseError::CutEvent`] if that was inside an event: the client's stream must be reset, for an
    /// orderly end would let the cut event look whole.
    pub fn finish(&mut self) -> Result<(), SseError> {
        let cut_mark = matches!(self.state, State::Start(1..));
        if self.in_event || cut_mark {
            Err(SseError::CutEvent)
        } else {
            Ok(())
        }
    }

    /// Goes to the end of a line that passes as it is.
    fn skip_line(&mut self, chunk: &[u8], at: usize) -> usize {
        match memchr2(b'\n', b'\r', &chunk[at..]) {
            Some(length) => self.end_line(chunk, at + length),
            None => chunk.len(),
        }
    }

    /// Steps over the line end at `at`.
    fn end_line(&mut self, chunk: &[u8], at: usize) -> usize {
        self.state = if chunk[at] == b'\r' {
            State::AfterCr
        } else {
            State::Line
        };
        at + 1
    }

    /// At the beginning of a line, or further on in a held one. Returns where to go on; all before
    /// it is sent, held, or between `sent` and there.
    fn read_line(
        &mut self,
        chunk: &Bytes,
        at: usize,
        sent: &mut usize,
        out: &mut Vec<Bytes>,
    ) -> Result<usize, SseError> {
        let rest = &chunk[at..];
        if self.held.is_empty() {
            match rest[0] {
                b'\n' | b'\r' => {
                    self.in_event = false;
                    return Ok(self.end_line(chunk, at));
                }
                b':' => {
                    self.state = State::Other;
                    return Ok(at);
                }
                _ => self.in_event = true,
            }
        }
        if !may_be_id(&self.held, rest) {
            out.extend(self.take_held());
            self.state = State::Other;
            return Ok(at);
        }
        let end = memchr2(b'\n', b'\r', rest);
        let part = &rest[..end.unwrap_or(rest.len())];
        if self.held.len() + part.len() > "id: ".len() + MAX_EVENT_ID {
            return Err(SseError::IdTooLong);
        }
        let Some(length) = end else {
            pass(chunk, *sent, at, out);
            self.held.extend_from_slice(rest);
            *sent = chunk.len();
            return Ok(chunk.len());
        };
        let end = at + length;
        if self.held.is_empty() {
            if let Some((value, sealed)) = self.sealed(part)? {
                pass(chunk, *sent, at + value, out);
                out.push(sealed);
                *sent = end;
            }
        } else {
            self.held.extend_from_slice(part);
            let line = self.held.split().freeze();
            match self.sealed(&line)? {
                Some((value, sealed)) => out.extend([line.slice(..value), sealed]),
                None => out.push(line),
            }
            *sent = end;
        }
        Ok(self.end_line(chunk, end))
    }

    /// Where the value of the whole line `line` begins, and what to send in its place; `None` if it
    /// has nothing to seal.
    fn sealed(&self, line: &[u8]) -> Result<Option<(usize, Bytes)>, SseError> {
        let Some(value) = line.strip_prefix(b"id:") else {
            return Ok(None);
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if value.len() > MAX_EVENT_ID {
            return Err(SseError::IdTooLong);
        }
        // A client ignores an id with a NUL, and an empty one only resets its memory.
        if value.is_empty() || memchr(0, value).is_some() {
            return Ok(None);
        }
        Ok(Some((
            line.len() - value.len(),
            self.seal.seal(value).into(),
        )))
    }

    fn take_held(&mut self) -> Option<Bytes> {
        (!self.held.is_empty()).then(|| self.held.split().freeze())
    }
}

/// Whether the line that begins with `held` and goes on with `rest` may be an `id` field, as far as
/// it is known.
fn may_be_id(held: &[u8], rest: &[u8]) -> bool {
    let known = held
        .iter()
        .chain(rest)
        .take_while(|b| !matches!(b, b'\n' | b'\r'));
    known.zip(b"id:").all(|(is, wanted)| is == wanted)
}

fn pass(chunk: &Bytes, from: usize, to: usize, out: &mut Vec<Bytes>) {
    if from < to {
        out.push(chunk.slice(from..to));
    }
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
