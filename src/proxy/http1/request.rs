//! The head of a client's request. Its bytes were judged already.

use std::mem::MaybeUninit;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use httparse::ParserConfig;

use super::last::{Last, Parsed};
use crate::layer::Head;

/// Headers a message may have.
pub(super) const FIELDS: usize = 100;

/// What the first bytes of a connection, or those after a request, are.
pub(super) enum Next {
    /// A request's head, how it is framed, and what was read behind it.
    Request(Arc<Head>, Framed, Bytes),
    /// Not a whole head yet.
    Part,
    /// Something for the HTTP library.
    Unusual,
}

/// How a request is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Framed {
    /// Bytes of its body.
    pub(super) length: u64,
    /// Whether it is the last on its connection.
    pub(super) is_last: bool,
}

/// What a head says. Its Content-Length is in [`Framed`] alone: all else may be that of the head before.
pub(super) type Said = (Arc<Head>, Framed);

/// Takes a request's head off what was read; leaves what is none as it is.
pub(super) fn next(unread: &mut BytesMut, last: &mut Last<Said>) -> Next {
    // All of it: a connection that waits is to hold no buffer but the last head.
    let mut read = std::mem::take(unread).freeze();
    if let Some((head, framed, length)) = again(&read, last) {
        read.advance(length);
        return Next::Request(head, framed, read);
    }
    let other = match parse(&read) {
        Parsed::Head((head, framed), length) => {
            last.note(&read[..length]);
            read.advance(length);
            return Next::Request(head, framed, read);
        }
        Parsed::Part => Next::Part,
        Parsed::Unusual => Next::Unusual,
    };
    put_back(unread, read);
    other
}

/// The head, if it is the last again, and how long that is.
fn again(read: &Bytes, last: &mut Last<Said>) -> Option<(Arc<Head>, Framed, usize)> {
    let again = last.again(read, parse)?;
    let (head, framed) = again.said;
    let framed = Framed {
        length: again.length,
        ..*framed
    };
    Some((head.clone(), framed, again.bytes))
}

/// Gives back what is left of what was taken; without a copy if nobody else holds any of it.
pub(super) fn put_back(unread: &mut BytesMut, rest: Bytes) {
    if !rest.is_empty() {
        *unread = rest
            .try_into_mut()
            .unwrap_or_else(|rest| BytesMut::from(&rest[..]));
    }
}

fn parse(read: &Bytes) -> Parsed<Said> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut head = httparse::Request::new(&mut []);
    let parsed =
        ParserConfig::default().parse_request_with_uninit_headers(&mut head, read, &mut fields);
    Parsed::of(parsed, || plain(read, &head))
}

/// The request, if there is nothing unusual about it.
fn plain(read: &Bytes, head: &httparse::Request<'_, '_>) -> Option<Said> {
    if head.version != Some(1) {
        return None;
    }
    let method = match head.method? {
        "POST" => Method::POST,
        "GET" => Method::GET,
        "DELETE" => Method::DELETE,
        "OPTIONS" => Method::OPTIONS,
        _ => return None,
    };
    let target = head.path.filter(|target| target.starts_with('/'))?;
    let framed = framed(&Noted::of(head.headers))?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = method;
    parts.uri = Uri::from_maybe_shared(read.slice_ref(target.as_bytes())).ok()?;
    parts.headers = headers(read, head.headers)?;
    Some((Arc::new(parts.into()), framed))
}

/// The headers of a message within `read`, which are shared with it, but for its length.
pub(super) fn headers(read: &Bytes, fields: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(fields.len() + fields.len() / 2);
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        if name == CONTENT_LENGTH {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(read.slice_ref(field.value)).ok()?;
        headers.append(name, value);
    }
    Some(headers)
}

/// What headers say of a message's frame and its connection.
#[derive(Default)]
pub(super) struct Noted<'a> {
    length: Option<&'a [u8]>,
    pub(super) coding: Option<&'a [u8]>,
    connection: Option<&'a [u8]>,
    /// One of these stands there twice.
    pub(super) is_doubled: bool,
    /// Something is expected, or another protocol offered.
    wants_more: bool,
    pub(super) has_trailers: bool,
}

impl<'a> Noted<'a> {
    /// Looked at by name once, before they are in a map.
    pub(super) fn of(fields: &[httparse::Header<'a>]) -> Self {
        let mut noted = Self::default();
        for field in fields {
            let is = |known: &str| field.name.eq_ignore_ascii_case(known);
            let place = match field.name.len() {
                10 if is("connection") => &mut noted.connection,
                14 if is("content-length") => &mut noted.length,
                17 if is("transfer-encoding") => &mut noted.coding,
                6 | 7 => {
                    noted.wants_more |= is("expect") || is("upgrade");
                    noted.has_trailers |= is("trailer");
                    continue;
                }
                _ => continue,
            };
            noted.is_doubled |= place.replace(field.value).is_some();
        }
        noted
    }

    /// The Content-Length, if there is one; `None` when there is no telling.
    pub(super) fn length(&self) -> Option<Option<u64>> {
        match self.length {
            None => Some(None),
            Some(digits) => number(digits).map(Some),
        }
    }

    /// Whether the connection ends after this message; `None` for what only an expert of HTTP can say.
    pub(super) fn is_last(&self) -> Option<bool> {
        match self.connection {
            None => Some(false),
            Some(option) if option.eq_ignore_ascii_case(b"keep-alive") => Some(false),
            Some(option) if option.eq_ignore_ascii_case(b"close") => Some(true),
            Some(_) => None,
        }
    }
}

pub(super) fn number(digits: &[u8]) -> Option<u64> {
    // What `parse` would let pass besides digits is a sign.
    let plain = digits.len() < 19 && digits.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| plain)?;
    digits.parse().ok()
}

fn framed(noted: &Noted<'_>) -> Option<Framed> {
    if noted.is_doubled || noted.wants_more || noted.coding.is_some() {
        return None;
    }
    Some(Framed {
        length: noted.length()?.unwrap_or(0),
        is_last: noted.is_last()?,
    })
}
