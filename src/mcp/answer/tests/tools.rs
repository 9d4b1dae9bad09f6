//! Tools that are absent from lists. `FEWER` hides `t2` and what has no name.

use serde_json::{Value, json};

use super::*;

/// An element of a list, with the white space around it.
#[derive(Debug, Clone)]
struct Element {
    before: &'static str,
    text: &'static str,
    after: &'static str,
    hidden: bool,
}

const TOOLS: [(&str, bool); 16] = [
    (r#"{"name":"t1"}"#, false),
    (r#"{ "x" : [{"name":"t2"}], "name" : "t3" }"#, false),
    (r#"{"name":"t2 ","title":"t2"}"#, false),
    (r#"{"name":"T2","annotations":{"title":"t2"}}"#, false),
    (r#"{"name":"\\u0074\\u0032"}"#, false),
    (r#"{"name":"t2"}"#, true),
    (r#"{ "x":"}],[{" ,"name" : "t2" }"#, true),
    (r#"{"n\u0061me":"\u00742"}"#, true),
    (r#"{"name":"t1","name":"t2"}"#, true),
    (r#"{"name":"t2","name":"t1"}"#, true),
    (r#"{"name":"t1","name":7}"#, true),
    (r#"{"name":"\ud800"}"#, true),
    (r#"{"name":null}"#, true),
    (r#"{}"#, true),
    (r#"[ {"name":"t1"}, ["t1", 1] ]"#, true),
    (r#"" , t1\\\"]""#, true),
];

const WORDS: [&str; 3] = ["-12.5e+3", "null", "true"];

fn list(elements: &[Element]) -> String {
    let text = |e: &Element| format!("{}{}{}", e.before, e.text, e.after);
    let texts: Vec<_> = elements.iter().map(text).collect();
    format!("[{}]", texts.join(","))
}

/// What is left of the list: what goes are the hidden elements and, of each of them and of the first
/// that stays, the comma before it with what stands between the two.
fn left(elements: &[Element]) -> String {
    let mut out = "[".to_owned();
    let mut begun = false;
    for (at, element) in elements.iter().enumerate() {
        if at == 0 {
            out.push_str(element.before);
        } else if begun && !element.hidden {
            out.push(',');
            out.push_str(element.before);
        }
        if !element.hidden {
            begun = true;
            out.push_str(element.text);
        }
        out.push_str(element.after);
    }
    out.push(']');
    out
}

fn around(list: &str) -> String {
    format!("{{\"id\":1, \"result\":{{\"x\":[1 , 2],\"tools\" : {list} ,\"nextCursor\":\"c\"}}}}")
}

fn becomes(input: &str, output: &str) {
    let (out, end) = however_cut(input.as_bytes(), |chunks| run_json(FEWER, NO_LIMIT, chunks));
    assert_eq!(String::from_utf8(out).unwrap(), output, "{input}");
    assert_eq!(end, Ok(()), "{input}");
}

fn list_becomes(input: &str, output: &str) {
    becomes(&around(input), &around(output));
}

// Mutation: in `List::goes_on`, `self.begun && stays` -> `stays`, or leave out `self.begun |= stays`.
#[test]
fn whichever_of_four_tools_are_hidden_the_list_stays_a_list() {
    let gaps = [("", ""), (" ", ""), ("\n  ", ""), ("\t", "\r\n"), ("", " ")];
    for hidden in 0..16_u32 {
        for (before, after) in gaps {
            let element = |at: u32| {
                let hidden = hidden >> at & 1 == 1;
                Element {
                    before,
                    text: ["{\"name\":\"t1\",\"x\":[1,{}]}", "{\"name\":\"t2\"}"]
                        [usize::from(hidden)],
                    after,
                    hidden,
                }
            };
            let elements = [0, 1, 2, 3].map(element);
            let output = left(&elements);
            let parsed: Vec<Value> = serde_json::from_str(&output).unwrap();
            assert_eq!(parsed.len(), 4 - hidden.count_ones() as usize);
            list_becomes(&list(&elements), &output);
        }
    }
    list_becomes("[]", "[]");
    list_becomes("[ ]", "[ ]");
}

// Mutation: in `rewrite::tool`, leave out the check of `hides_tool`; or look at the last name only;
// or ask about "" only if there is no `name` at all.
#[test]
fn a_tool_goes_for_any_name_it_may_be_taken_to_have() {
    for (tool, hidden) in TOOLS {
        let input = format!("[{{\"name\":\"a\"}}, {tool} , {{\"name\":\"b\"}}]");
        let without = "[{\"name\":\"a\"} , {\"name\":\"b\"}]";
        list_becomes(&input, if hidden { without } else { &input });
    }
}

// Mutation: in `Tracker::no_tool`, `let hidden = false`; or leave out its call for words.
#[test]
fn what_is_no_tool_goes_with_those_that_have_no_name() {
    for word in WORDS {
        for gap in ["", " ", "\n"] {
            for (input, output) in [
                ("[$,#{\"name\":\"t1\"}]", "[{\"name\":\"t1\"}]"),
                ("[{\"name\":\"t1\"},#$]", "[{\"name\":\"t1\"}]"),
                ("[#$#]", "[##]"),
                (
                    "[$,#[1,$,[$]],\"$\",#$,{\"name\":\"t1\"}]",
                    "[{\"name\":\"t1\"}]",
                ),
                (
                    "[{\"name\":\"t1\"},#$,#\"\",{\"name\":\"t1\"}]",
                    "[{\"name\":\"t1\"},{\"name\":\"t1\"}]",
                ),
            ] {
                let fill = |text: &str| text.replace('$', word).replace('#', gap);
                list_becomes(&fill(input), &fill(output));
            }
        }
    }
    // Nobody hides what has no name: all of it stays.
    let rules = Marks {
        tools: &["t2"],
        ..ALL
    };
    let list =
        r#"[{"name":"t2"}, 7 ,"t2",[{"name":"t2"} , "t2"],{"name":["t2"]},{},{"name":"t2"}]"#;
    let left = r#"[7 ,"t2",[{"name":"t2"} , "t2"],{"name":["t2"]},{}]"#;
    let input = around(list);
    let outcome = however_cut(input.as_bytes(), |chunks| run_json(rules, NO_LIMIT, chunks));
    assert_eq!(outcome, (around(left).into_bytes(), Ok(())));
}

// Mutation: in `List::new`, begin with `begun: true`; or keep one list for the whole body.
#[test]
fn every_list_of_every_message_is_looked_into_and_nothing_else_is() {
    let list = r#"[{"name":"t2"},{"name":"t1"}]"#;
    let left = r#"[{"name":"t1"}]"#;
    for message in [
        r#"{"result":{"tools":#,"tools":#}}"#,
        r#"{"r\u0065sult":{"t\u006fols":#},"result":{"tools":#,"_meta":{"tools":$}}}"#,
        r#"[{"result":{"tools":#}}, 7,{"result":{"tools":#}},[{"result":{"tools":$}}]]"#,
        r#"{"params":{"tools":$},"error":{"data":{"tools":$}},"tools":$}"#,
        r#"{"result":{"content":[{"tools":$}],"structuredContent":{"tools":$},"task":{"tools":$}}}"#,
        r#"{"result":{"tools":{"tools":$}}}"#,
        r#"{"result":{"tools":[{"name":"t1","tools":$}],"x":$}}"#,
        r#"{"method":"sampling/createMessage","params":{"tools":$}}"#,
        // A list of arguments is a list of its own.
        r#"{"result":{"tools":[{"name":"t1","inputSchema":{"required":["t2"],"properties":{"t2":1}}}]}}"#,
    ] {
        let fill = |list: &str| {
            message
                .replace('#', list)
                .replace('$', r#"[{"name":"t2"}]"#)
        };
        becomes(&fill(list), &fill(left));
    }
}

#[test]
fn of_the_tools_that_stay_arguments_are_hidden_as_before() {
    list_becomes(
        r#"[{"name":"t2","inputSchema":{"required":["key"]}}, {"name":"t1","inputSchema":{"required":["key"]}},
           {"name":"t2"},{"name":"t1","inputSchema":{"required":["a","only_t1"]}} ]"#,
        r#"[{"name":"t1","inputSchema":{"required":[]}},{"name":"t1","inputSchema":{"required":["a"]}} ]"#,
    );
}

// Mutation: in `Tracker::line_end`, leave out `list.take`.
#[test]
fn a_list_is_bounded_if_only_tools_are_hidden() {
    let rules = Marks {
        hides: false,
        ..FEWER
    };
    for list in [
        r#"[ {"name":"t2"} , {"name":"t1"}, {"name":"t2"} ]"#,
        r#"[{"name":"t1"}, "a string that goes" , 7,[8]]"#,
    ] {
        let body = around(list);
        let stream = format!("data:{}\n\n", list.replace(' ', "\ndata:"));
        let stream = stream.replacen('[', "{\"result\":{\"tools\":[", 1);
        let stream = stream.replacen("\n\n", "}}\n\n", 1);
        for (max, end) in [
            (list.len(), Ok(())),
            (list.len() - 1, Err(AnswerError::ListTooLarge)),
        ] {
            let json = however_cut(body.as_bytes(), |chunks| run_json(rules, max, chunks));
            assert_eq!(json.1, end, "{list}");
            if !list.contains("string") {
                let events = however_cut(stream.as_bytes(), |c| run_events(rules, max, c));
                assert_eq!(events.1, end, "{stream}");
            }
        }
    }
}

// Mutation: in `Capture::leave`, `stays.start > 0` -> `true`.
#[test]
fn what_stays_is_not_copied_and_what_goes_leaves_no_piece() {
    let body = around(
        r#"[{"name":"t1"}, {"name":"t1"},{"name":"t2"}, {"name":"t2"},"x", {"name":"t1"}, {"name":"t1"}]"#,
    );
    let chunk = Bytes::from(body);
    let mut out = Vec::new();
    let mut answer = JsonAnswer::new(FEWER, NO_LIMIT);
    answer.push(chunk.clone(), &mut out).unwrap();
    assert_eq!(out.len(), 2, "{out:?}");
    assert_eq!(out[0].as_ptr(), chunk.as_ptr());
    let rest = chunk.len() - out[1].len();
    assert_eq!(out[1].as_ptr(), chunk[rest..].as_ptr());
    let all: [&[u8]; 2] = [
        br#"{"name":"t1"}"#,
        br#", {"name":"t1"}, {"name":"t1"}] ,"nextCursor":"c"}}"#,
    ];
    assert!(out[0].ends_with(all[0]));
    assert_eq!(out[1], all[1]);
}

// Mutation: in `Tracker::next`, let the comma pass; or call `no_tool` for strings or arrays no more, which
// then are held.
#[test]
fn a_tool_is_held_from_its_comma_on_and_what_is_no_tool_is_not() {
    let mut answer = JsonAnswer::new(FEWER, NO_LIMIT);
    let mut strings = JsonAnswer::new(ALL, NO_LIMIT);
    for (answer, chunks) in [
        (
            &mut answer,
            &[
                ("{\"result\":{\"tools\":[ ", "{\"result\":{\"tools\":[ "),
                ("{\"name\":", ""),
                ("\"t1\"", ""),
                ("} ", "{\"name\":\"t1\"} "),
                (", ", ""),
                (" {\"name\":\"t2\"", ""),
                ("}\n", "\n"),
                (",\"a string\\", ""),
                ("\" in pieces\", 1", ""),
                ("2", ""),
                (" ,[{}, 1", " "),
                ("]", ""),
                (" ,{\"name\":\"t1\"}", " ,{\"name\":\"t1\"}"),
                ("],\"x\":[1, ", "],\"x\":[1, "),
                ("2]}}", "2]}}"),
            ][..],
        ),
        (
            &mut strings,
            &[
                ("{\"result\":{\"tools\":[\"a", "{\"result\":{\"tools\":[\"a"),
                (" string\" ,", " string\" "),
                (" ", ""),
                (" \"a", ",  \"a"),
                ("b\",1", "b\",1"),
                ("2,[", "2,["),
                ("1,", "1,"),
                ("2]]}}", "2]]}}"),
            ][..],
        ),
    ] {
        for (chunk, passed) in chunks {
            let mut out = Vec::new();
            let chunk = Bytes::from_static(chunk.as_bytes());
            answer.push(chunk.clone(), &mut out).unwrap();
            assert_eq!(
                String::from_utf8(out.concat()).unwrap(),
                *passed,
                "{chunk:?}"
            );
        }
        assert_eq!(answer.finish(), Ok(()));
    }
}

// Mutation: in `Tracker::line_end`, only set the state after a word: what is hidden would go on.
#[test]
fn in_events_the_lines_stay() {
    for (input, output) in [
        (
            "id: 1\ndata: {\"result\":{\"tools\":[{\"name\":\"t2\"},{\"name\":\"t1\"}]}}\n\ndata: {\"result\":{\"tools\":[{\"name\":\"t2\"}]}}\n\n",
            "id: <1>\ndata: {\"result\":{\"tools\":[{\"name\":\"t1\"}]}}\n\ndata: {\"result\":{\"tools\":[]}}\n\n",
        ),
        (
            "data: {\"result\":{\"tools\":[\ndata: {\"name\":\"t1\"},\nid: 2\ndata:\ndata: {\"name\":\ndata:\"t2\"},\n: c\ndata:  {\"name\":\"t1\"},\ndata:7\ndata: ,{\"name\":\"t3\"}\ndata: ]}}\n\n",
            "data: {\"result\":{\"tools\":[\ndata: {\"name\":\"t1\"}\nid: <2>\ndata:\ndata: \ndata:\n: c\ndata: ,  {\"name\":\"t1\"}\ndata:\ndata: ,{\"name\":\"t3\"}\ndata: ]}}\n\n",
        ),
        (
            "data: [{\"result\":{\"tools\":[7\ndata: , \"x\",\ndata: [1,\ndata: 2],\ndata:\ndata: true\ndata:]}},{\"result\":{\"tools\":[ null\ndata\ndata: ,\ndata:{\"name\":\"t1\"}]}}]\n\n",
            "data: [{\"result\":{\"tools\":[\ndata: \ndata: \ndata: \ndata:\ndata: \ndata:]}},{\"result\":{\"tools\":[ \ndata\ndata: \ndata:{\"name\":\"t1\"}]}}]\n\n",
        ),
    ] {
        for legacy in [true, false] {
            let rules = Marks { legacy, ..FEWER };
            for end in ["\n", "\r\n", "\r"] {
                let input = input.replace('\n', end);
                let (out, result) = events(rules, input.as_bytes());
                assert_eq!(
                    String::from_utf8(out).unwrap(),
                    output.replace('\n', end),
                    "{input:?}"
                );
                assert_eq!(result, Ok(()));
            }
        }
    }
}

#[test]
fn a_list_that_is_none_is_no_list_for_it() {
    for (list, error) in [
        ("[{\"name\":\"t2\"},]", AnswerError::NotJson),
        ("[,{\"name\":\"t2\"}]", AnswerError::NotJson),
        (
            "[{\"name\":\"t2\"},,{\"name\":\"t1\"}]",
            AnswerError::NotJson,
        ),
        (
            "[{\"name\":\"t2\"} {\"name\":\"t1\"}]",
            AnswerError::NotJson,
        ),
        ("[\"a\" 7]", AnswerError::NotJson),
        ("[7 7]", AnswerError::NotJson),
        ("[{\"name\":\"t2\"}}", AnswerError::NotJson),
        ("[{\"name\" \"t2\"}]", AnswerError::NotJson),
        ("[{\"name\":\"t2\",}]", AnswerError::NotJson),
    ] {
        let input = around(list);
        let (_, end) = however_cut(input.as_bytes(), |chunks| run_json(FEWER, NO_LIMIT, chunks));
        assert_eq!(end, Err(error), "{list}");
    }
    for cut in [
        "[{\"name\":\"t2\"}",
        "[{\"name\":\"t2\"}, ",
        "[7",
        "[\"a",
        "[[1]",
    ] {
        let input = format!("{{\"result\":{{\"tools\":{cut}");
        let (_, end) = however_cut(input.as_bytes(), |chunks| run_json(FEWER, NO_LIMIT, chunks));
        assert_eq!(end, Err(AnswerError::CutMessage), "{cut}");
    }
    // What cannot be read as UTF-8 has no name anybody could judge.
    let bad = b"{\"result\":{\"tools\":[{\"name\":\"t\xff\"}]}}";
    let end = however_cut(bad, |chunks| run_json(FEWER, NO_LIMIT, chunks)).1;
    assert_eq!(end, Err(AnswerError::NotJson));
}

fn element() -> impl Strategy<Value = Element> {
    let gaps = || prop::sample::select(&["", "", " ", "\n", "\t ", "\r\n  "][..]);
    let words = WORDS.map(|word| (word, true));
    let texts: Vec<_> = TOOLS.into_iter().chain(words).collect();
    (gaps(), prop::sample::select(texts), gaps()).prop_map(|(before, (text, hidden), after)| {
        Element {
            before,
            text,
            after,
            hidden,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_the_hidden_tools_are_absent_and_nothing_else_changes(
        elements in proptest::collection::vec(element(), 0..12),
        cuts in cuts(),
    ) {
        let (list, left) = (list(&elements), left(&elements));
        for body in [around("$"), format!("[{}, {}]", around("$"), around("$"))] {
            let input = body.replace('$', &list);
            let whole = run_json(FEWER, NO_LIMIT, [input.as_bytes()]);
            prop_assert_eq!(String::from_utf8_lossy(&whole.0), body.replace('$', &left));
            prop_assert_eq!(whole.1, Ok(()));
            prop_assert_eq!(&run_json(FEWER, NO_LIMIT, pieces(input.as_bytes(), &cuts)), &whole);
            prop_assert_eq!(&run_json(FEWER, NO_LIMIT, input.as_bytes().chunks(1)), &whole);
            let event = |text: &str| {
                let text = text.replace("\r\n", " ").replace('\n', " ");
                format!(": c\nid: a\ndata: {text}\n\n").replace("id: a", "id: <a>")
            };
            let stream = event(&input).replace("<a>", "a");
            let streamed = run_events(FEWER, NO_LIMIT, pieces(stream.as_bytes(), &cuts));
            let expected = event(&body.replace('$', &left)).into_bytes();
            prop_assert_eq!(streamed, (expected, Ok(())));
        }
    }

    /// The same by value alone, for any names.
    #[test]
    fn the_tools_left_are_those_a_filter_leaves(
        names in proptest::collection::vec("t[0-9]{0,1}|", 0..10),
        cuts in cuts(),
    ) {
        let tool = |name: &String| json!({"name": name, "inputSchema": {"properties": {"a": {}}}});
        let tools: Vec<_> = names.iter().map(tool).collect();
        let stays = |tool: &&Value| !FEWER.hides_tool(tool["name"].as_str().unwrap());
        let left: Vec<_> = tools.iter().filter(stays).cloned().collect();
        let body = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": &tools, "cacheScope": "private"}});
        for text in [body.to_string(), serde_json::to_string_pretty(&body).unwrap()] {
            let (out, end) = run_json(FEWER, NO_LIMIT, pieces(text.as_bytes(), &cuts));
            prop_assert_eq!(end, Ok(()));
            let mut expected = body.clone();
            expected["result"]["tools"] = json!(left);
            prop_assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
        }
    }
}
