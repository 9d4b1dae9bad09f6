//! Whatever requests come: the service sees what it would see if the HTTP library read them all.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Waker};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::unconstrained;

use super::super::body::Shared;
use super::super::rehearsal::Requests;
use super::super::serve::{Answer as _, Served, serve};
use super::{Recorder, Seen};
use crate::proxy::strict::tests::against_hyper::mutated;
use crate::proxy::strict::tests::reader::Pieces;
use crate::proxy::strict::tests::vectors::all;
use crate::proxy::strict::{Settings, Strict};

const SETTINGS: Settings = Settings {
    head_max: 64 << 10,
    read_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(60),
};

/// Polls something that waits for nothing but itself until it has done all it can.
fn run(work: impl Future) {
    // However much the test itself has done in its turn.
    let mut work = pin!(unconstrained(work));
    for _ in 0..300 {
        let mut cx = Context::from_waker(Waker::noop());
        if work.as_mut().poll(&mut cx).is_ready() {
            break;
        }
    }
}

async fn by_hyper<S: AsyncRead + AsyncWrite + Unpin>(stream: S, recorder: Recorder) {
    let service = service_fn(move |request: Request<Incoming>| {
        let recorder = recorder.clone();
        let (head, body) = request.into_parts();
        async move { Ok::<_, Infallible>(recorder.answer(Arc::new(head.into()), body).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    let builder = builder.max_header_size(64 << 10).max_buf_size(64 << 10);
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// What is seen of a connection on which these pieces come; by the library alone, and by us before it.
fn seen(pieces: &[Vec<u8>]) -> (Vec<Seen>, Vec<Seen>, bool) {
    let stream = || Strict::new(Pieces::new(pieces.iter().cloned()), SETTINGS).0;
    let (theirs, ours) = (Recorder::default(), Recorder::default());
    let (mut is_unusual, leaving) = (false, AtomicBool::new(false));
    run(by_hyper(stream(), theirs.clone()));
    run(async {
        if let Ok(Served::Unusual(rest)) = serve(Shared::new(stream()), &ours, &leaving).await {
            is_unusual = true;
            by_hyper(*rest, ours.clone()).await;
        }
    });
    (theirs.seen(), ours.seen(), is_unusual)
}

// Fails when `is_last` is not looked at, or a body ends elsewhere than its length says.
#[tokio::test]
async fn every_vector_is_seen_as_the_library_sees_it() {
    let (mut requests, mut usual) = (0, 0);
    for vector in all() {
        let single: Vec<_> = vector.bytes.iter().map(|&byte| vec![byte]).collect();
        let halves = vector.bytes.split_at(vector.bytes.len() / 2);
        for pieces in [
            vec![vector.bytes.clone()],
            vec![halves.0.to_vec(), halves.1.to_vec()],
            single,
        ] {
            if pieces.len() > 200 {
                continue;
            }
            let (theirs, ours, is_unusual) = seen(&pieces);
            assert_eq!(ours, theirs, "{}", vector.name);
            requests += ours.len();
            usual += usize::from(!is_unusual && !ours.is_empty());
        }
    }
    assert!(requests > 100 && usual > 30, "{requests} {usual}");
}

// Fails when the length of the head before, or what it said of it, is taken for that of the next.
#[test]
fn a_head_that_is_sent_again_has_its_own_length() {
    let mut connection = Requests::default();
    for length in [10, 12, 12, 99, 100, 7, 10] {
        let head = format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let read = connection.read(format!("{head}{{}}").as_bytes()).unwrap();
        let (head_read, said, at) = read;
        assert_eq!((said, at), (length, head.len()));
        // No length but the one that is told can be taken for it.
        assert_eq!(head_read.headers.len(), 1);
        assert_eq!(head_read.headers["host"], "a");
        assert_eq!(
            (head_read.method.as_str(), head_read.uri.path()),
            ("POST", "/x")
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_comes_is_seen_as_the_library_sees_it(
        bytes in mutated(),
        cut in any::<prop::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
        let pieces = [first.to_vec(), second.to_vec()];
        let (theirs, ours, _) = runtime.block_on(async { seen(&pieces) });
        prop_assert_eq!(ours, theirs);
    }
}
