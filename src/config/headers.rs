//! `[servers.NAME.headers]`: the header slots of one server.

use http::HeaderName;

use super::reader::{Section, text};
use crate::inject::{Template, header_name};

/// The header slots of one server, in the order written.
pub(super) fn read(section: &Section<'_>) -> Option<Vec<(HeaderName, Template)>> {
    let mut slots: Vec<(HeaderName, Template)> = Vec::new();
    let mut all_well = true;
    for key in section.keys() {
        let name = header_name(key).map_err(|error| error.to_string());
        let name = name.and_then(|name| {
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
