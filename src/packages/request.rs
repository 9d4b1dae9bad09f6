//! From a command line to what it asks for: which package, which of its programs, with what arguments.

use std::path::{Path, PathBuf};

use super::grammar::{NpmSpec, PythonSpec};
use super::{npx, uvx};

/// A command line that nobody can be sure to have understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}; or name the program itself in `command`")]
pub struct RequestError {
    why: String,
}

impl RequestError {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

/// What is to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Package {
    /// From the npm registry.
    Npm(NpmSpec),
    /// From PyPI, or the index that is configured in its place.
    Python {
        package: PythonSpec,
        /// Further packages beside it.
        with: Vec<PythonSpec>,
        /// `3`, `3.12` or `3.12.4`.
        version: Option<String>,
    },
}

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) package: Package,
    /// Whether code of packages may run while they are installed.
    pub(super) trusted: bool,
    /// Which of the package's programs; unless said, the one that is called like it.
    pub(super) program: Option<String>,
    pub(super) arguments: Vec<String>,
    /// The folder `npx` or `uvx` was named in, which is looked into before `PATH`.
    pub(super) tools: Option<PathBuf>,
}

impl Request {
    /// The package's name as its registry writes it.
    pub(super) fn name(&self) -> &str {
        match &self.package {
            Package::Npm(spec) => &spec.name,
            Package::Python { package, .. } => &package.name,
        }
    }

    /// Name and version as they were asked for.
    pub(super) fn spec(&self) -> String {
        match &self.package {
            Package::Npm(spec) => spec.to_string(),
            Package::Python { package, .. } => package.to_string(),
        }
    }

    /// What of it, beside name and version, changes what gets installed.
    pub(super) fn variant(&self) -> Vec<String> {
        let mut variant = Vec::new();
        if let Package::Python {
            package,
            with,
            version,
        } = &self.package
        {
            variant.extend(package.extras.iter().map(|extra| format!("extra {extra}")));
            variant.extend(with.iter().map(|with| format!("with {with}")));
            variant.extend(version.iter().map(|version| format!("python {version}")));
        }
        if self.trusted {
            variant.push("trusted".to_owned());
        }
        variant
    }
}

/// What `command` asks for, if it is one of `npx`, `npm exec`, `uvx` and `uv tool run`.
///
/// # Errors
/// When it is one of them and says something that is not understood here.
pub(super) fn parse(command: &[String]) -> Result<Option<Request>, RequestError> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let Some((first, rest)) = words.split_first() else {
        return Ok(None);
    };
    let path = Path::new(first);
    let request = match (path.file_name().and_then(|name| name.to_str()), rest) {
        (Some("npx"), rest) => npx::parse(npx::Style::Npx, rest)?,
        (Some("npm"), ["exec" | "x", rest @ ..]) => npx::parse(npx::Style::NpmExec, rest)?,
        (Some("uvx"), rest) | (Some("uv"), ["tool", "run", rest @ ..]) => uvx::parse(rest)?,
        _ => return Ok(None),
    };
    let tools = path
        .parent()
        .filter(|folder| folder.is_absolute())
        .map(Path::to_owned);
    Ok(Some(Request { tools, ..request }))
}

/// The value of an option: what follows `=`, else the next word.
pub(super) fn value<'a>(
    option: &str,
    joined: Option<&'a str>,
    rest: &mut &[&'a str],
) -> Result<&'a str, RequestError> {
    if let Some(joined) = joined {
        return Ok(joined);
    }
    let Some((next, after)) = rest.split_first() else {
        return Err(RequestError::new(format!("{option} wants a value")));
    };
    *rest = after;
    Ok(next)
}

/// An option and what is joined to it: `--package=x`.
pub(super) fn option(word: &str) -> Option<(&str, Option<&str>)> {
    if !word.starts_with('-') || word == "-" {
        return None;
    }
    Some(match word.split_once('=') {
        Some((option, value)) if word.starts_with("--") => (option, Some(value)),
        _ => (word, None),
    })
}

pub(super) fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
