//! What is read and written without a socket, for benches and fuzzing.

use std::ops::Deref;
use std::sync::Arc;

use bytes::BytesMut;
use http::{request, response};

use super::answer;
use super::head;
use super::last::Last;
use super::request as client;

/// The head of a request, of which nobody outside needs to know more than what it says.
pub type ReadHead = Arc<dyn Deref<Target = request::Parts>>;

/// The requests of one connection.
#[derive(Default)]
pub struct Requests(Last<client::Said>);

impl Requests {
    /// The head of the first request in `bytes`, the length of its body, and where that begins; `None` if the
    /// head is not whole, or one for the HTTP library.
    pub fn read(&mut self, bytes: &[u8]) -> Option<(ReadHead, u64, usize)> {
        match client::next(&mut BytesMut::from(bytes), &mut self.0) {
            client::Next::Request(head, framed, rest) => {
                Some((head, framed.length, bytes.len() - rest.len()))
            }
            client::Next::Part | client::Next::Unusual => None,
        }
    }
}

/// The first request of a connection.
#[must_use]
pub fn read_request(bytes: &[u8]) -> Option<(ReadHead, u64, usize)> {
    Requests::default().read(bytes)
}

/// Appends the head of a request to a backend, of which the body has so many bytes.
pub fn write_request(head: &request::Parts, body: usize, out: &mut Vec<u8>) {
    head::request((&head.method, &head.uri, &head.headers), body, out);
}

/// The head of an answer, likewise.
pub type AnsweredHead = Arc<dyn Deref<Target = response::Parts>>;

/// An answer as far as it was read.
#[derive(Clone)]
pub struct Answer {
    /// Its head.
    pub head: AnsweredHead,
    /// What came of its body.
    pub body: Vec<u8>,
    /// Whether that was all.
    pub is_whole: bool,
}

/// The answers of one connection.
#[derive(Default)]
pub struct Answers(Last<answer::Said>);

/// The first answer of a connection, as by [`Answers::read`].
#[must_use]
pub fn read_answer<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Answer> {
    Answers::default().read(pieces)
}

impl Answers {
    /// The answer in these pieces; `None` if its head is not whole, or one for the HTTP library, or its body is
    /// not framed as the head says.
    pub fn read<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Answer> {
        let (mut unread, mut found) = (BytesMut::new(), None);
        for piece in pieces {
            unread.extend_from_slice(piece);
            if found.is_none() {
                found = match answer::next(&mut unread, &mut self.0) {
                    answer::Next::Answer(head, framed) => Some((head, framed.body, Vec::new())),
                    answer::Next::Part => None,
                    answer::Next::Unusual => return None,
                };
            }
            let Some((_, framing, body)) = &mut found else {
                continue;
            };
            body.extend_from_slice(&framing.take(&mut unread).ok()?);
        }
        let (head, framing, body) = found?;
        Some(Answer {
            head,
            body,
            is_whole: framing.is_end(),
        })
    }
}
