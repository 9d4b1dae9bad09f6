//! The head of a backend's answer.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode, response};
use httparse::{ParserConfig, Status};

use super::chunks::Chunks;
use super::request::{FIELDS, headers, is_last, length, put_back};

/// What the first bytes of an answer are.
pub(super) enum Next {
    /// Its head, and how its body comes.
    Answer(Box<response::Parts>, Framed),
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

/// How a body is framed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes more.
    Length(u64),
    /// Chunks, up to the last of them.
    Chunked(Chunks),
}

/// Takes an answer's head off what was read; leaves what is none as it is.
pub(super) fn next(unread: &mut BytesMut) -> Next {
    let read = unread.split().freeze();
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let parsed =
        ParserConfig::default().parse_response_with_uninit_headers(&mut head, &read, &mut fields);
    let (next, taken) = match parsed {
        Ok(Status::Complete(length)) => match plain(&read, &head) {
            Some((head, framed)) => (Next::Answer(Box::new(head), framed), length),
            None => (Next::Unusual, 0),
        },
        Ok(Status::Partial) => (Next::Part, 0),
        Err(_) => (Next::Unusual, 0),
    };
    put_back(unread, read.slice(taken..), read);
    next
}

/// The head, if there is nothing unusual about it.
fn plain(read: &Bytes, head: &httparse::Response<'_, '_>) -> Option<(response::Parts, Framed)> {
    let status = StatusCode::from_u16(head.code?).ok()?;
    if head.version != Some(1) || status.is_informational() {
        return None;
    }
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status;
    parts.headers = headers(read, head.headers)?;
    let framed = Framed {
        body: framing(status, &parts.headers)?,
        // An option nobody here knows is no reason to doubt the answer, only to end with it.
        is_last: is_last(&parts.headers).unwrap_or(true),
    };
    Some((parts, framed))
}

/// RFC 9112, 6.3; `None` where it leaves more than one reading, or an end that nobody can tell from a
/// connection that broke.
fn framing(status: StatusCode, headers: &HeaderMap) -> Option<Framing> {
    if headers.contains_key(TRAILER) {
        return None;
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = match (codings.next(), codings.next()) {
        (None, _) => false,
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
        _ => return None,
    };
    match (chunked, length(headers)?) {
        (true, Some(_)) => None,
        _ if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => {
            Some(Framing::Length(0))
        }
        (true, None) => Some(Framing::Chunked(Chunks::default())),
        (false, length) => length.map(Framing::Length),
    }
}
