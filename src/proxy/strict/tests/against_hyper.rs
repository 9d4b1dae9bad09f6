//! Whatever the reader lets pass, the HTTP library reads as the same requests with the same bodies; and
//! a third reader, written for this test alone, as well.

use std::convert::Infallible;
use std::future::Future as _;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;

use super::reader::Pieces;
use super::*;

/// First line and body.
type Seen = Vec<(String, Vec<u8>)>;

/// What the library alone makes of these bytes, and whether it complained.
fn by_hyper(bytes: &[u8]) -> (Seen, bool) {
    let seen = Arc::new(Mutex::new(Seen::new()));
    let to = seen.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let to = to.clone();
        async move {
            let line = format!(
                "{} {} {:?}",
                request.method(),
                request.uri(),
                request.version()
            );
            if let Ok(body) = request.into_body().collect().await {
                to.lock().unwrap().push((line, body.to_bytes().to_vec()));
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let stream = TokioIo::new(Pieces::new([bytes.to_vec()]));
    let mut builder = http1::Builder::new();
    let builder = builder.max_header_size(HEAD_MAX).max_buf_size(HEAD_MAX);
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut complained = false;
    // It never waits for anything but itself: after a few turns it has done all it can.
    for _ in 0..200 {
        let mut cx = Context::from_waker(Waker::noop());
        if let std::task::Poll::Ready(done) = connection.as_mut().poll(&mut cx) {
            complained = done.is_err();
            break;
        }
    }
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (seen, complained)
}

/// Reads what is known to be in perfect form.
fn by_eye(mut bytes: &[u8]) -> (Seen, bool) {
    let (mut seen, mut closes) = (Seen::new(), false);
    while !bytes.is_empty() {
        bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        let end = memchr::memmem::find(bytes, b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        bytes = &bytes[end + 4..];
        let lower = head.to_ascii_lowercase();
        let value = |name: &str| {
            let line = lower.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned())
        };
        let mut body = Vec::new();
        if value("transfer-encoding:").is_some() {
            loop {
                let line = memchr::memmem::find(bytes, b"\r\n").unwrap();
                let size = std::str::from_utf8(&bytes[..line]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                bytes = &bytes[line + 2..];
                body.extend_from_slice(&bytes[..size]);
                bytes = &bytes[size + 2..];
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = value("content-length:") {
            let length = length.parse().unwrap();
            body = bytes[..length].to_vec();
            bytes = &bytes[length..];
        }
        let line = head.lines().next().unwrap();
        closes |= line.ends_with("HTTP/1.0") || value("connection:").is_some();
        seen.push((line.to_owned(), body));
    }
    (seen, closes)
}

/// The part of a connection that was let pass and is complete.
fn check(bytes: &[u8]) -> Result<u64, TestCaseError> {
    let outcome = judged(bytes, []);
    if outcome.unfinished || outcome.fault.is_some() {
        return Ok(0);
    }
    let (expected, closes) = by_eye(&outcome.passed);
    prop_assert_eq!(expected.len() as u64, outcome.requests);
    let (seen, complained) = by_hyper(&outcome.passed);
    prop_assert!(
        !complained || closes,
        "the library refuses what was let pass"
    );
    if !closes {
        prop_assert_eq!(seen.len(), expected.len());
    }
    for ((line, body), (as_written, same)) in seen.iter().zip(&expected) {
        prop_assert_eq!(body, same);
        let words: Vec<_> = as_written.split(' ').collect();
        prop_assert!(
            line.starts_with(words[0]) && line.ends_with(words[2]),
            "{} {}",
            line,
            as_written
        );
    }
    Ok(outcome.requests)
}

#[test]
fn the_library_reads_every_accepted_vector_as_it_was_judged() {
    let mut requests = 0;
    for vector in all() {
        requests += check(&vector.bytes).unwrap_or_else(|e| panic!("{}: {e}", vector.name));
    }
    assert!(requests > 60, "{requests}");
}

/// Vectors, one behind another, some of them again and again, with a few bytes changed.
pub(in crate::proxy) fn mutated() -> impl Strategy<Value = Vec<u8>> {
    const BYTES: &[u8] = b"\r\n\r\n \t:;,_0019afX/*\"\0\x0b\x7f\x80\xff";
    let vectors: Vec<_> = all()
        .into_iter()
        .map(|v| v.bytes)
        .filter(|b| b.len() < 2000)
        .collect();
    let some = prop::collection::vec((prop::sample::select(vectors), 1..4_usize), 1..3);
    let changes = prop::collection::vec(
        (
            0..5_u8,
            any::<prop::sample::Index>(),
            prop::sample::select(BYTES),
        ),
        0..4,
    );
    (some, changes).prop_map(|(some, changes)| {
        let mut bytes: Vec<_> = some
            .iter()
            .flat_map(|(one, times)| one.repeat(*times))
            .collect();
        for (how, at, byte) in changes {
            let at = at.index(bytes.len() + 1);
            match (how, at < bytes.len()) {
                (0, true) => bytes[at] = byte,
                (1, true) => drop(bytes.remove(at)),
                (2, true) => bytes.swap(0, at),
                // Numbers are few.
                (3, true) => {
                    if let Some(digit) = bytes[at..].iter_mut().find(|b| b.is_ascii_digit()) {
                        *digit = byte;
                    }
                }
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn the_library_reads_whatever_is_accepted_as_it_was_judged(bytes in mutated()) {
        check(&bytes)?;
    }
}
