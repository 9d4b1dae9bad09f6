//! What is accepted, what is refused and why.

use super::ScanErrorKind::{
    DuplicateKey, LoneSurrogate, MiscasedKey, NotAMessage, NotJson, NotUtf8, TooDeep, TooMany,
};
use super::*;

pub(super) fn one(body: &str) -> Message<'_> {
    match scan(body.as_bytes()) {
        Ok(Body::One(message)) => *message,
        other => panic!("{other:?}"),
    }
}

fn refused(body: impl AsRef<[u8]>) -> ScanErrorKind {
    let body = body.as_ref();
    let error = scan(body).expect_err(&String::from_utf8_lossy(body));
    assert!(error.at() <= body.len());
    error.kind()
}

pub(super) fn with_params(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#)
}

/// A message with `value` somewhere inside its params.
pub(super) fn with_value(value: &str) -> String {
    with_params(&format!(r#"{{"x":{value}}}"#))
}

#[test]
fn a_call_is_taken_apart_into_ranges_of_the_body() {
    let body = r#" {"params" : {"arguments":{"a":[1,{"b":2}]} ,"name":"caf\u00e9","uri":"u","taskId":"t",
        "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
        "io.modelcontextprotocol/clientCapabilities":{"elicitation":{"url":{}}}}},
        "method":"tools/call","id": "x\"y","jsonrpc":"2.0","future":[{"id":9}]} "#;
    let message = one(body);
    assert_eq!(message.shape, Shape::Request);
    assert_eq!(&body[message.id.unwrap()], r#""x\"y""#);
    assert_eq!(&body[message.arguments.unwrap()], r#"{"a":[1,{"b":2}]}"#);
    let params = &body[message.params.unwrap()];
    assert!(params.starts_with(r#"{"arguments""#) && params.ends_with("}}}}"));
    assert_eq!(message.method.as_deref(), Some("tools/call"));
    assert!(matches!(message.method, Some(Cow::Borrowed(_))));
    assert_eq!(message.name.as_deref(), Some("café"));
    assert_eq!(message.uri.as_deref(), Some("u"));
    assert_eq!(message.task_id.as_deref(), Some("t"));
    assert_eq!(message.protocol_version.as_deref(), Some("2026-07-28"));
    assert!(message.capabilities.elicitation_url());
    assert_eq!(message.initialize_version, None);
}

#[test]
fn capabilities_come_from_initialize_unless_the_request_has_its_own() {
    let body = |method: &str, meta: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"params":{{"protocolVersion":"2025-11-25","capabilities":{{"elicitation":{{"form":{{}},"url":{{}}}}}}{meta}}},"method":"{method}"}}"#
        )
    };
    let own = r#","_meta":{"io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}}"#;
    let plain = body("initialize", "");
    assert!(one(&plain).capabilities.elicitation_url());
    assert_eq!(
        one(&plain).initialize_version.as_deref(),
        Some("2025-11-25")
    );
    assert!(!one(&body("initialize", own)).capabilities.elicitation_url());
    assert!(!one(&body("other", "")).capabilities.elicitation_url());
    for (undeclared, declared) in [
        ("\"url\":{}", "\"url\":null"),
        ("elicitation", "Elicitation"),
        ("{\"form\"", "[{\"form\""),
    ] {
        let changed = plain
            .replace(undeclared, declared)
            .replace("\"url\":{}}}}", "\"url\":{}}]}}");
        if scan(changed.as_bytes()).is_ok() {
            assert!(!one(&changed).capabilities.elicitation_url(), "{changed}");
        }
    }
}

// Fails when a trace context is looked for anywhere but in `_meta`, and when one in other letters is refused.
#[test]
fn a_trace_context_is_read_in_meta_alone_and_refuses_nothing() {
    for (meta, parent, state) in [
        (
            r#""traceparent":"a\u002db","tracestate":"c""#,
            Some("a-b"),
            Some("c"),
        ),
        (r#""traceparent":7,"tracestate":null"#, None, None),
        (r#""Traceparent":"a","TRACESTATE":"b""#, None, None),
        (r#""x":{"traceparent":"a"}"#, None, None),
    ] {
        let params = format!(r#"{{"traceparent":"no","_meta":{{{meta}}}}}"#);
        let body = with_params(&params);
        let message = one(&body);
        let read = (
            message.trace_parent.as_deref(),
            message.trace_state.as_deref(),
        );
        assert_eq!(read, (parent, state), "{meta}");
    }
    let twice = r#"{"_meta":{"traceparent":"a","traceparent":"b"}}"#;
    assert_eq!(refused(with_params(twice)), DuplicateKey);
}

#[test]
fn shapes_follow_json_rpc_and_mcp() {
    for (members, shape) in [
        (r#""id":1,"method":"m""#, Some(Shape::Request)),
        (r#""id":-1.5e3,"method":"m""#, Some(Shape::Request)),
        (r#""id":"","method":"m","params":{}"#, Some(Shape::Request)),
        (r#""method":"m""#, Some(Shape::Notification)),
        (r#""id":1,"result":null"#, Some(Shape::Response)),
        (r#""id":1,"result":{}"#, Some(Shape::Response)),
        (r#""id":1,"error":{}"#, Some(Shape::Response)),
        (r#""id":null,"error":{}"#, Some(Shape::Response)),
        (r#""error":{}"#, Some(Shape::Response)),
        (r#""id":null,"method":"m""#, None),
        (r#""id":null,"result":{}"#, None),
        (r#""result":{}"#, None),
        (r#""id":1"#, None),
        (r#""id":true,"method":"m""#, None),
        (r#""id":[1],"method":"m""#, None),
        (r#""id":1,"method":1"#, None),
        (r#""id":1,"method":null"#, None),
        (r#""id":1,"method":"m","result":{}"#, None),
        (r#""id":1,"method":"m","error":{}"#, None),
        (r#""id":1,"result":{},"error":{}"#, None),
        (r#""id":1,"error":null"#, None),
        (r#""id":1,"method":"m","params":[]"#, None),
        (r#""id":1,"method":"m","params":null"#, None),
        (r#""id":1,"method":"m","params":"{}""#, None),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0",{members}}}"#);
        match shape {
            Some(shape) => assert_eq!(one(&body).shape, shape, "{body}"),
            None => assert_eq!(refused(&body), NotAMessage, "{body}"),
        }
    }
    for body in ["{}", "1", "null", "\"x\"", "[]", "[1]", "[[]]", "[{}]"] {
        assert_eq!(refused(body), NotAMessage, "{body}");
    }
    for version in ["2", "\"2\"", "\"1.0\"", "null", "2.0"] {
        assert_eq!(
            refused(format!(r#"{{"jsonrpc":{version},"id":1,"method":"m"}}"#)),
            NotAMessage
        );
    }
    assert_eq!(refused(r#"{"id":1,"method":"m"}"#), NotAMessage);
}

#[test]
fn a_batch_has_1_to_1024_messages_and_each_is_judged() {
    assert_eq!(MAX_BATCH, 1024);
    let message = r#"{"jsonrpc":"2.0","method":"m"}"#;
    let batch = |n: usize| format!("[{}]", vec![message; n].join(","));
    for n in [1, 2, MAX_BATCH] {
        let body = batch(n);
        let Ok(Body::Batch(messages)) = scan(body.as_bytes()) else {
            panic!()
        };
        assert_eq!(messages.len(), n);
    }
    assert_eq!(refused(batch(MAX_BATCH + 1)), TooMany);
    assert_eq!(refused(format!("[{message},{{}}]")), NotAMessage);
    assert_eq!(refused(format!("[{message},[{message}]]")), NotAMessage);
    let mixed = r#"[{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"x"}},{"jsonrpc":"2.0","id":2,"method":"b"}]"#;
    let Ok(Body::Batch(messages)) = scan(mixed.as_bytes()) else {
        panic!()
    };
    assert_eq!(
        (messages[0].name.as_deref(), messages[1].name.as_deref()),
        (Some("x"), None)
    );
    assert_eq!(&mixed[messages[1].id.clone().unwrap()], "2");
}

#[test]
fn depth_64_passes_and_65_does_not() {
    assert_eq!(MAX_DEPTH, 64);
    // The message and its params are two levels.
    for (open, close) in [("[", "]"), ("{\"k\":", "}")] {
        let nested = |n: usize| with_value(&format!("{}0{}", open.repeat(n), close.repeat(n)));
        assert!(scan(nested(MAX_DEPTH - 2).as_bytes()).is_ok());
        assert_eq!(refused(nested(MAX_DEPTH - 1)), TooDeep);
        assert_eq!(refused(nested(1_000_000)), TooDeep);
    }
}

#[test]
fn a_key_twice_is_refused_at_any_depth_however_it_is_spelt() {
    for (first, second) in [
        ("arguments", "arguments"),
        ("arguments", "argument\\u0073"),
        ("\\u0061rguments", "arguments"),
        ("\\u0061", "\\u0061"),
        ("😀", "\\ud83d\\ude00"),
        ("😀", "\\uD83D\\uDE00"),
        ("a/b", "a\\/b"),
        ("", ""),
        ("\\n", "\\u000a"),
    ] {
        let members = format!(r#""{first}":1,"z":{{}},"{second}":2"#);
        let object = format!("{{{members}}}");
        assert_eq!(refused(with_params(&object)), DuplicateKey, "{object}");
        assert_eq!(
            refused(with_value(&format!("[[{object}]]"))),
            DuplicateKey,
            "{object}"
        );
        assert_eq!(
            refused(with_params(&format!(r#"{{"_meta":{object}}}"#))),
            DuplicateKey
        );
    }
    assert_eq!(
        refused(r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#),
        DuplicateKey
    );
    assert_eq!(
        refused(r#"{"jsonrpc":"2.0","id":1,"method":"a","\u006dethod":"b"}"#),
        DuplicateKey
    );
    let same_key_in_siblings = r#"{"a":{"k":1},"b":{"k":1},"k":[{"k":1},{"k":2}]}"#;
    assert!(scan(with_params(same_key_in_siblings).as_bytes()).is_ok());
}

#[test]
fn keys_are_told_apart_in_objects_of_every_size() {
    for n in [1, 15, 16, 17, 18, 47, 48, 49, 97, 500, 20_000] {
        let keys: Vec<String> = (0..n).map(|i| format!(r#""k{i}":{{"k0":0}}"#)).collect();
        let object = |extra: &str| with_value(&format!("{{{}{extra}}}", keys.join(",")));
        assert!(scan(object("").as_bytes()).is_ok(), "{n}");
        for of in [0, n / 2, n - 1] {
            assert_eq!(
                refused(object(&format!(r#","k{of}":1"#))),
                DuplicateKey,
                "{n} {of}"
            );
            assert_eq!(
                refused(object(&format!(r#","\u006b{of}":1"#))),
                DuplicateKey,
                "{n} {of}"
            );
        }
    }
}

#[test]
fn a_key_that_is_a_field_but_for_its_case_is_refused() {
    for key in [
        "Params",
        "JSONRPC",
        "Id",
        "METHOD",
        "Result",
        "paramſ",
        "\\u0050arams",
        "İd",
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","{key}":{{}}}}"#);
        assert_eq!(refused(&body), MiscasedKey, "{body}");
    }
    for key in [
        "Name",
        "ARGUMENTS",
        "argumentſ",
        "taskID",
        "tas\u{212a}Id",
        "_Meta",
        "URI",
    ] {
        assert_eq!(
            refused(with_params(&format!(r#"{{"{key}":1}}"#))),
            MiscasedKey,
            "{key}"
        );
    }
    let meta = r#"{"_meta":{"io.modelcontextprotocol/ProtocolVersion":"2026-07-28"}}"#;
    assert_eq!(refused(with_params(meta)), MiscasedKey);
    for fine in [
        r#"{"arguments":{"Name":1,"name":2}}"#,
        r#"{"namé":1,"nam":2,"names":3}"#,
    ] {
        assert!(scan(with_params(fine).as_bytes()).is_ok(), "{fine}");
    }
}

#[test]
fn the_grammar_is_kept_to_the_letter() {
    for value in [
        "0",
        "-0",
        "1.0",
        "1e5",
        "1E+5",
        "-12.5e-10",
        "1e999999",
        "99999999999999999999999999",
        "true",
        "false",
        "null",
        "\"\"",
        "\" \u{7f}é\"",
        r#""\"\\\/\b\f\n\r\t\u00e9""#,
        r#""\ud83d\ude00""#,
        "[]",
        "[ ]",
        "{}",
        "{ }",
        "[1 , 2]",
        "\t\r\n 1",
    ] {
        assert!(scan(with_value(value).as_bytes()).is_ok(), "{value}");
    }
    for value in [
        "",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x1",
        "NaN",
        "Infinity",
        "nul",
        "True",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\":1,}",
        "{,}",
        "{\"a\"}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":}",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u123\"",
        "\"\n\"",
        "\"\0\"",
        "\"\u{1f}\"",
        "\"0123456789abc\u{1f}def0123456789\"",
        "[}",
        "1//",
        "\u{a0}1",
        "\"\\",
        "\"\\u",
        "\"\\ud83d\\u12\"",
    ] {
        let body = with_value(value);
        assert!(matches!(refused(&body), NotJson | LoneSurrogate), "{body}");
        assert!(scan(&body.as_bytes()[..body.len() - 2]).is_err());
    }
    for lone in [
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\ud83d\ud83d""#,
        r#""\ud83dx""#,
        r#""\ude00\ud83d""#,
        r#""\ude00\ude00""#,
    ] {
        assert_eq!(refused(with_value(lone)), LoneSurrogate);
        assert_eq!(
            refused(with_params(&format!("{{{lone}:1}}"))),
            LoneSurrogate
        );
    }
    let good = with_value("1");
    assert_eq!(refused(format!("\u{feff}{good}")), NotJson);
    assert_eq!(refused(format!("{good}{good}")), NotJson);
    assert_eq!(refused(format!("{good}\0")), NotJson);
    assert_eq!(refused(""), NotJson);
    for bad in [
        &b"\xff"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc3",
    ] {
        assert_eq!(refused([good.as_bytes(), bad].concat()), NotUtf8);
    }
}

#[test]
fn an_error_says_where_and_shows_nothing_of_the_body() {
    let error = scan(br#"{"jsonrpc":"2.0","hunter2":1,"hunter2":1}"#).unwrap_err();
    assert_eq!((error.kind(), error.at()), (DuplicateKey, 30));
    assert!(!error.to_string().contains("hunter2") && error.to_string().contains("byte 30"));
    assert!(!error.is_parse_error() && scan(b"{").unwrap_err().is_parse_error());
}

// Fails when a body that is no message is judged by other rules.
#[test]
fn any_json_is_judged_by_the_same_rules() {
    for good in ["7", " [] ", r#"{"Params":1,"params":{"a":[{}]}}"#] {
        assert_eq!(super::check_json(good.as_bytes()), Ok(good));
    }
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(super::check_json(deep(super::MAX_DEPTH).as_bytes()).is_ok());
    for (bad, kind) in [
        (deep(super::MAX_DEPTH + 1), ScanErrorKind::TooDeep),
        (
            r#"{"a":{"b":1,"\u0062":2}}"#.to_owned(),
            ScanErrorKind::DuplicateKey,
        ),
        (r#""\ud800""#.to_owned(), ScanErrorKind::LoneSurrogate),
        ("{}{}".to_owned(), ScanErrorKind::NotJson),
        (String::new(), ScanErrorKind::NotJson),
    ] {
        let judged = super::check_json(bad.as_bytes());
        assert_eq!(judged.map_err(|error| error.kind()), Err(kind), "{bad}");
    }
}
