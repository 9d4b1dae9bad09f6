//! What is to be put into one request.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::argument::{ArgumentSlot, Arguments};
use super::environment::Environment;
use super::query;
use super::slots::{Place, Request, Slots};
use crate::names::SecretName;
use crate::vault::SecretSet;

/// What is to be put into one request. No `Debug`: it holds secrets.
pub struct Plan<'s> {
    headers: Vec<(HeaderName, HeaderValue)>,
    query: Zeroizing<String>,
    environment: Environment,
    arguments: Vec<Planned<'s>>,
}

/// An argument to be set.
pub struct Planned<'s> {
    name: std::borrow::Cow<'s, str>,
    slot: Option<&'s ArgumentSlot>,
    value: Zeroizing<String>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unplannable {
    /// The user has not set these.
    Missing(Vec<SecretName>),
    /// The result cannot stand in this place: a value was stored before the slot was declared.
    Unfit(Place),
}

impl Planned<'_> {
    /// The argument's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value, in plain text.
    #[must_use]
    pub fn expose_value(&self) -> &str {
        &self.value
    }

    /// Whether it is for this tool.
    #[must_use]
    pub fn serves(&self, tool: &str) -> bool {
        self.slot.is_none_or(|slot| slot.serves(tool))
    }
}

impl Slots {
    /// Fills the slots `request` needs from a user's secrets.
    ///
    /// # Errors
    /// Every secret that is missing at once, or the first place its value does not fit.
    pub fn plan(
        &self,
        secrets: &SecretSet,
        request: &Request<'_>,
    ) -> Result<Plan<'_>, Unplannable> {
        let mut missing = BTreeSet::new();
        let headers = headers(self, secrets, request.optional, &mut missing)?;
        let query = parameters(self, secrets, request.optional, &mut missing)?;
        let environment = variables(self, secrets, request.optional, &mut missing)?;
        let arguments = arguments(self, secrets, request.tools, &mut missing)?;
        if missing.is_empty() {
            Ok(Plan {
                headers,
                query,
                environment,
                arguments,
            })
        } else {
            Err(Unplannable::Missing(missing.into_iter().collect()))
        }
    }
}

impl<'s> Plan<'s> {
    /// Puts the headers into `headers`, in place of whatever is there under their names.
    pub fn apply(&mut self, headers: &mut HeaderMap) {
        for (name, value) in self.headers.drain(..) {
            headers.insert(name, value);
        }
    }

    /// The query to be appended to the backend's, `name=value&…`; empty when there is none. It holds
    /// secrets.
    #[must_use]
    pub fn expose_query(&self) -> &str {
        &self.query
    }

    /// What the child process of this user is to be started with.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The arguments to be set in a call of `tool`.
    pub fn arguments<'a>(&'a self, tool: &'a str) -> impl Iterator<Item = &'a Planned<'s>> {
        self.arguments
            .iter()
            .filter(move |planned| planned.serves(tool))
    }
}

fn headers(
    slots: &Slots,
    secrets: &SecretSet,
    optional: bool,
    missing: &mut BTreeSet<SecretName>,
) -> Result<Vec<(HeaderName, HeaderValue)>, Unplannable> {
    let mut planned = Vec::with_capacity(slots.headers.len());
    for (name, template) in &slots.headers {
        match template.render(|secret| secrets.expose(secret)) {
            Ok(value) => {
                let value = header(value);
                let value = value.ok_or_else(|| Unplannable::Unfit(Place::Header(name.clone())))?;
                planned.push((name.clone(), value));
            }
            Err(_) if optional => {}
            Err(error) => missing.extend(error.names().iter().cloned()),
        }
    }
    Ok(planned)
}

/// The same buffer as a header's value. Those are never zeroed, so a copy would be one more.
fn header(mut value: Zeroizing<Vec<u8>>) -> Option<HeaderValue> {
    // Looked at before it is moved: what is refused is zeroed. To the end, so that many bytes are looked at at once.
    let fits = |byte: &u8| (*byte == b'\t') | ((*byte >= b' ') & (*byte != 0x7f));
    if !value.iter().fold(true, |all, byte| all & fits(byte)) {
        return None;
    }
    let value = Bytes::from(std::mem::take(&mut *value));
    let mut value = HeaderValue::from_maybe_shared(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn parameters(
    slots: &Slots,
    secrets: &SecretSet,
    optional: bool,
    missing: &mut BTreeSet<SecretName>,
) -> Result<Zeroizing<String>, Unplannable> {
    let mut planned = Zeroizing::new(String::new());
    for (name, template) in &slots.query {
        match template.render(|secret| secrets.expose(secret)) {
            Ok(value) => {
                let unfit = |_| Unplannable::Unfit(Place::Query(name.clone()));
                let value = std::str::from_utf8(&value).map_err(unfit)?;
                query::append(&mut planned, name, value);
            }
            Err(_) if optional => {}
            Err(error) => missing.extend(error.names().iter().cloned()),
        }
    }
    Ok(planned)
}

fn variables(
    slots: &Slots,
    secrets: &SecretSet,
    optional: bool,
    missing: &mut BTreeSet<SecretName>,
) -> Result<Environment, Unplannable> {
    let mut planned = Vec::with_capacity(slots.environment.len());
    for (name, template) in &slots.environment {
        match template.render(|secret| secrets.expose(secret)) {
            // The system ends a variable at the first NUL: what follows would be lost in silence.
            Ok(value) if value.contains(&0) => {
                return Err(Unplannable::Unfit(Place::Variable(name.clone())));
            }
            Ok(value) => planned.push((name.clone(), value)),
            Err(_) if optional => {}
            Err(error) => missing.extend(error.names().iter().cloned()),
        }
    }
    Ok(Environment::new(planned, known(slots, secrets)))
}

/// What a child comes to know; nobody's who has no environment.
fn known(slots: &Slots, secrets: &SecretSet) -> Vec<Zeroizing<Vec<u8>>> {
    if slots.environment.is_empty() {
        return Vec::new();
    }
    let names = slots.secret_names().into_iter();
    let values = names.filter_map(|name| secrets.expose(name));
    values.map(|value| Zeroizing::new(value.to_vec())).collect()
}

fn arguments<'s>(
    slots: &'s Slots,
    secrets: &SecretSet,
    tools: &[&str],
    missing: &mut BTreeSet<SecretName>,
) -> Result<Vec<Planned<'s>>, Unplannable> {
    if tools.is_empty() {
        return Ok(Vec::new());
    }
    let slots = match &slots.arguments {
        Arguments::Named(slots) => slots,
        Arguments::All => return Ok(all(secrets)),
    };
    let mut planned = Vec::new();
    for slot in slots
        .iter()
        .filter(|slot| tools.iter().any(|tool| slot.serves(tool)))
    {
        match slot.template.render(|secret| secrets.expose(secret)) {
            Ok(value) => planned.push(Planned {
                name: slot.name.as_str().into(),
                slot: Some(slot),
                value: text(value)
                    .ok_or_else(|| Unplannable::Unfit(Place::Argument(slot.name.clone())))?,
            }),
            Err(error) => missing.extend(error.names().iter().cloned()),
        }
    }
    Ok(planned)
}

fn all<'s>(secrets: &SecretSet) -> Vec<Planned<'s>> {
    let planned = |name: &str| {
        let value = secrets.expose(&SecretName::parse(name).ok()?)?;
        Some(Planned {
            name: name.to_owned().into(),
            slot: None,
            value: text(Zeroizing::new(value.to_vec()))?,
        })
    };
    secrets.names().filter_map(planned).collect()
}

/// The same buffer as text.
fn text(mut value: Zeroizing<Vec<u8>>) -> Option<Zeroizing<String>> {
    let value = String::from_utf8(std::mem::take(&mut *value));
    match value {
        Ok(text) => Some(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            None
        }
    }
}
