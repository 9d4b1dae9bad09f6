//! Which arguments of a tool its server wants mirrored in a header.
//!
//! A tool of MCP 2026-07-28 may mark an argument `x-mcp-header: "Name"`; its calls must then carry
//! `Mcp-Param-Name` with the same value (basic/transports/streamable-http "Custom Headers").

use std::borrow::Cow;
use std::ops::Range;

use http::HeaderName;
use serde_json::Value;

use super::edit::{member, unquoted};

/// Bytes the name of a header or of an argument may have.
const NAME: usize = 256;
/// Levels of objects in an object that are looked into.
const LEVELS: usize = 16;
/// Arguments of one tool that are looked at, and mirrored ones that count: a server may list what it likes,
/// and each mirrored one costs a look into every call.
const LOOKED_AT: usize = 4096;
const MIRRORED: usize = 64;

/// An argument that is mirrored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Where it is: its name, or of one within objects the names from the outermost on.
    pub path: Vec<String>,
    /// The header.
    pub header: HeaderName,
}

/// The mirrored arguments of one tool, as a list of tools has it: properties, and properties of
/// properties. A name that cannot be a header's is passed over, and so is what comes after the first 4096
/// properties, or 64 mirrored ones.
#[must_use]
pub fn mirrors(tool: &Value) -> Vec<Mirror> {
    let mut found = Vec::new();
    // What was seen, each with where it is within, so that a path is written for what is mirrored alone.
    let mut seen: Vec<Seen<'_>> = Vec::new();
    let mut left = vec![(None, &tool["inputSchema"])];
    while let Some((within, schema)) = left.pop() {
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            if seen.len() == LOOKED_AT || found.len() == MIRRORED {
                return found;
            }
            let level = within.map_or(1, |at: usize| seen[at].level + 1);
            let at = seen.len();
            seen.push(Seen {
                name,
                within,
                level,
            });
            if name.len() > NAME {
                continue;
            }
            let wanted = schema["x-mcp-header"].as_str();
            let wanted = wanted.filter(|name| name.len() <= NAME);
            let header = wanted.map(|name| HeaderName::try_from(format!("mcp-param-{name}")));
            if let Some(Ok(header)) = header {
                let path = path(&seen, at);
                found.push(Mirror { path, header });
            }
            if level < LEVELS {
                left.push((Some(at), schema));
            }
        }
    }
    found
}

/// A property of a schema.
struct Seen<'a> {
    name: &'a str,
    /// The property it is one of.
    within: Option<usize>,
    level: usize,
}

fn path(seen: &[Seen<'_>], at: usize) -> Vec<String> {
    let outwards = std::iter::successors(Some(&seen[at]), |one| Some(&seen[one.within?]));
    let mut path: Vec<_> = outwards.map(|one| one.name.to_owned()).collect();
    path.reverse();
    path
}

/// The argument at `path` of the `arguments` in `text` as a header says it: a text as it is, a number or
/// boolean as JSON writes it; `None` for what is not mirrored.
#[must_use]
pub fn shown(text: &str, arguments: Range<usize>, path: &[String]) -> Option<String> {
    let mut at = arguments;
    for name in path {
        at = member(text, &at, name)?;
    }
    let written = &text[at];
    match written.as_bytes().first()? {
        b'"' => unquoted(written).map(Cow::into_owned),
        b'{' | b'[' => None,
        _ if written == "null" => None,
        _ => Some(written.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marked_arguments_are_found_within_objects_too() {
        let tool = json!({"name": "call", "inputSchema": {"properties": {
            "token": {"type": "string", "x-mcp-header": "Token"},
            "bad": {"x-mcp-header": "no header"},
            "city": {"type": "string"},
            "where": {"type": "object", "properties": {
                "region": {"x-mcp-header": "Region"},
            }},
        }}});
        let found = mirrors(&tool);
        let found: Vec<_> = found
            .iter()
            .map(|mirror| (mirror.path.join("/"), mirror.header.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("token".to_owned(), "mcp-param-token"),
                ("where/region".to_owned(), "mcp-param-region"),
            ]
        );
        for none in [json!({}), json!({"inputSchema": 7}), json!(null)] {
            assert!(mirrors(&none).is_empty());
        }
    }

    // Fails when a path is copied for every property below it, or nothing bounds what is looked at: a list
    // of some hundred kilobytes would take gigabytes.
    #[test]
    fn a_server_that_lists_too_much_is_not_looked_at_whole() {
        let marked = |name: &str| json!({"x-mcp-header": name});
        let many = |n: usize| -> serde_json::Map<_, _> {
            let names = (0..n).map(|n| format!("h{n}"));
            names.map(|name| (name.clone(), marked(&name))).collect()
        };
        let tool = json!({"inputSchema": {"properties": many(5000)}});
        assert_eq!(mirrors(&tool).len(), MIRRORED);
        let long = "n".repeat(1 << 16);
        let mut deep = json!({"properties": many(2)});
        for _ in 0..LEVELS {
            deep = json!({"properties": {long.clone(): deep}});
        }
        assert!(mirrors(&json!({"inputSchema": deep})).is_empty());
        let plain: serde_json::Map<_, _> = (0..LOOKED_AT)
            .map(|n| (format!("p{n}"), json!({})))
            .collect();
        let mut last = plain;
        last.insert("z".into(), marked("last"));
        assert!(mirrors(&json!({"inputSchema": {"properties": last}})).is_empty());
    }
}
