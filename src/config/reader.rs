//! Takes keys out of the tree with their expected type; whatever is wrong is noted and reading goes on.

use std::borrow::Cow;

use super::document::{Node, Table, Value};
use super::error::{Errors, Place};
use super::keys;

/// One table of the configuration.
pub(super) struct Section<'a> {
    table: &'a Table,
    path: String,
    place: Place,
    errors: &'a Errors,
}

impl<'a> Section<'a> {
    /// The root of the tree; a key not in `known` is an error.
    pub(super) fn root(table: &'a Table, place: Place, known: &[&str], errors: &'a Errors) -> Self {
        let section = Self {
            table,
            path: String::new(),
            place,
            errors,
        };
        section.refuse_unknown(known);
        section
    }

    /// The table under `key`; a key in it that is not in `known` is an error.
    pub(super) fn section(&self, key: &str, known: &[&str]) -> Option<Section<'a>> {
        let section = self.open(key)?;
        section.refuse_unknown(known);
        Some(section)
    }

    /// The table under `key`, whose keys are names chosen by the operator.
    pub(super) fn open(&self, key: &str) -> Option<Section<'a>> {
        let node = self.node(key)?;
        let path = self.path_of(key);
        match &node.value {
            Value::Table(table) => Some(Section {
                table,
                path,
                place: node.key.clone(),
                errors: self.errors,
            }),
            other => {
                let message = format!("is {}; write a table: `[{path}]`", other.kind());
                self.errors.push(node.at.clone(), &path, message);
                None
            }
        }
    }

    fn refuse_unknown(&self, known: &[&str]) {
        for (key, node) in self.table.iter().filter(|(key, _)| !known.contains(key)) {
            let message = format!("unknown key{}", keys::hint(key, known.iter().copied()));
            self.errors
                .push(node.key.clone(), &self.path_of(key), message);
        }
    }

    /// The keys of this table, in the order written.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.table.iter().map(|(key, _)| key)
    }

    /// The value of `key`; `None` when it is absent or wrong.
    pub(super) fn read<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.node(key)?;
        parse(&node.value)
            .map_err(|message| self.fail(key, message))
            .ok()
    }

    /// The value of `key`, whose absence is an error too.
    pub(super) fn required<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        if self.node(key).is_none() {
            self.fail(key, "is missing");
        }
        self.read(key, parse)
    }

    /// The values of a list; a variable separates them by commas. `None` when it is absent or any of
    /// them is wrong.
    pub(super) fn list<T>(
        &self,
        key: &str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let node = self.node(key)?;
        let items: Cow<'_, [Node]> = match &node.value {
            Value::List(items) => items.into(),
            Value::Raw(text) => split(text, &node.at).into(),
            other => {
                self.fail(key, format!("is {}; write a list: {example}", other.kind()));
                return None;
            }
        };
        let mut parsed = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match text(&item.value, &format!("a text in quotes, as in {example}")).and_then(&parse)
            {
                Ok(value) => parsed.push(value),
                Err(message) => {
                    let path = format!("{}[{index}]", self.path_of(key));
                    self.errors.push(item.at.clone(), &path, message);
                }
            }
        }
        (parsed.len() == items.len()).then_some(parsed)
    }

    /// Notes that the value of `key` is wrong.
    pub(super) fn fail(&self, key: &str, message: impl Into<String>) {
        let place = self.node(key).map_or(&self.place, |node| &node.at);
        self.errors.push(place.clone(), &self.path_of(key), message);
    }

    /// Notes that `key` itself is wrong, whatever its value.
    pub(super) fn fail_key(&self, key: &str, message: impl Into<String>) {
        let place = self.node(key).map_or(&self.place, |node| &node.key);
        self.errors.push(place.clone(), &self.path_of(key), message);
    }

    /// Notes that `key` is wrong because of the value of `cause`, where the error is shown.
    pub(super) fn fail_because_of(&self, cause: &str, key: &str, message: impl Into<String>) {
        let place = self.node(cause).map_or(&self.place, |node| &node.at);
        self.errors.push(place.clone(), &self.path_of(key), message);
    }

    /// Notes that this table as a whole is wrong.
    pub(super) fn fail_whole(&self, message: impl Into<String>) {
        self.errors.push(self.place.clone(), &self.path, message);
    }

    /// The full path of `key`, as it would be written in TOML.
    pub(super) fn path_of(&self, key: &str) -> String {
        let bare = !key.is_empty()
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let key: Cow<'_, str> = if bare {
            key.into()
        } else {
            let shown: String = key
                .chars()
                .take(64)
                .flat_map(char::escape_default)
                .collect();
            format!("\"{shown}\"").into()
        };
        if self.path.is_empty() {
            key.into_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Whether `key` is there, by whomever.
    pub(super) fn has(&self, key: &str) -> bool {
        self.node(key).is_some()
    }

    /// Whether `key` is there and is a table.
    pub(super) fn is_table(&self, key: &str) -> bool {
        self.node(key)
            .is_some_and(|node| matches!(node.value, Value::Table(_)))
    }

    fn node(&self, key: &str) -> Option<&'a Node> {
        self.table.get(key)
    }
}

fn split(text: &str, at: &Place) -> Vec<Node> {
    let pieces = text
        .split(',')
        .map(str::trim)
        .filter(|piece| !piece.is_empty());
    let node = |piece: &str| Node {
        key: at.clone(),
        at: at.clone(),
        value: Value::Raw(piece.to_owned()),
    };
    pieces.map(node).collect()
}

/// The outer `None` is an error, the inner one the absence of the key.
pub(super) fn optional<T>(
    section: &Section<'_>,
    key: &str,
    parse: impl FnOnce(&Value) -> Result<T, String>,
) -> Option<Option<T>> {
    if section.has(key) {
        section.read(key, parse).map(Some)
    } else {
        Some(None)
    }
}

/// The text of a value; otherwise an error that says to write `wanted`.
pub(super) fn text<'v>(value: &'v Value, wanted: &str) -> Result<&'v str, String> {
    match value {
        Value::Text(text) | Value::Raw(text) => Ok(text),
        other => Err(format!("is {}; write {wanted}", other.kind())),
    }
}
