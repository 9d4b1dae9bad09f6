//! The head of a backend's answer.

use std::mem::MaybeUninit;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{Response, StatusCode};
use httparse::ParserConfig;

use super::chunks::{Chunks, NotChunked};
use super::last::{Last, Parsed};
use super::request::{FIELDS, Noted, headers, put_back};
use super::wire::take;
use crate::layer::AnswerHead;

/// What the first bytes of an answer are.
pub(super) enum Next {
    /// Its head, and how its body comes.
    Answer(Arc<AnswerHead>, Framed),
    /// Not a whole head yet.
    Part,
    /// Something for the HTTP library.
    Unusual,
}

/// How an answer is framed.
pub(super) struct Framed {
    pub(super) body: Framing,
    /// Whether it is the last on its connection.
    pub(super) is_last: bool,
}

impl Framed {
    /// Whether the body is as long as the Content-Length says.
    fn has_length(&self, status: StatusCode) -> bool {
        matches!(self.body, Framing::Length(_)) && !has_no_body(status)
    }
}

/// How a body is framed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes more.
    Length(u64),
    /// Chunks, up to the last of them.
    Chunked(Chunks),
}

impl Framing {
    /// Whether all of it was read.
    pub(super) fn is_end(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_end(),
        }
    }

    /// Takes off what was read what belongs to the body, and gives its data.
    ///
    /// # Errors
    /// It is no chunks.
    pub(super) fn take(&mut self, unread: &mut BytesMut) -> Result<Bytes, NotChunked> {
        match self {
            Self::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let here = unread.len().min(most);
                *left -= here as u64;
                Ok(take(unread, here))
            }
            Self::Chunked(chunks) => {
                let mut data = Vec::new();
                let read = chunks.read(unread, &mut data)?;
                take(unread, read);
                Ok(data.into())
            }
        }
    }
}

/// What a head says. Its Content-Length is in [`Framed`] alone: all else may be that of the head before.
pub(super) type Said = (Arc<AnswerHead>, Framed);

/// Takes an answer's head off what was read; leaves what is none as it is.
pub(super) fn next(unread: &mut BytesMut, last: &mut Last<Said>) -> Next {
    let mut read = std::mem::take(unread).freeze();
    let (next, taken) = match again(&read, last) {
        Some((head, framed, length)) => (Next::Answer(head, framed), length),
        None => match parse(&read) {
            Parsed::Head((head, framed), length) => {
                if framed.has_length(head.status) {
                    last.note(&read[..length]);
                } else {
                    last.forget();
                }
                (Next::Answer(head, framed), length)
            }
            Parsed::Part => (Next::Part, 0),
            Parsed::Unusual => (Next::Unusual, 0),
        },
    };
    read.advance(taken);
    put_back(unread, read);
    next
}

/// The head, if it is the last again, and how long that is.
fn again(read: &Bytes, last: &mut Last<Said>) -> Option<(Arc<AnswerHead>, Framed, usize)> {
    let again = last.again(read, parse)?;
    let (head, framed) = again.said;
    let framed = Framed {
        body: Framing::Length(again.length),
        ..*framed
    };
    Some((head.clone(), framed, again.bytes))
}

fn parse(read: &Bytes) -> Parsed<Said> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let parsed =
        ParserConfig::default().parse_response_with_uninit_headers(&mut head, read, &mut fields);
    Parsed::of(parsed, || plain(read, &head))
}

/// The head, if there is nothing unusual about it.
fn plain(read: &Bytes, head: &httparse::Response<'_, '_>) -> Option<Said> {
    let status = StatusCode::from_u16(head.code?).ok()?;
    if head.version != Some(1) || status.is_informational() {
        return None;
    }
    let noted = Noted::of(head.headers);
    if noted.is_doubled || noted.has_trailers {
        return None;
    }
    let framed = Framed {
        body: framing(status, &noted)?,
        // An option nobody here knows is no reason to doubt the answer, only to end with it.
        is_last: noted.is_last().unwrap_or(true),
    };
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status;
    parts.headers = headers(read, head.headers)?;
    Some((Arc::new(parts.into()), framed))
}

/// RFC 9112, 6.3; `None` where it leaves more than one reading, or an end that nobody can tell from a
/// connection that broke.
fn framing(status: StatusCode, noted: &Noted<'_>) -> Option<Framing> {
    let chunked = match noted.coding {
        None => false,
        Some(coding) if coding.eq_ignore_ascii_case(b"chunked") => true,
        Some(_) => return None,
    };
    match (chunked, noted.length()?) {
        (true, Some(_)) => None,
        _ if has_no_body(status) => Some(Framing::Length(0)),
        (true, None) => Some(Framing::Chunked(Chunks::default())),
        (false, length) => length.map(Framing::Length),
    }
}

fn has_no_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
