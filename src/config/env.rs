//! Variables laid over the file.
//!
//! | variable | key |
//! |---|---|
//! | `CLOAKROOM_LOG` | `log` |
//! | `CLOAKROOM_STORE__URL` | `store.url`: two underscores are a dot |
//! | `CLOAKROOM_SERVERS__MY_API__URL` | `servers.my-api.url`: in a server's or header's name, one underscore is a hyphen |
//! | `CLOAKROOM_SERVERS__MY_API__HEADERS__X_API_KEY` | `servers.my-api.headers.x-api-key` |
//! | `CLOAKROOM_SERVERS__MY_API__QUERY__API_KEY` | `servers.my-api.query.api_key`: there one underscore stays |
//! | `CLOAKROOM_SERVERS__MY_API__ARGUMENTS__API_KEY` | `servers.my-api.arguments.api_key`, or its `value` |
//! | `CLOAKROOM_SERVERS__MY_API__ARGUMENTS` | `servers.my-api.arguments`, which may be `*` |
//! | `CLOAKROOM_SERVERS__MY_API__ENV__API_KEY` | `servers.my-api.env.API_KEY`; two underscores stay too |
//!
//! A variable has no case. The name of a header, parameter, argument or variable is the file's where the
//! file has one of the same letters, else in lower case, and in capitals if it is a variable's; no file has
//! two that differ only in case. Where an argument of the file names its tools, the variable changes its
//! `value` and leaves the tools.
//!
//! Lists are separated by commas; the empty text is the empty list. A variable of ours that is no key
//! is an error, and so is a keyring nobody asked for, but not those Kubernetes makes for a Service called `cloakroom`.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::document::{Node, Table, Value};
use super::error::{Errors, Place};
use super::keys;

pub(super) const PREFIX: &str = "CLOAKROOM_";

/// A whole configuration, instead of a file.
pub(super) const DOCUMENT: &str = "CLOAKROOM_CONFIG_TOML";

/// The keyring itself, where `keyring.env` says so.
pub(super) const KEYRING: &str = "CLOAKROOM_KEYRING";

/// Variables that are ours and no keys; the first is read by the command line, the second by `connect`, the
/// last with the keyring.
const OTHERS: [&str; 4] = ["CLOAKROOM_CONFIG", "CLOAKROOM_KEY", DOCUMENT, KEYRING];

/// Our variables and their values, by name.
pub(super) struct Variables {
    found: BTreeMap<String, String>,
}

impl Variables {
    /// Takes what is ours out of an environment; a value that is not UTF-8 is an error.
    pub(super) fn new(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        errors: &Errors,
    ) -> Self {
        let mut found = BTreeMap::new();
        for (name, value) in environment {
            let name = name.to_string_lossy().into_owned();
            if !name.starts_with(PREFIX) {
                continue;
            }
            match value.into_string() {
                Ok(value) => {
                    found.insert(name, value);
                }
                Err(_) => errors.push(Place::variable(&shown(&name)), "", "its value is not UTF-8"),
            }
        }
        Self { found }
    }

    /// The whole configuration, when it is given by a variable.
    pub(super) fn document(&self) -> Option<&str> {
        self.found.get(DOCUMENT).map(String::as_str)
    }

    /// A source of the keyring that a variable names takes the place of the file's, whichever that is.
    fn choose_keyring(&self, tree: &mut Table) {
        let set = |key: &str| self.found.contains_key(&of_keyring(key));
        if keys::KEYRING.iter().any(|key| set(key))
            && let Some(table) = tree.table_like("keyring", |a, b| a == b)
        {
            table.retain(|key| set(key) || !keys::KEYRING.contains(&key));
        }
    }

    /// Lays every variable over `tree`.
    pub(super) fn overlay(&self, tree: &mut Table, errors: &Errors) {
        for (name, value) in &self.found {
            if OTHERS.contains(&name.as_str()) || is_from_kubernetes(name, value) {
                continue;
            }
            let place = Place::variable(&shown(name));
            match path(name) {
                Some(path) => {
                    if let Err(Blocked) = set(tree, &path, value, &place) {
                        errors.push(place, &path.join("."), BLOCKED);
                    }
                }
                None => errors.push(place, "", format!("unknown variable{}", suggestion(name))),
            }
        }
        self.choose_keyring(tree);
        if self.found.contains_key(KEYRING) && !takes_keyring(tree) {
            errors.push(Place::variable(KEYRING), "", UNASKED);
        }
    }
}

/// Whether the keyring is to come from our variable.
fn takes_keyring(tree: &mut Table) -> bool {
    let same: fn(&str, &str) -> bool = |a, b| a == b;
    let named = tree.table_like("keyring", same).and_then(|t| t.get("env"));
    named.is_some_and(
        |node| matches!(&node.value, Value::Text(name) | Value::Raw(name) if name == KEYRING),
    )
}

const UNASKED: &str = "is set, and nothing says to read the keyring from it; write env = \
                       \"CLOAKROOM_KEYRING\" under [keyring], or set CLOAKROOM_KEYRING__ENV to that";

/// The variable of a key of `[keyring]`.
fn of_keyring(key: &str) -> String {
    format!("{PREFIX}KEYRING__{}", key.to_ascii_uppercase())
}

fn shown(name: &str) -> String {
    name.chars()
        .take(200)
        .flat_map(char::escape_default)
        .collect()
}

/// The path of the key a variable stands for.
fn path(name: &str) -> Option<Vec<String>> {
    let rest = name.strip_prefix(PREFIX)?;
    if rest.bytes().any(|b| b.is_ascii_lowercase()) {
        return None;
    }
    if let Some(path) = variable(rest) {
        return Some(path);
    }
    let words: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let hyphens = |word: &str| word.replace('_', "-");
    let owned = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    match words.as_slice() {
        [key] if keys::ROOT.contains(key) => owned(&[key]),
        [table, key] => {
            let (_, known) = keys::SECTIONS.iter().find(|(name, _)| name == table)?;
            known.contains(key).then(|| owned(&[table, key])).flatten()
        }
        ["servers", server, key] if keys::SERVER.contains(key) => {
            owned(&["servers", &hyphens(server), key])
        }
        ["servers", server, "headers", header] if !header.is_empty() => {
            owned(&["servers", &hyphens(server), "headers", &hyphens(header)])
        }
        ["servers", server, "arguments"] => owned(&["servers", &hyphens(server), "arguments"]),
        ["servers", server, kind @ ("query" | "arguments"), name] if !name.is_empty() => {
            owned(&["servers", &hyphens(server), kind, name])
        }
        _ => None,
    }
}

/// The path of a variable of a server's children, whose name is kept as it is: `SERVERS__X__ENV__NAME`.
fn variable(rest: &str) -> Option<Vec<String>> {
    let (server, name) = rest.strip_prefix("SERVERS__")?.split_once("__ENV__")?;
    if server.contains("__") || name.is_empty() {
        return None;
    }
    let server = server.to_ascii_lowercase().replace('_', "-");
    Some(vec!["servers".into(), server, "env".into(), name.into()])
}

/// A variable that would have no effect, and nobody else would say so.
struct Blocked;

const BLOCKED: &str = "`arguments` is a text, which sets all of them; remove one of the two";

fn set(tree: &mut Table, path: &[String], value: &str, place: &Place) -> Result<(), Blocked> {
    let Some((last, tables)) = path.split_last() else {
        return Ok(());
    };
    let mut table = tree;
    for key in tables {
        // Where the file has something else than a table, the reader says so; but `arguments` may
        // be a text.
        let Some(next) = table.table(key, place) else {
            return if key == "arguments" {
                Err(Blocked)
            } else {
                Ok(())
            };
        };
        table = next;
    }
    let in_slots = tables.len() == 3;
    let same: fn(&str, &str) -> bool = if in_slots {
        |a, b| a.eq_ignore_ascii_case(b)
    } else {
        |a, b| a == b
    };
    let node = Node {
        key: place.clone(),
        at: place.clone(),
        value: Value::Raw(value.to_owned()),
    };
    if in_slots && let Some(slot) = table.table_like(last, same) {
        // Replacing all of it would hand a secret meant for some tools to every tool.
        slot.set("value", node, |a, b| a == b);
    } else {
        table.set(last, node, same);
    }
    Ok(())
}

fn suggestion(name: &str) -> String {
    // Without the prefix, whose letters would make everything look near.
    let rest = name[PREFIX.len()..].to_ascii_uppercase();
    let words: Vec<&str> = rest.split("__").collect();
    let mut candidates: Vec<String> = OTHERS
        .iter()
        .map(|name| name[PREFIX.len()..].to_owned())
        .collect();
    candidates.extend(keys::ROOT.iter().map(|key| key.to_ascii_uppercase()));
    for (table, known) in keys::SECTIONS {
        candidates.extend(
            known
                .iter()
                .map(|key| format!("{table}__{key}").to_ascii_uppercase()),
        );
    }
    if let [_, server, _, ..] = words.as_slice() {
        let key_of = |key: &&str| format!("SERVERS__{server}__{}", key.to_ascii_uppercase());
        candidates.extend(keys::SERVER.iter().chain(keys::SLOTS).map(key_of));
    }
    match keys::nearest(&rest, candidates.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean `{PREFIX}{near}`?"),
        None => {
            "; write a key of config/default.toml in capitals, with two underscores for a dot, \
                 as in `CLOAKROOM_STORE__URL`"
                .to_owned()
        }
    }
}

/// Kubernetes gives every pod such variables for each Service of its namespace, so a Service called
/// `cloakroom` or `cloakroom-admin` must not stop the pods it serves.
fn is_from_kubernetes(name: &str, value: &str) -> bool {
    let port_of = |(_, rest): (&str, &str)| {
        let (number, protocol) = rest.split_once('_').unwrap_or((rest, ""));
        !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
            && ["TCP", "UDP", "SCTP"]
                .iter()
                .any(|known| protocol.starts_with(known))
    };
    !name.contains("__")
        && (name.ends_with("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || (name.ends_with("_PORT") && value.contains("://"))
            || name.rsplit_once("_PORT_").is_some_and(port_of))
}
