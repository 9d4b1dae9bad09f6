//! Event streams: ids, data, `endpoint` events.

use super::*;

fn run(chunks: &[&[u8]]) -> Outcome {
    let mut answer = EventAnswer::new(MODERN, NO_LIMIT);
    let mut out = Vec::new();
    for chunk in chunks {
        if let Err(error) = answer.push(Bytes::copy_from_slice(chunk), &mut out) {
            return (out.concat(), Err(error));
        }
    }
    let end = answer.finish();
    (out.concat(), end)
}

fn sealed(input: &str) -> String {
    String::from_utf8(run(&[input.as_bytes()]).0).unwrap()
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
    let mut stream = EventAnswer::new(MODERN, NO_LIMIT);
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
    EventAnswer::new(MODERN, NO_LIMIT)
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
            assert_eq!(run(&[line.as_bytes()]).1.is_ok(), fits);
            let (head, tail) = line.as_bytes().split_at(line.len() / 2);
            assert_eq!(run(&[head, tail]).1.is_ok(), fits);
        }
    }
    let endless = "7".repeat(2000);
    assert_eq!(
        run(&[b"id: ", endless.as_bytes()]).1,
        Err(AnswerError::IdTooLong)
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
        assert_eq!(run(&[whole.as_bytes()]).1, Ok(()), "{whole:?}");
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
            run(&[cut.as_bytes()]).1,
            Err(AnswerError::CutEvent),
            "{cut:?}"
        );
    }
    assert_eq!(run(&[b"\xef\xbb"]).1, Err(AnswerError::CutEvent));
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
    let mut rest = input.strip_prefix(&[0xef, 0xbb, 0xbf][..]).unwrap_or(input);
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
                out.extend(MODERN.seal_event(value));
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
        let whole = run(&[&input]);
        prop_assert_eq!(&whole.0, &model(&input));
        prop_assert_eq!(&run(&chunks), &whole);
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        prop_assert_eq!(&run(&bytes), &whole);
    }

    #[test]
    fn with_nothing_to_seal_the_stream_is_the_same(input in stream()) {
        let (output, end) = run_events(Marks { seals: false, ..MODERN }, NO_LIMIT, [&input[..]]);
        prop_assert!(input.starts_with(&output));
        if end.is_ok() {
            prop_assert_eq!(output, input);
        }
    }
}

fn becomes(rules: Marks, input: &str, output: &str) {
    for end in ["\n", "\r\n", "\r"] {
        let (out, result) = events(rules, input.replace('\n', end).as_bytes());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            output.replace('\n', end),
            "{input:?}"
        );
        assert_eq!(result, Ok(()), "{input:?}");
    }
}

#[test]
fn the_data_of_every_event_is_a_message() {
    for rules in [ALL, MODERN] {
        for (input, output) in [
            (
                "id: 1\nevent: message\ndata: {\"result\":{\"taskId\":\"a\"}}\n\ndata:{\"params\":{\"taskId\":\"b\"}}\nid:2\n\n",
                "id: <1>\nevent: message\ndata: {\"result\":{\"taskId\":\"<a>\"}}\n\ndata:{\"params\":{\"taskId\":\"<b>\"}}\nid:<2>\n\n",
            ),
            // The method of one event says nothing of the next.
            (
                "data: {\"method\":\"tasks/get\",\"params\":{\"taskId\":\"a\"}}\n\ndata: {\"params\":{\"taskId\":\"a\"}}\n\n",
                "data: {\"method\":\"tasks/get\",\"params\":{\"taskId\":\"a\"}}\n\ndata: {\"params\":{\"taskId\":\"<a>\"}}\n\n",
            ),
            (
                "data: \u{feff} [{\"result\":{\"taskId\":\"a\"}},1]\n\n",
                "data: \u{feff} [{\"result\":{\"taskId\":\"<a>\"}},1]\n\n",
            ),
            (
                "data\ndata:\ndata:   {\ndata\ndata: \"result\":\n: c\ndata:{\"taskId\":\nid: 9\ndata:\"a\"\ndata:}}\ndata: \n\n",
                "data\ndata:\ndata:   {\ndata\ndata: \"result\":\n: c\ndata:{\"taskId\":\nid: <9>\ndata:\"<a>\"\ndata:}}\ndata: \n\n",
            ),
            // A captured value goes where its last line is; the lines stay.
            (
                "data: {\"result\":{\"tools\":[ {\ndata: \"name\":\"t1\",\n: c\ndata:  \"inputSchema\":{\"required\":\nid: 3\ndata: [\"only_t1\"]}}, 7\ndata: ]}}\n\n",
                "data: {\"result\":{\"tools\":[ \ndata: \n: c\ndata: \nid: <3>\ndata: { \"name\":\"t1\",  \"inputSchema\":{\"required\": []}}, 7\ndata: ]}}\n\n",
            ),
            (
                ": c\n\ndata\n\ndata:\n\nid: x\ndata: \nretry: 100\n\n",
                ": c\n\ndata\n\ndata:\n\nid: <x>\ndata: \nretry: 100\n\n",
            ),
        ] {
            becomes(rules, input, output);
        }
    }
}

#[test]
fn data_that_is_no_json_and_other_fields_stay() {
    for text in [
        "event: ping\ndata: ping\n\n",
        "data: hello {]\ndata: {\"result\":{\"taskId\":\"a\"}}\n\n",
        "data: \"{\"\ndata: {]\n\n",
        "dat: {]\ndataa: {]\n data: {]\nevent: {]\nevents: {]\n\n",
        "data \ndata : {]\n\n",
        "{]\n\nevent\n\n",
    ] {
        becomes(ALL, text, text);
        becomes(MODERN, text, text);
    }
    // A mark begun and given up in the line after.
    assert_eq!(
        events(MODERN, b"data: \xef\xbb\ndata: \xbf{]\n\n").1,
        Ok(())
    );
}

#[test]
fn data_that_cannot_be_followed_resets_the_stream() {
    for (data, error) in [
        ("{]", AnswerError::NotJson),
        ("{\"a\":1}x", AnswerError::NotJson),
        ("{}\ndata: {}", AnswerError::NotJson),
        ("{\"a\ndata: b\":1}", AnswerError::NotJson),
        (
            "{\"result\":{\"taskId\":\"a\ndata: b\"}}",
            AnswerError::NotJson,
        ),
        ("[tr\ndata: ue]", AnswerError::NotJson),
        ("{\"a\":1", AnswerError::CutMessage),
        ("{\"result\":{\"tools\":[{\"a\":", AnswerError::CutMessage),
        (
            "{\"result\":{\"tools\":[{\"a\":\nid: 7",
            AnswerError::CutMessage,
        ),
        ("[\"a", AnswerError::CutMessage),
    ] {
        for rules in [ALL, MODERN] {
            let stream = format!("data: {{}}\n\ndata: {data}\n\ndata: {{}}\n\n");
            assert_eq!(events(rules, stream.as_bytes()).1, Err(error), "{data}");
        }
    }
}

#[test]
fn an_endpoint_becomes_ours_wherever_its_type_stands() {
    for (input, output) in [
        (
            "event: endpoint\ndata: /theirs?a=b\n\n",
            "event: endpoint\ndata: /ours?a=b\n\n",
        ),
        (
            "data: /theirs?a=b\nevent: endpoint\n\n",
            "data: /ours?a=b\nevent: endpoint\n\n",
        ),
        (
            "event:endpoint\nid: 1\ndata:/theirs\nid: 2\n: c\n\ndata: {\"result\":{\"taskId\":\"a\"}}\n\n",
            "event:endpoint\nid: <1>\ndata:/ours\nid: <2>\n: c\n\ndata: {\"result\":{\"taskId\":\"<a>\"}}\n\n",
        ),
        (
            "event: endpoint\nevent: message\ndata: /theirs\n\n",
            "event: endpoint\nevent: message\ndata: /theirs\n\n",
        ),
        (
            "event: message\nevent: endpoint\ndata: /theirs\n\n",
            "event: message\nevent: endpoint\ndata: /ours\n\n",
        ),
        (
            "data: /theirs\nevent: message\nevent: endpoint\n\n",
            "data: /ours\nevent: message\nevent: endpoint\n\n",
        ),
        (
            "data: /theirs\nevent: endpoint\nevent\n\n",
            "data: /theirs\nevent: endpoint\nevent\n\n",
        ),
        (
            "data: /theirs\nevent: endpoints\n\ndata: /theirs\nevent: endpoin\n\n",
            "data: /theirs\nevent: endpoints\n\ndata: /theirs\nevent: endpoin\n\n",
        ),
        (
            "event: endpoint\n\ndata: /theirs\n\n",
            "event: endpoint\n\ndata: /theirs\n\n",
        ),
        (
            "data: plain\ndata: more\nid: 1\n\n",
            "data: plain\ndata: more\nid: <1>\n\n",
        ),
        (
            "event: message\ndata: /theirs\n\n",
            "event: message\ndata: /theirs\n\n",
        ),
        (
            "data:\nevent: x\ndata: /theirs\n\n",
            "data:\nevent: x\ndata: /theirs\n\n",
        ),
    ] {
        becomes(ALL, input, output);
    }
}

#[test]
fn an_endpoint_that_is_not_theirs_to_name_resets_the_stream() {
    for stream in [
        "event: endpoint\ndata: https://elsewhere/\n\n",
        "data: https://elsewhere/\nevent: endpoint\n\n",
        "event: endpoint\ndata: {\"result\":1}\n\n",
        "event: endpoint\ndata:\n\n",
        "event: endpoint\ndata\n\n",
        "event: endpoint\ndata:\ndata: /theirs\n\n",
        "event: endpoint\ndata: /theirs\ndata: x\n\n",
        // Proved one too late.
        "data: {\"result\":1}\nevent: endpoint\n\n",
        "event: x\ndata: /theirs\nevent: endpoint\n\n",
        "event: x\ndata:\nevent: endpoint\ndata: /theirs\n\n",
    ] {
        assert_eq!(
            events(ALL, stream.as_bytes()).1,
            Err(AnswerError::ForeignEndpoint),
            "{stream:?}"
        );
    }
    assert_eq!(
        events(ALL, b"event: endpoint\ndata: /theirs\xff\n\n").1,
        Err(AnswerError::ForeignEndpoint)
    );
    let modern = b"data: [1]\nevent: endpoint\n\nevent: endpoint\ndata: /theirs\n\n";
    assert_eq!(events(MODERN, modern), (modern.to_vec(), Ok(())));
}

#[test]
fn what_may_be_an_endpoint_is_held_up_to_8_kib_and_nothing_else_is() {
    let run = |stream: &str, size| run_events(ALL, NO_LIMIT, stream.as_bytes().chunks(size)).1;
    let held = "x".repeat(MAX_ENDPOINT - 1);
    for size in [1, 1000, 100_000] {
        let endless = run(&format!("data: {held}xx"), size);
        assert_eq!(endless, Err(AnswerError::EndpointTooLong));
        assert_eq!(run(&format!("data: {held}\n\n"), size), Ok(()));
        assert_eq!(
            run(&format!("data: {held}x\n\n"), size),
            Err(AnswerError::EndpointTooLong)
        );
        assert_eq!(run(&format!("event: x\ndata: {held}x\n\n"), size), Ok(()));
        assert_eq!(
            run(&format!("data: {held}\n:\n\n"), size),
            Err(AnswerError::EndpointTooLong)
        );
        let space = " ".repeat(MAX_ENDPOINT);
        assert_eq!(run(&format!("data: {space}{{}}\n\n"), size), Ok(()));
        assert_eq!(
            run(&format!("data:  {space}{{}}\n\n"), size),
            Err(AnswerError::EndpointTooLong)
        );
        assert_eq!(run(&format!("data: {{{space}{space}}}\n\n"), size), Ok(()));
    }
    let mut answer = EventAnswer::new(ALL, NO_LIMIT);
    let mut out = Vec::new();
    for (chunk, passed) in [
        ("data: {\"a\"", "data: {\"a\""),
        (":1}\n\ndata: ", ":1}\n\ndata: "),
        ("/a", ""),
        ("\nid: 1", ""),
        ("\n\n", "/a\nid: <1>\n\n"),
        ("event: x\ndata: /a", "event: x\ndata: /a"),
    ] {
        out.clear();
        answer
            .push(Bytes::from_static(chunk.as_bytes()), &mut out)
            .unwrap();
        assert_eq!(
            String::from_utf8(out.concat()).unwrap(),
            passed,
            "{chunk:?}"
        );
    }
}
