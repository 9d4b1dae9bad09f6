//! A CSV for setting up many users: `username`, `email`, `description`, `groups`, `key_name`, `ttl`, `profile`,
//! and a column `SERVER.SECRET` for each secret.

use std::collections::BTreeSet;
use std::time::Duration;

use zeroize::Zeroizing;

use super::FileError;
use super::draft::{Draft, Parsed, Refusal};
use super::names::{self, Names};
use super::servers::Servers;
use super::table::{Row, Table};
use crate::names::{GroupName, ProfileName};
use crate::vault::{KeyRequest, Limits, NewUser};

const KNOWN: [&str; 7] = [
    "username",
    "email",
    "description",
    "groups",
    "key_name",
    "ttl",
    "profile",
];

/// Whether keys are made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Issue {
    /// One for each user.
    Key,
    /// None.
    Nothing,
}

/// The columns there are, in words.
pub struct Columns;

impl Columns {
    /// For a complaint.
    pub const WORDS: &str = "username, email, description, groups, key_name, ttl, profile, and SERVER.SECRET for secrets";
}

/// Reads the file.
///
/// # Errors
/// When it is no such file.
pub fn parse(
    bytes: &[u8],
    names: &Names,
    servers: &Servers,
    issue: Issue,
) -> Result<Parsed, FileError> {
    let table = Table::parse(bytes, "username")?;
    let secrets: Vec<_> = table
        .columns()
        .filter(|name| !KNOWN.contains(name))
        .map(str::to_owned)
        .collect();
    if let Some(odd) = secrets.iter().find(|name| !name.contains('.')) {
        return Err(FileError::new(format!(
            "no column is called `{}`; there is {}",
            super::draft::shown(odd),
            Columns::WORDS
        )));
    }
    let mut parsed = Parsed::default();
    for (at, row) in table.rows() {
        let raw = row.as_ref().ok().and_then(|row| row.text("username").ok());
        let draft =
            row.and_then(|row| user(&at, &row, &secrets, names, servers, issue, &mut parsed));
        parsed.take(&at, raw.unwrap_or_default(), draft);
    }
    Ok(parsed.check_together())
}

fn user(
    at: &str,
    row: &Row<'_>,
    secrets: &[String],
    names: &Names,
    servers: &Servers,
    issue: Issue,
    parsed: &mut Parsed,
) -> Result<Draft, Refusal> {
    let mut draft = Draft::new(at, names.user(row.text("username")?)?);
    draft.user = NewUser {
        email: names::email(row.text("email")?)?,
        description: names::words("the description", row.text("description")?)?,
        ..NewUser::default()
    };
    draft.groups = groups(row.text("groups")?)?;
    let profile = match row.text("profile")? {
        "" => None,
        text => Some(ProfileName::parse(text).map_err(|e| Refusal::new(e.to_string()))?),
    };
    let request = KeyRequest {
        name: names::key_name(row.text("key_name")?)?,
        ttl: ttl(row.text("ttl")?)?,
        profile: profile.clone(),
        limits: Limits::default(),
    };
    draft.issue = (issue == Issue::Key).then_some(request);
    let profile = profile.unwrap_or_else(ProfileName::default_profile);
    for column in secrets {
        let value = row.bytes(column);
        if !value.is_empty() {
            let place = servers.place(column)?;
            let value = Zeroizing::new(value.to_vec());
            servers.put(&mut draft.sets, &place, &profile, value, parsed)?;
        }
    }
    Ok(draft)
}

fn groups(text: &str) -> Result<Vec<GroupName>, Refusal> {
    let names: BTreeSet<_> = text
        .split(';')
        .map(str::trim)
        .filter(|t| !t.is_empty())
        .collect();
    let parse = |name: &str| GroupName::parse(name).map_err(|e| Refusal::new(e.to_string()));
    names.into_iter().map(parse).collect()
}

fn ttl(text: &str) -> Result<Option<Duration>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    match humantime::parse_duration(text) {
        Ok(ttl) if ttl.as_secs() > 0 => Ok(Some(ttl)),
        _ => Err(Refusal::new(
            "`ttl` is no time to live: write a number and a unit, such as 90d, 12h or 30m",
        )),
    }
}
