//! Where a configuration is wrong, why, and what to write instead.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    source: Source,
    /// Line and column of a document, from 1; `None` for the document as a whole.
    position: Option<(usize, usize)>,
}

// Errors are sorted by place: documents before variables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Document(Arc<str>),
    Variable(Arc<str>),
}

impl Place {
    /// The document called `name`, as a whole.
    pub(super) fn document(name: &str) -> Self {
        Self {
            source: Source::Document(name.into()),
            position: None,
        }
    }

    /// The environment variable `name`.
    pub(super) fn variable(name: &str) -> Self {
        Self {
            source: Source::Variable(name.into()),
            position: None,
        }
    }

    /// The same document at a line and column, from 1.
    pub(super) fn at(&self, line: usize, column: usize) -> Self {
        Self {
            source: self.source.clone(),
            position: Some((line, column)),
        }
    }

    fn same_line(&self, other: &Self) -> bool {
        let line = |place: &Self| place.position.map(|(line, _)| line);
        self.source == other.source && line(self).is_some() && line(self) == line(other)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Document(name) | Source::Variable(name) => f.write_str(name)?,
        }
        match self.position {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// One thing wrong with a configuration: place, key, what is wrong and what to write instead.
///
/// Names keys, never values: a value may be a password.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    place: Place,
    path: String,
    message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Everything wrong with a configuration, in the order of the file and then of the variables' names.
///
/// `Display` prints one error after the other, each on its own line (a few continue on indented
/// lines), without a newline at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// The errors; at least one.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects errors while reading goes on.
#[derive(Default)]
pub(super) struct Errors {
    found: RefCell<Vec<ConfigError>>,
    syntax: RefCell<Vec<ConfigError>>,
}

impl Errors {
    /// Notes an error; an empty `path` is left out of its text.
    pub(super) fn push(&self, place: Place, path: &str, message: impl Into<String>) {
        let error = ConfigError {
            place,
            path: path.to_owned(),
            message: message.into(),
        };
        self.found.borrow_mut().push(error);
    }

    /// Notes that a line is not in the language at all; nothing else will be said of that line.
    pub(super) fn push_syntax(&self, place: Place, message: impl Into<String>) {
        let error = ConfigError {
            place,
            path: String::new(),
            message: message.into(),
        };
        self.syntax.borrow_mut().push(error);
    }

    /// `value` if nothing was wrong, else everything that was.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        let mut errors = self.found.into_inner();
        let syntax = self.syntax.into_inner();
        errors.retain(|error| {
            !syntax
                .iter()
                .any(|other| other.place.same_line(&error.place))
        });
        errors.extend(syntax);
        errors.sort();
        errors.dedup();
        match value {
            Some(value) if errors.is_empty() => Ok(value),
            _ => Err(ConfigErrors { errors }),
        }
    }
}
