//! Which arguments of a tool its server wants mirrored in a header.
//!
//! A tool of MCP 2026-07-28 may mark an argument `x-mcp-header: "Name"`; its calls must then carry
//! `Mcp-Param-Name` with the same value (basic/transports/streamable-http "Custom Headers").

use std::borrow::Cow;
use std::ops::Range;

use http::HeaderName;
use serde_json::Value;

use super::edit::{member, unquoted};

/// Bytes a header's name may have.
const NAME: usize = 256;
/// Levels of objects in an object that are looked into.
const LEVELS: usize = 16;

/// An argument that is mirrored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Where it is: its name, or of one within objects the names from the outermost on.
    pub path: Vec<String>,
    /// The header.
    pub header: HeaderName,
}

/// The mirrored arguments of one tool, as a list of tools has it: properties, and properties of
/// properties. A name that cannot be a header's is passed over.
#[must_use]
pub fn mirrors(tool: &Value) -> Vec<Mirror> {
    let mut found = Vec::new();
    let mut left = vec![(Vec::new(), &tool["inputSchema"])];
    while let Some((path, schema)) = left.pop() {
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let path: Vec<String> = [path.as_slice(), std::slice::from_ref(name)].concat();
            let wanted = schema["x-mcp-header"].as_str();
            let wanted = wanted.filter(|name| name.len() <= NAME);
            let header = wanted.map(|name| HeaderName::try_from(format!("mcp-param-{name}")));
            if let Some(Ok(header)) = header {
                let path = path.clone();
                found.push(Mirror { path, header });
            }
            if path.len() < LEVELS {
                left.push((path, schema));
            }
        }
    }
    found
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
}
