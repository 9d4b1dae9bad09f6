//! `[servers.NAME.headers]`: which headers a slot may set, and their templates.

use http::HeaderName;

use super::reader::{Section, text};
use crate::inject::Template;

/// The header slots of one server, in the order written.
pub(super) fn read(section: &Section<'_>) -> Option<Vec<(HeaderName, Template)>> {
    let mut slots: Vec<(HeaderName, Template)> = Vec::new();
    let mut all_well = true;
    for key in section.keys() {
        let name = name(key).and_then(|name| {
            let twice = slots.iter().any(|(other, _)| *other == name);
            if twice {
                Err("is the same header as one above; remove one".into())
            } else {
                Ok(name)
            }
        });
        let name = name.map_err(|message| section.fail_key(key, message)).ok();
        let template = section.read(key, |value| {
            let written = text(value, "a template such as \"Bearer ${TOKEN}\"")?;
            Template::parse_header(written).map_err(|error| error.to_string())
        });
        match (name, template) {
            (Some(name), Some(template)) => slots.push((name, template)),
            _ => all_well = false,
        }
    }
    all_well.then_some(slots)
}

fn name(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text
        .parse()
        .map_err(|_| "not a header's name; write letters, digits and `-`, such as X-Api-Key")?;
    match reserved(name.as_str()) {
        Some(reason) => Err(format!("cannot be set by a slot: {reason}")),
        None => Ok(name),
    }
}

/// Why a slot may not set the header `name`, given in lower case.
fn reserved(name: &str) -> Option<&'static str> {
    const HOP: &str = "it belongs to one connection, which Cloakroom manages itself";
    const CLIENT: &str = "the client's own value is passed on";
    match name {
        "host" => Some("it is taken from the server's `url`"),
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer"
        | "transfer-encoding" | "upgrade" | "expect" | "http2-settings" => Some(HOP),
        "proxy-authenticate" | "proxy-authorization" => Some(HOP),
        "accept-encoding" | "range" => Some("answers are passed on as they are, and whole"),
        "accept" | "last-event-id" | "traceparent" | "tracestate" | "user-agent" => Some(CLIENT),
        _ if name.starts_with("mcp-") => Some("it is part of the MCP protocol"),
        _ if name.starts_with("content-") => Some("it describes the body, which the client sends"),
        _ => None,
    }
}
