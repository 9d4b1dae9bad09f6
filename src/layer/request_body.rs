//! The body of a request to the service inside.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

/// The body of a request to the service inside: it was read whole before. It comes in pieces where something
/// was set in a large one, so that what the client sent is held once.
#[derive(Clone, Default)]
pub struct RequestBody {
    first: Bytes,
    /// What comes then, the last first.
    rest: Vec<Bytes>,
}

impl RequestBody {
    /// Of these pieces, in this order.
    pub(crate) fn new(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let mut pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        let first = pieces.next().unwrap_or_default();
        let mut rest: Vec<_> = pieces.collect();
        rest.reverse();
        Self { first, rest }
    }

    /// How many bytes are left of it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces().map(Bytes::len).sum()
    }

    /// Whether nothing is left of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// What is left of it, in order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(self.rest.iter().rev())
    }

    /// The next piece; empty at the end.
    fn next_piece(&mut self) -> Bytes {
        let next = self.rest.pop().unwrap_or_default();
        std::mem::replace(&mut self.first, next)
    }

    /// All of it in one. Copies it where it is in pieces.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        self.copy_to_bytes(self.len())
    }
}

impl From<Bytes> for RequestBody {
    fn from(whole: Bytes) -> Self {
        Self {
            first: whole,
            rest: Vec::new(),
        }
    }
}

/// For who writes it as there is room.
impl Buf for RequestBody {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.first
    }

    fn advance(&mut self, mut bytes: usize) {
        while !self.is_empty() && bytes >= self.first.len() {
            bytes -= self.next_piece().len();
        }
        self.first.advance(bytes);
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.next_piece();
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a piece is lost, or comes before its turn, or an empty one ends the body.
    #[test]
    fn pieces_come_in_order() {
        let pieces = ["", "ab", "", "c", "def", ""].map(Bytes::from);
        let mut body = RequestBody::new(pieces);
        assert_eq!(body.len(), 6);
        assert_eq!(body.clone().into_bytes(), "abcdef");
        assert_eq!(body.next_piece(), "ab");
        assert_eq!(body.size_hint().exact(), Some(4));
        assert_eq!(body.clone().into_bytes(), "cdef");
        assert!(!body.is_end_stream());
        assert_eq!([body.next_piece(), body.next_piece()], ["c", "def"]);
        assert!(body.is_end_stream() && body.next_piece().is_empty());
        assert!(RequestBody::from(Bytes::new()).is_end_stream());
    }

    // Fails when what was written is kept, or a piece is begun anew.
    #[test]
    fn it_is_written_piece_by_piece() {
        let mut body = RequestBody::new(["ab", "c", "def"].map(Bytes::from));
        for (written, left) in [(0, "ab"), (1, "b"), (1, "c"), (2, "ef"), (2, "")] {
            body.advance(written);
            assert_eq!(body.chunk(), left.as_bytes());
        }
        assert!(body.is_empty());
    }
}
