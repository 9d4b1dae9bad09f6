//! Streams whole, streams cut anywhere, and what must fail.

use proptest::prelude::*;

use super::*;

fn run(chunks: &[&[u8]], seal: impl Fn(&[u8]) -> Vec<u8>) -> (Vec<u8>, Result<(), SseError>) {
    let mut stream = SealEventIds::new(seal);
    let mut out = Vec::new();
    for chunk in chunks {
        if let Err(error) = stream.push(Bytes::copy_from_slice(chunk), &mut out) {
            return (out.concat(), Err(error));
        }
    }
    let end = stream.finish();
    (out.concat(), end)
}

fn mark(id: &[u8]) -> Vec<u8> {
    [b"<", id, b">"].concat()
}

fn sealed(input: &str) -> String {
    String::from_utf8(run(&[input.as_bytes()], mark).0).unwrap()
}

#[test]
fn only_values_of_id_fields_change() {
    for (input, output) in [
        ("id: 7\ndata: x\n\n", "id: <7>\ndata: x\n\n"),
        ("id:7\r\ndata\r\n\r\n", "id:<7>\r\ndata\r\n\r\n"),
        ("id:  7\r\r", "id: < 7>\r\r"),
        ("\u{feff}id: 7\n\n", "\u{feff}id: <7>\n\n"),
        ("data: id: 7\n\n", "data: id: 7\n\n"),
        ("id\nid:\nid: \n\n", "id\nid:\nid: \n\n"),
        ("id: a\0b\n\n", "id: a\0b\n\n"),
        (
            "ID: 7\nidx: 7\nid : 7\n id: 7\n:id: 7\n\n",
            "ID: 7\nidx: 7\nid : 7\n id: 7\n:id: 7\n\n",
        ),
        (
            "id: 1\nid: 2\n\nid: 3\n\n",
            "id: <1>\nid: <2>\n\nid: <3>\n\n",
        ),
        (
            "id: x\ndata: \nretry: 100\n\n",
            "id: <x>\ndata: \nretry: 100\n\n",
        ),
        ("\u{feff}\u{feff}id: 7\n\n", "\u{feff}\u{feff}id: 7\n\n"),
    ] {
        assert_eq!(sealed(input), output, "{input:?}");
    }
}

#[test]
fn only_an_unfinished_id_line_is_held_back() {
    let mut stream = SealEventIds::new(mark);
    let mut out = Vec::new();
    for (chunk, passed) in [
        ("data: par", "data: par"),
        ("tial\r", "tial\r"),
        ("\ni", "\n"),
        ("d", ""),
        (": a", ""),
        ("b\r", "id: <ab>\r"),
        ("\n\r\n: keep", "\n\r\n: keep"),
        ("-alive\nin", "-alive\nin"),
        ("\n", "\n"),
    ] {
        out.clear();
        stream
            .push(Bytes::from_static(chunk.as_bytes()), &mut out)
            .unwrap();
        assert_eq!(out.concat(), passed.as_bytes(), "{chunk:?}");
    }
}

#[test]
fn bytes_that_pass_are_slices_of_the_chunk() {
    let chunk = Bytes::from_static(b"data: one\n\nid: 7\ndata: two\n\n");
    let mut out = Vec::new();
    SealEventIds::new(mark)
        .push(chunk.clone(), &mut out)
        .unwrap();
    assert_eq!(out.len(), 3);
    assert_eq!(out[0].as_ptr(), chunk.as_ptr());
    assert_eq!(out[2].as_ptr(), chunk[16..].as_ptr());
}

#[test]
fn an_id_may_have_1024_bytes_and_no_more() {
    assert_eq!(MAX_EVENT_ID, 1024);
    for prefix in ["id:", "id: "] {
        for (length, fits) in [(MAX_EVENT_ID, true), (MAX_EVENT_ID + 1, false)] {
            let line = format!("{prefix}{}\n\n", "7".repeat(length));
            assert_eq!(run(&[line.as_bytes()], mark).1.is_ok(), fits);
            let (head, tail) = line.as_bytes().split_at(line.len() / 2);
            assert_eq!(run(&[head, tail], mark).1.is_ok(), fits);
        }
    }
    let endless = "7".repeat(2000);
    assert_eq!(
        run(&[b"id: ", endless.as_bytes()], mark).1,
        Err(SseError::IdTooLong)
    );
}

#[test]
fn an_end_inside_an_event_is_an_error_and_between_events_is_none() {
    for whole in [
        "",
        "\u{feff}",
        "data: x\n\n",
        "data: x\r\r\n",
        "x\n\n: comm",
        "x\n\n:c\n",
        "\n",
    ] {
        assert_eq!(run(&[whole.as_bytes()], mark).1, Ok(()), "{whole:?}");
    }
    for cut in [
        "d",
        "data: x\n",
        "data: x\r\n",
        "i",
        "id: 7",
        "x\n\nid: 7\n",
        "x\n:c\n",
    ] {
        assert_eq!(
            run(&[cut.as_bytes()], mark).1,
            Err(SseError::CutEvent),
            "{cut:?}"
        );
    }
    assert_eq!(run(&[b"\xef\xbb"], mark).1, Err(SseError::CutEvent));
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&[u8]; 15] = [
        b"id",
        b"i",
        b":",
        b": ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"data: hello",
        b"id: 42",
        b"event",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xef",
        b" ",
    ];
    let piece = prop::sample::select(&PIECES[..]);
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// The standard's own words, whole lines at a time, as something to compare with.
fn model(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = input.strip_prefix(&BOM).unwrap_or(input);
    out.extend_from_slice(&input[..input.len() - rest.len()]);
    while let Some(end) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
        let after = end
            + if rest[end..].starts_with(b"\r\n") {
                2
            } else {
                1
            };
        let line = &rest[..end];
        match line
            .strip_prefix(b"id:")
            .map(|v| v.strip_prefix(b" ").unwrap_or(v))
        {
            Some(value) if !value.is_empty() && !value.contains(&0) => {
                out.extend_from_slice(&line[..line.len() - value.len()]);
                out.extend(mark(value));
            }
            _ => out.extend_from_slice(line),
        }
        out.extend_from_slice(&rest[end..after]);
        rest = &rest[after..];
    }
    // What is left has no line end yet; of it, an id line stays behind.
    if !(rest == b"i" || rest == b"id" || rest.starts_with(b"id:")) {
        out.extend_from_slice(rest);
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_cuts_do_not_matter(input in stream(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        at.extend([0, input.len()]);
        at.sort_unstable();
        let chunks: Vec<&[u8]> = at.windows(2).map(|w| &input[w[0]..w[1]]).collect();
        let whole = run(&[&input], mark);
        prop_assert_eq!(&whole.0, &model(&input));
        prop_assert_eq!(&run(&chunks, mark), &whole);
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        prop_assert_eq!(&run(&bytes, mark), &whole);
    }

    #[test]
    fn with_nothing_to_seal_the_stream_is_the_same(input in stream()) {
        let (output, end) = run(&[&input], <[u8]>::to_vec);
        prop_assert!(input.starts_with(&output));
        if end.is_ok() {
            prop_assert_eq!(output, input);
        }
    }
}
