//! The reader around a stream: what the library gets to see, and when time is up.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf, duplex};
use tokio::time::{Instant, timeout};

use super::super::Strict;
use super::super::line::SUBSTITUTE;
use super::*;

/// A stream that gives these pieces, then nothing, and takes everything.
pub(in crate::proxy) struct Pieces(VecDeque<Vec<u8>>);

impl Pieces {
    pub(in crate::proxy) fn new(pieces: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(
            pieces
                .into_iter()
                .filter(|piece| !piece.is_empty())
                .collect(),
        )
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.0.pop_front() else {
            return Poll::Pending;
        };
        let rest = piece.split_off(piece.len().min(buf.remaining()));
        buf.put_slice(&piece);
        if !rest.is_empty() {
            self.0.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const SETTINGS: Settings = Settings {
    head_max: HEAD_MAX,
    read_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(60),
};

/// What is read of these pieces until there is nothing more, with a buffer of this size; and the error
/// it ends with, if it does.
fn read(pieces: Vec<Vec<u8>>, room: usize) -> (Vec<u8>, Option<io::ErrorKind>) {
    let (mut strict, _line) = Strict::new(Pieces::new(pieces), SETTINGS);
    let mut read = Vec::new();
    let mut space = vec![0; room];
    loop {
        let mut buf = ReadBuf::new(&mut space);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match Pin::new(&mut strict).poll_read(&mut cx, &mut buf) {
            Poll::Ready(Ok(())) => {
                assert!(!buf.filled().is_empty(), "an end nobody made");
                read.extend_from_slice(buf.filled());
            }
            Poll::Ready(Err(error)) => return (read, Some(error.kind())),
            Poll::Pending => return (read, None),
        }
    }
}

// Fails when a refused head is let through, or when what stands for it is lost between two reads.
#[tokio::test]
async fn the_library_sees_what_passes_and_a_substitute_for_the_rest() {
    for vector in all() {
        let outcome = judged(&vector.bytes, []);
        let mut expected = outcome.passed;
        let mut error = None;
        if let Some(fault) = outcome.fault {
            match fault {
                Fault::ChunkSize | Fault::ChunkExtension | Fault::ChunkEnd | Fault::Trailer => {
                    error = Some(io::ErrorKind::InvalidData);
                }
                _ => expected.extend_from_slice(SUBSTITUTE),
            }
        }
        let single: Vec<_> = vector.bytes.iter().map(|&byte| vec![byte]).collect();
        for (pieces, room) in [
            (vec![vector.bytes.clone()], 1 << 20),
            (vec![vector.bytes.clone()], 10),
            (single, 8192),
        ] {
            let (read, ended) = read(pieces, room);
            assert!(read == expected, "{}, room for {room}", vector.name);
            assert_eq!(ended, error, "{}, room for {room}", vector.name);
        }
    }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// How long reading goes on until it ends in an error, on a clock that jumps.
async fn patience(strict: &mut (impl AsyncRead + Unpin)) -> (Duration, io::ErrorKind) {
    let begun = Instant::now();
    let mut space = [0; 1024];
    loop {
        match strict.read(&mut space).await {
            Ok(0) => panic!("the end"),
            Ok(_) => {}
            Err(error) => return (begun.elapsed(), error.kind()),
        }
    }
}

fn about(seconds: u64) -> std::ops::Range<Duration> {
    Duration::from_secs(seconds)..Duration::from_secs(seconds) + Duration::from_millis(100)
}

// Fails when `read_deadline` takes a later moment for the beginning of any of these.
#[tokio::test(start_paused = true)]
async fn whoever_is_silent_is_cut() {
    for (sent, seconds) in [
        (&b""[..], 10),
        (b"G", 10),
        (b"\r\n", 10),
        (GET, 60),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
            10,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            10,
        ),
    ] {
        let (mut client, server) = duplex(4096);
        let (mut strict, _line) = Strict::new(server, SETTINGS);
        client.write_all(sent).await.unwrap();
        let (after, error) = patience(&mut strict).await;
        assert_eq!(error, io::ErrorKind::TimedOut);
        assert!(about(seconds).contains(&after), "{sent:?}: {after:?}");
    }
}

// Fails when a byte of a head puts its deadline off, or a byte of a body does not.
#[tokio::test(start_paused = true)]
async fn a_head_must_be_whole_in_time_and_a_body_must_go_on() {
    for (first, then, seconds) in [
        (&b"GET / HTTP/1.1\r\n"[..], b'A', 10),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
            b'x',
            5 * 9 + 60,
        ),
    ] {
        let (mut client, server) = duplex(4096);
        let (mut strict, line) = Strict::new(server, SETTINGS);
        let busy = line.busy();
        let client = tokio::spawn(async move {
            client.write_all(first).await.unwrap();
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(9)).await;
                client.write_all(&[then]).await.unwrap();
            }
            drop(busy);
            std::future::pending::<()>().await;
        });
        let (after, _) = patience(&mut strict).await;
        client.abort();
        assert!(about(seconds).contains(&after), "{first:?}: {after:?}");
    }
}

// Fails when `busy` is not looked at, or its end is not the beginning of the next wait.
#[tokio::test(start_paused = true)]
async fn a_connection_is_not_idle_while_it_is_answered() {
    let (mut client, server) = duplex(4096);
    let (mut strict, line) = Strict::new(server, SETTINGS);
    client.write_all(GET).await.unwrap();
    let busy = line.busy();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1000)).await;
        drop(busy);
    });
    let (after, _) = patience(&mut strict).await;
    assert!(about(1060).contains(&after), "{after:?}");
}

// Fails when a write that waits is not timed, or one that succeeds does not begin the time anew.
#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_takes_is_cut() {
    let (mut client, server) = duplex(16);
    let (mut strict, _line) = Strict::new(server, SETTINGS);
    let reader = tokio::spawn(async move {
        let mut space = [0; 16];
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(50)).await;
            client.read_exact(&mut space).await.unwrap();
        }
        client
    });
    let begun = Instant::now();
    let error = strict.write_all(&[b'x'; 200]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(
        about(150 + 60).contains(&begun.elapsed()),
        "{:?}",
        begun.elapsed()
    );
    drop(reader);
}

// Fails when the socket is closed with bytes unread, which resets it under the answer.
#[tokio::test(start_paused = true)]
async fn what_a_refused_client_still_sends_is_read_for_a_moment() {
    let (mut client, server) = duplex(16);
    let (mut strict, _line) = Strict::new(server, SETTINGS);
    client.write_all(b"\0").await.unwrap();
    let mut space = [0; 256];
    let length = strict.read(&mut space).await.unwrap();
    assert_eq!(&space[..length], SUBSTITUTE);
    let client = tokio::spawn(async move {
        client.write_all(&[b'x'; 1000]).await.unwrap();
        client
    });
    let begun = Instant::now();
    strict.shutdown().await.unwrap();
    assert!(about(1).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    timeout(Duration::from_secs(1), client)
        .await
        .unwrap()
        .unwrap();
}
