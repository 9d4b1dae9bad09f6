//! Names of another system, and which user they become here.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Parsed, Refusal, shown};
use super::servers::Servers;
use crate::names::{Email, Pattern, UserName};

/// How names of users are read.
#[derive(Default)]
pub struct Names {
    /// Names there, and those here.
    pub rename: BTreeMap<String, UserName>,
    /// Whether capital letters of ASCII become small ones.
    pub lowercase: bool,
}

impl Names {
    /// The name here.
    ///
    /// # Errors
    /// When it is none: says what to do.
    pub fn user(&self, raw: &str) -> Result<UserName, Refusal> {
        if let Some(name) = self.rename.get(raw) {
            return Ok(name.clone());
        }
        let error = match UserName::parse(raw) {
            Ok(name) => return Ok(name),
            Err(error) => error,
        };
        let lower = UserName::parse(&raw.to_ascii_lowercase());
        match lower {
            Ok(name) if self.lowercase => Ok(name),
            Ok(_) => Err(Refusal::new(format!(
                "{error}; add --lowercase, or --rename OLD=NEW"
            ))),
            Err(_) if raw.is_empty() => Err(Refusal::new("there is no user name")),
            Err(_) => Err(Refusal::new(format!("{error}; add --rename OLD=NEW"))),
        }
    }
}

/// An e-mail, if there is one.
pub(super) fn email(text: &str) -> Result<Option<String>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    if Email::parse(text).is_err() {
        return Err(Refusal::new(
            "the e-mail is none: write an address such as alice@example.com, or nothing",
        ));
    }
    Ok(Some(text.to_owned()))
}

/// A text for people, if there is one.
pub(super) fn words(what: &str, text: &str) -> Result<Option<String>, Refusal> {
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if text.chars().any(odd) {
        return Err(Refusal::new(format!(
            "{what} holds control characters: remove them"
        )));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// What the owner of a key calls it, if anything.
pub(super) fn key_name(text: &str) -> Result<Option<String>, Refusal> {
    if text.len() > 128 || text.chars().any(char::is_control) {
        return Err(Refusal::new(
            "the name of a key may have 128 bytes and no control characters",
        ));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// Names of servers as patterns; one that stands for no server here is noted.
pub(super) fn patterns(
    what: &str,
    names: &[String],
    servers: &Servers,
    parsed: &mut Parsed,
) -> Result<Vec<Pattern>, Refusal> {
    let unique: BTreeSet<_> = names.iter().collect();
    let mut patterns = Vec::with_capacity(unique.len());
    for name in unique {
        let pattern = Pattern::parse(name).map_err(|error| {
            Refusal::new(format!("{what} names `{}`, which is {error}", shown(name)))
        })?;
        if !servers
            .names()
            .any(|server| pattern.matches(server.as_str()))
        {
            parsed.note(format!(
                "no server of the configuration is called `{name}`, which lists of servers name: it is kept \
                 as it is"
            ));
        }
        patterns.push(pattern);
    }
    Ok(patterns)
}
