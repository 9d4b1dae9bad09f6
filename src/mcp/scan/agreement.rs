//! That a real parser agrees, on documents made up and broken at random.

use std::fmt;
use std::ops::Range;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::ScanErrorKind::{MiscasedKey, NotAMessage, TooDeep};
use super::tests::{one, with_params, with_value};
use super::{Body, scan};

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

type Edit = (prop::sample::Index, u8, u8);

fn mutated(body: String, edits: &[Edit]) -> Vec<u8> {
    const BYTES: &[u8] = b"{}[]\",:\\u0aed19-+.E tnf\n\x00\x1f\x80\xc3\xef\xff/";
    let mut body = body.into_bytes();
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
        edits in prop::collection::vec(any::<Edit>(), 0..3),
    ) {
        let body = mutated(with_value(&document), &edits);
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
    fn a_real_parser_reads_the_same_call(
        arguments in document(),
        others in prop::collection::vec((any::<bool>(), document()), 0..3),
        edits in prop::collection::vec(any::<Edit>(), 0..3),
    ) {
        // Fields of other types, and some that are there twice.
        let others: String = others
            .iter()
            .map(|(name, value)| format!(r#","{}":{value}"#, if *name { "name" } else { "_meta" }))
            .collect();
        let params = format!(r#"{{"arguments":{arguments}{others}}}"#);
        let body = mutated(with_params(&params), &edits);
        let value = |text: &[u8]| serde_json::from_slice::<Value>(text);
        if let (Ok(Body::One(message)), Ok(whole)) = (scan(&body), value(&body)) {
            let at = |range: Option<Range<usize>>| range.map_or(Value::Null, |r| value(&body[r]).unwrap());
            let params = &whole["params"];
            prop_assert_eq!(message.method.as_deref(), whole["method"].as_str());
            prop_assert_eq!(message.name.as_deref(), params["name"].as_str());
            prop_assert_eq!(&at(message.id), &whole["id"]);
            prop_assert_eq!(&at(message.params), params);
            prop_assert_eq!(&at(message.arguments), &params["arguments"]);
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
