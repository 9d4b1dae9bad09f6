//! Heads of HTTP/1.1. A client's, which was let pass before it is read: the length of its body is the one that
//! stands there, and what of it is written to a backend says the same when it is read again. A backend's, which
//! nobody looked at before: it and its body are the same however they are cut.

use cloakroom::proxy::http1_rehearsal::{
    Answer, Answers, Requests, read_answer, read_request, write_request,
};
use cloakroom::proxy::strict::Judge;
use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};

use super::pieces;

pub(crate) fn run(input: &[u8]) {
    let Some((sizes, bytes)) = input.split_at_checked(4) else {
        return;
    };
    if bytes.starts_with(b"HTTP/") {
        answer(sizes, bytes);
    } else {
        request(bytes);
    }
}

fn request(bytes: &[u8]) {
    let mut judge = Judge::new(4096);
    let verdict = judge.judge(bytes);
    let passed = &bytes[..verdict.pass];
    let Some((request, length, at)) = read_request(passed) else {
        return;
    };
    assert!(
        judge.requests() > 0,
        "a head was read that was not let pass"
    );
    let mut connection = Requests::default();
    for _ in 0..3 {
        let (again, again_length, again_at) = connection.read(passed).expect("it was read");
        assert_eq!((again_length, again_at), (length, at));
        assert_eq!((&again.method, &again.uri), (&request.method, &request.uri));
        assert_eq!(again.headers, request.headers);
    }
    let head = &passed[..at];
    assert!(head.ends_with(b"\r\n\r\n"));
    assert_eq!(length, said(head));
    if request.headers.len() == 100 {
        // With the length that is written behind them these would be more than are read.
        return;
    }
    let mut written = Vec::new();
    write_request(&request, 0, &mut written);
    let (again, length, at) = read_request(&written).expect("what is written can be read");
    assert_eq!((length, at), (0, written.len()));
    assert_eq!((&again.method, &again.uri), (&request.method, &request.uri));
    let (mut again, mut first) = (again.headers.clone(), request.headers.clone());
    assert_eq!(plain(&mut again), plain(&mut first));
}

/// What a Content-Length says, by another reading than ours.
fn said(head: &[u8]) -> u64 {
    let text = std::str::from_utf8(head).expect("a head is ASCII");
    let lines = text.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let said = lengths.next().map(|(_, value)| value.trim_matches(' '));
    assert!(lengths.next().is_none(), "two lengths");
    said.map_or(0, |digits| digits.parse().expect("a number"))
}

/// Without those that are about the connection, which each of them has for itself.
fn plain(headers: &mut HeaderMap) -> &HeaderMap {
    for name in [CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

fn answer(sizes: &[u8], bytes: &[u8]) {
    let whole = told(read_answer([bytes]));
    assert_eq!(told(read_answer(pieces(sizes, bytes))), whole);
    assert_eq!(told(read_answer(bytes.chunks(1))), whole);
    // From memory, the third time what was made of it the second.
    let mut answers = Answers::default();
    for _ in 0..3 {
        assert_eq!(told(answers.read([bytes])), whole);
    }
}

fn told(answer: Option<Answer>) -> Option<(u16, HeaderMap, Vec<u8>, bool)> {
    let Answer {
        head,
        body,
        is_whole,
    } = answer?;
    Some((head.status.as_u16(), head.headers.clone(), body, is_whole))
}
