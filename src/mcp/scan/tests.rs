//! What is accepted, what is refused and why, and that a real parser agrees.

use std::fmt;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::ScanErrorKind::{
    DuplicateKey, LoneSurrogate, MiscasedKey, NotAMessage, NotJson, NotUtf8, TooDeep, TooMany,
};
use super::*;

fn one(body: &str) -> Message<'_> {
    match scan(body.as_bytes()) {
        Ok(Body::One(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn refused(body: impl AsRef<[u8]>) -> ScanErrorKind {
    let body = body.as_ref();
    let error = scan(body).expect_err(&String::from_utf8_lossy(body));
    assert!(error.at() <= body.len());
    error.kind()
}

fn with_params(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#)
}

/// A message with `value` somewhere inside its params.
fn with_value(value: &str) -> String {
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

/// Whether a document has a key twice, found by another parser.
struct HasDuplicate(bool);

impl<'de> Deserialize<'de> for HasDuplicate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

macro_rules! scalars {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E>(self, _: $type) -> Result<HasDuplicate, E> { Ok(HasDuplicate(false)) })*
    };
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = HasDuplicate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<HasDuplicate, E> {
        Ok(HasDuplicate(false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<HasDuplicate, A::Error> {
        let mut found = false;
        while let Some(HasDuplicate(inner)) = seq.next_element()? {
            found |= inner;
        }
        Ok(HasDuplicate(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HasDuplicate, A::Error> {
        let mut seen = std::collections::HashSet::new();
        let mut found = false;
        while let Some((key, HasDuplicate(inner))) = map.next_entry::<String, _>()? {
            found |= inner | !seen.insert(key);
        }
        Ok(HasDuplicate(found))
    }
}

fn document() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "0",
            "-1.5e3",
            "true",
            "null",
            "\"\"",
            r#""\ud83d\ude00é""#,
            r#""a\u0041\n""#,
            "1e2",
        ])
        .prop_map(str::to_owned),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    let key = prop::sample::select(vec![
        "a", "b", "c", "\\u0061", "d", "e", "name", "params", "é", "\\u00e9", "a\\/", "",
    ]);
    leaf.prop_recursive(6, 80, 24, move |inner| {
        let member = (key.clone(), any::<u8>(), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(" ,"))),
            prop::collection::vec(member, 0..24).prop_map(|members| {
                let members: Vec<String> = members
                    .iter()
                    // A number behind most keys keeps duplicates from being the rule.
                    .map(|(key, n, value)| match n {
                        0..8 => format!("\"{key}\": {value}"),
                        _ => format!("\"{key}{n}\":{value}"),
                    })
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn mutated(document: &str, edits: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    const BYTES: &[u8] = b"{}[]\",:\\u0aed19-+.E tnf\n\x00\x1f\x80\xc3\xef\xff/";
    let mut body = with_value(document).into_bytes();
    for (index, how, what) in edits {
        let at = index.index(body.len());
        let byte = BYTES[*what as usize % BYTES.len()];
        match how % 3 {
            0 => body[at] = byte,
            1 => body.insert(at, byte),
            _ => {
                body.remove(at);
            }
        }
    }
    body
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_real_parser_agrees_but_for_what_we_refuse_on_top(
        document in document(),
        edits in prop::collection::vec(any::<(prop::sample::Index, u8, u8)>(), 0..3),
    ) {
        let body = mutated(&document, &edits);
        let ours = scan(&body).map_err(|error| error.kind());
        match serde_json::from_slice::<HasDuplicate>(&body) {
            // Numbers are not converted here, so none is too large.
            Err(error) if error.to_string().contains("number out of range") => {}
            Err(_) => prop_assert!(ours.is_err()),
            Ok(HasDuplicate(true)) => prop_assert!(ours.is_err()),
            Ok(HasDuplicate(false)) => prop_assert!(
                matches!(ours, Ok(_) | Err(NotAMessage | MiscasedKey | TooDeep)), "{:?}", ours
            ),
        }
    }

    #[test]
    fn a_text_is_decoded_as_a_real_parser_decodes_it(text in any::<String>(), ascii in any::<bool>()) {
        let mut literal = serde_json::to_string(&text).unwrap();
        if ascii {
            literal = literal.chars().map(|c| if c.is_ascii() { c.to_string() } else {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04X}")).collect()
            }).collect();
        }
        let body = with_params(&format!(r#"{{"name":{literal}}}"#));
        let message = one(&body);
        prop_assert_eq!(message.name.as_deref(), Some(&text[..]));
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = scan(&body);
    }

    #[test]
    fn no_cut_of_a_message_is_a_message(document in document(), cut in any::<prop::sample::Index>()) {
        let body = with_value(&document);
        prop_assert!(scan(&body.as_bytes()[..cut.index(body.len())]).is_err());
    }
}
