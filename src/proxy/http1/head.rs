//! Heads as they are written.

use std::cell::Cell;
use std::io::Write as _;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, response};

use crate::sys;

/// Bytes up to which a body is copied behind its head, to be written with it: that costs less than
/// telling the system of two places.
pub(super) const COPIED: usize = 16 * 1024;

/// How the body of an answer is framed for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes.
    Length(usize),
    /// Chunks.
    Chunked,
    /// There is none, and may be none.
    Never,
}

impl Framing {
    /// The framing of an answer of which `length` is known, or not.
    pub(super) fn of(status: StatusCode, length: Option<usize>) -> Self {
        match length {
            _ if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => Self::Never,
            Some(length) => Self::Length(length),
            None => Self::Chunked,
        }
    }
}

/// Writes the head of a request to a backend, of which the body has so many bytes. Its target is its path
/// and query.
pub(super) fn request(
    (method, uri, headers): (&Method, &Uri, &HeaderMap),
    body: usize,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    let target = uri.path_and_query();
    out.extend_from_slice(target.map_or("/", |target| target.as_str()).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    fields(headers, out);
    // RFC 9110, 8.6: a POST says so where it has no body.
    if body > 0 || *method == Method::POST {
        length(body, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of an answer to a client.
pub(super) fn answer(head: &response::Parts, framing: Framing, is_last: bool, out: &mut Vec<u8>) {
    match head.status {
        StatusCode::OK => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
        status => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(status.as_str().as_bytes());
            out.push(b' ');
            let reason = status.canonical_reason().unwrap_or_default();
            out.extend_from_slice(reason.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    fields(&head.headers, out);
    match framing {
        Framing::Length(bytes) => length(bytes, out),
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Never => {}
    }
    if is_last {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"date: ");
    out.extend_from_slice(&date());
    out.extend_from_slice(b"\r\n\r\n");
}

/// Writes every header but those that are about the connection, which are its writer's.
fn fields(headers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in headers {
        let name = name.as_str();
        if is_ours(name) {
            continue;
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn is_ours(name: &str) -> bool {
    matches!(
        name,
        "connection" | "content-length" | "date" | "transfer-encoding"
    )
}

fn length(bytes: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(bytes).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes a chunk of these pieces, and the end behind it if it is the last.
pub(super) fn chunk(pieces: &[Bytes], is_last: bool, out: &mut Vec<u8>) {
    let bytes: usize = pieces.iter().map(Bytes::len).sum();
    // A chunk without data would be the end.
    if bytes > 0 {
        let _ = write!(out, "{bytes:x}\r\n");
        pieces.iter().for_each(|piece| out.extend_from_slice(piece));
        out.extend_from_slice(b"\r\n");
    }
    if is_last {
        out.extend_from_slice(b"0\r\n\r\n");
    }
}

/// Now, as HTTP writes it (RFC 9110, 5.6.7).
fn date() -> [u8; 29] {
    thread_local! {
        static WRITTEN: Cell<(u64, [u8; 29])> = const { Cell::new((0, [b' '; 29])) };
    }
    let now = sys::wall();
    let second = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    let (written, text) = WRITTEN.get();
    if written == second {
        return text;
    }
    let mut text = [b' '; 29];
    let _ = write!(&mut text[..], "{}", httpdate::fmt_http_date(now));
    WRITTEN.set((second, text));
    text
}
