//! TOML text -> a tree in which every key and value knows where it was written.

use toml::de::{DeTable, DeValue};

use super::error::{Errors, Place};

/// A key's value and where both stand.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) key: Place,
    pub(super) at: Place,
    pub(super) value: Value,
}

// No Debug: a value may be a password.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    /// The text of an environment variable: a text, an integer or a list, as the key wants it.
    Raw(String),
    Integer(i64),
    Bool(bool),
    List(Vec<Node>),
    Table(Table),
    /// What no key wants, by the name to call it in an error.
    Other(&'static str),
}

/// Keys and values in the order written.
#[derive(Clone, Default)]
pub(super) struct Table {
    entries: Vec<(String, Node)>,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.entries
            .iter()
            .map(|(name, node)| (name.as_str(), node))
    }

    /// Sets `key`, replacing the value of a key that `same` says is this one.
    pub(super) fn set(&mut self, key: &str, node: Node, same: fn(&str, &str) -> bool) {
        match self.entries.iter_mut().find(|(name, _)| same(name, key)) {
            Some((_, old)) => *old = node,
            None => self.entries.push((key.to_owned(), node)),
        }
    }

    /// The table under a key that `same` says is `key`, if there is one.
    pub(super) fn table_like(
        &mut self,
        key: &str,
        same: fn(&str, &str) -> bool,
    ) -> Option<&mut Self> {
        let mut found = self.entries.iter_mut().filter(|(name, _)| same(name, key));
        match &mut found.next()?.1.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The table under `key`, made if there is none; `None` when something else stands there.
    pub(super) fn table(&mut self, key: &str, place: &Place) -> Option<&mut Self> {
        let index = match self.entries.iter().position(|(name, _)| name == key) {
            Some(index) => index,
            None => {
                let value = Value::Table(Self::default());
                let node = Node {
                    key: place.clone(),
                    at: place.clone(),
                    value,
                };
                self.entries.push((key.to_owned(), node));
                self.entries.len() - 1
            }
        };
        match &mut self.entries[index].1.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Keeps only the entries whose key `keep` says.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.entries.retain(|(key, _)| keep(key));
    }

    /// Lays `over` on top: tables are merged, everything else is replaced.
    pub(super) fn merge(&mut self, over: Self) {
        for (key, mut node) in over.entries {
            let below = self.entries.iter_mut().find(|(name, _)| *name == key);
            match (below, &mut node.value) {
                (Some((_, below)), Value::Table(table))
                    if matches!(below.value, Value::Table(_)) =>
                {
                    let table = std::mem::take(table);
                    let Value::Table(merged) = &mut below.value else {
                        continue;
                    };
                    merged.merge(table);
                    (below.key, below.at) = (node.key, node.at);
                }
                (Some((_, below)), _) => *below = node,
                (None, _) => self.entries.push((key, node)),
            }
        }
    }
}

impl Value {
    /// What the value is, for "is …; write …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Raw(_) => "a text",
            Self::Integer(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// Parses a whole document called by the place `document`.
///
/// Every mistake in its syntax is an error. The tree is returned when each of them spoils only the
/// value on its own line, so that the rest can be judged too.
pub(super) fn parse(text: &str, document: &Place, errors: &Errors) -> Option<Table> {
    let positions = Positions { text, document };
    let (root, mistakes) = DeTable::parse_recoverable(text);
    let start = |mistake: &toml::de::Error| mistake.span().map_or(text.len(), |span| span.start);
    let is_local = |mistake: &toml::de::Error| {
        LOCAL
            .iter()
            .any(|known| mistake.message().starts_with(known))
    };
    let lost = mistakes
        .iter()
        .filter(|mistake| !is_local(mistake))
        .map(start)
        .min();
    for mistake in &mistakes {
        // After the first mistake that moved the lines below it, the parser finds only its echoes.
        if start(mistake) <= lost.unwrap_or(text.len()) {
            let message = format!("not TOML: {}", explain(mistake));
            errors.push_syntax(positions.place(start(mistake)), message);
        }
    }
    lost.is_none().then(|| table(root.get_ref(), &positions))
}

/// How the parser's messages begin for mistakes after which it goes on with the next line, as is
/// tested. A message it words otherwise in a later version merely means fewer errors at once.
const LOCAL: [&str; 8] = [
    "duplicate key",
    "invalid basic string",
    "invalid boolean",
    "invalid float",
    "invalid integer",
    "invalid literal string",
    "missing escaped value",
    "string values must be quoted",
];

/// The parser's message, or a plainer one where it guesses wrongly what was meant.
fn explain(mistake: &toml::de::Error) -> &str {
    let message = mistake.message();
    let quotes = [
        "string values must be quoted",
        "invalid boolean",
        "invalid float",
    ];
    if !quotes.iter().any(|known| message.starts_with(known)) {
        return message;
    }
    if message.starts_with("string") && mistake.span().is_some_and(|span| span.is_empty()) {
        return "a value is missing; write it after `=`";
    }
    "a text must be in quotes; write key = \"value\""
}

fn table(raw: &DeTable<'_>, positions: &Positions<'_>) -> Table {
    let entry = |key: &toml::Spanned<_>, value| {
        let name: &str = AsRef::<str>::as_ref(key.get_ref());
        (
            name.to_owned(),
            node(positions.place(key.span().start), value, positions),
        )
    };
    Table {
        entries: raw.iter().map(|(key, value)| entry(key, value)).collect(),
    }
}

fn node(key: Place, raw: &toml::Spanned<DeValue<'_>>, positions: &Positions<'_>) -> Node {
    let at = positions.place(raw.span().start);
    let value = match raw.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or(Value::Other("a number too large"), Value::Integer),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Boolean(so) => Value::Bool(*so),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(items) => {
            let item =
                |raw: &toml::Spanned<_>| node(positions.place(raw.span().start), raw, positions);
            Value::List(items.iter().map(item).collect())
        }
        DeValue::Table(raw) => Value::Table(table(raw, positions)),
    };
    Node { key, at, value }
}

struct Positions<'a> {
    text: &'a str,
    document: &'a Place,
}

impl Positions<'_> {
    /// The line and column, counted in characters, of a byte offset.
    fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        self.document
            .at(line, before[line_start..].chars().count() + 1)
    }
}
