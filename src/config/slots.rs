//! `headers`, `query`, `arguments` and `env` of `[servers.NAME]`: the slots of one server.
//!
//! No two names of a table differ only in the case of their letters: a client could write one where
//! the other is meant, and a variable, which has no case, could not say which.

use std::collections::BTreeSet;

use http::{HeaderName, Uri};

use super::document::Value;
use super::reader::{Section, text};
use crate::inject::{
    ArgumentSlot, Arguments, Place, Slots, Template, argument_name, header_name, query_name,
    query_names, variable_name,
};

/// What the whole of `arguments` may be instead of a table.
const ALL: &str = "*";

/// The slots of the server in `section`, each kind in the order written; `url` is where it is.
pub(super) fn read(section: &Section<'_>, url: Option<&Uri>) -> Option<Slots> {
    let headers = table(section, "headers", headers);
    let own_query = url.and_then(Uri::query).unwrap_or_default();
    let query = table(section, "query", |section| query(section, own_query));
    let arguments = if section.is_table("arguments") || !section.has("arguments") {
        table(section, "arguments", arguments).map(Arguments::Named)
    } else {
        section.read("arguments", all)
    };
    let environment = table(section, "env", variables);
    Some(Slots::new(headers?, query?, arguments?).with_environment(environment?))
}

/// Reads the table under `key`; one that is not there is empty.
fn table<'a, T>(
    section: &Section<'a>,
    key: &str,
    read: impl FnOnce(&Section<'a>) -> Option<Vec<T>>,
) -> Option<Vec<T>> {
    if section.has(key) {
        section.open(key).and_then(|section| read(&section))
    } else {
        Some(Vec::new())
    }
}

/// Reads every key of a table, so that all errors are found; `None` when there was any.
fn each<T>(section: &Section<'_>, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let slots: Vec<_> = section.keys().map(read).collect();
    slots.into_iter().collect()
}

fn headers(section: &Section<'_>) -> Option<Vec<(HeaderName, Template)>> {
    each(section, |key| {
        let name = header_name(key).map_err(|error| error.to_string());
        let name = name.and_then(|name| {
            if is_repeated(section, key) {
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
        name.zip(template)
    })
}

fn query(section: &Section<'_>, own: &str) -> Option<Vec<(String, Template)>> {
    each(section, |key| {
        let name = query_name(key).map_err(|error| error.to_string());
        let name = name.and_then(|name| {
            if query_names(own, &name) {
                Err("stands in the server's URL already; remove it there or here".into())
            } else {
                Ok(name)
            }
        });
        let name = named(section, key, name);
        let template = section.read(key, template);
        name.zip(template)
    })
}

fn variables(section: &Section<'_>) -> Option<Vec<(String, Template)>> {
    each(section, |key| {
        let template = section.read(key, |value| {
            if matches!(value, Value::Text(text) | Value::Raw(text) if text.contains('\0')) {
                return Err("no variable can hold a NUL".to_owned());
            }
            template(value)
        })?;
        let name = variable_name(key, &template).map_err(|error| error.to_string());
        let name = named(section, key, name)?;
        Some((name, template))
    })
}

fn arguments(section: &Section<'_>) -> Option<Vec<ArgumentSlot>> {
    each(section, |key| {
        let name = argument_name(key).map_err(|error| error.to_string());
        let name = named(section, key, name);
        let (template, tools) = if section.is_table(key) {
            let slot = section.section(key, &["value", "tools"])?;
            let template = slot.required("value", template);
            let tools = if slot.has("tools") {
                tools(&slot).map(Some)
            } else {
                Some(None)
            };
            (template, tools)
        } else {
            (section.read(key, template), Some(None))
        };
        let (name, template, tools) = (name?, template?, tools?);
        ArgumentSlot::new(&name, template, tools)
            .map_err(|error| section.fail_key(key, error.to_string()))
            .ok()
    })
}

/// The tools of one argument: at least one, none twice.
fn tools(slot: &Section<'_>) -> Option<BTreeSet<String>> {
    let listed = slot.list("tools", "[\"create_issue\"]", |tool| {
        if tool.is_empty() || tool.chars().any(char::is_control) {
            Err("not a tool's name; write it as the server's tools/list has it".into())
        } else {
            Ok(tool.to_owned())
        }
    })?;
    let tools: BTreeSet<_> = listed.iter().cloned().collect();
    if tools.is_empty() {
        slot.fail(
            "tools",
            "is empty, so no tool would get the argument; name one, or leave `tools` out for all",
        );
        return None;
    }
    if tools.len() < listed.len() {
        slot.fail("tools", "names a tool twice; remove one");
        return None;
    }
    Some(tools)
}

fn all(value: &Value) -> Result<Arguments, String> {
    const WANTED: &str = "a table of arguments, as in api_token = \"${JIRA_TOKEN}\", or \"*\" for \
                          every secret under its own name";
    match text(value, WANTED)? {
        ALL => Ok(Arguments::All),
        _ => Err(format!("is a text; write {WANTED}")),
    }
}

fn template(value: &Value) -> Result<Template, String> {
    let written = text(value, "a template such as \"${TOKEN}\"")?;
    Template::parse(written).map_err(|error| error.to_string())
}

/// `name` if it was one and no key above is the same but for case; else notes what is wrong.
fn named(section: &Section<'_>, key: &str, name: Result<String, String>) -> Option<String> {
    let name = name.and_then(|name| {
        if is_repeated(section, key) {
            Err("is one above but for the case of its letters; remove one".into())
        } else {
            Ok(name)
        }
    });
    name.map_err(|message| section.fail_key(key, message)).ok()
}

fn is_repeated(section: &Section<'_>, key: &str) -> bool {
    section
        .keys()
        .take_while(|other| *other != key)
        .any(|other| other.eq_ignore_ascii_case(key))
}

/// What an operator should know of the argument slots of the server in `section`.
pub(super) fn warn(section: &Section<'_>, slots: &Slots, warnings: &mut Vec<String>) {
    if slots.merges_all() {
        warnings.push(format!(
            "{}: every tool, also one that a prompt injection chose, gets every secret the user has \
             for this server; name them one by one: NAME = {{ value = \"${{SECRET}}\", tools = [\"…\"] }}",
            section.path_of("arguments")
        ));
    }
    let Some(table) = section
        .is_table("arguments")
        .then(|| section.open("arguments"))
        .flatten()
    else {
        return;
    };
    for slot in slots.iter() {
        if let Place::Argument(name) = &slot.place
            && slot.tools.is_none()
            && !slot.template.is_constant()
        {
            warnings.push(format!(
                "{}: every tool gets it; name the tools that need it: {{ value = \"…\", tools = [\"…\"] }}",
                table.path_of(name)
            ));
        }
    }
}
