//! What one installation tells another: a line of JSON each, version 1, inside a file that is sealed under a
//! passphrase.
//!
//! The first line is `{"start": {"version": 1}}`, then `{"group": …}`s, then `{"user": …}`s, then
//! `{"end": {"groups": n, "users": n}}`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::FileError;
use super::draft::{Draft, NewSet, Refusal};
use crate::identity::KeyDigest;
use crate::names::{GroupName, Pattern, ProfileName, SecretName, ServerName, UserName};
use crate::vault::{
    Access, AdoptedKey, ExposedSet, Group, KeyInfo, Limits, NewUser, SecretValue, User,
};

const VERSION: u32 = 1;
/// The longest line: 256 secrets of 64 KiB for each of many servers.
const LINE_MAX: u64 = 1 << 30;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Start { version: u32 },
    Group(GroupLine),
    User(Box<UserLine>),
    End { groups: u64, users: u64 },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupLine {
    name: String,
    description: Option<String>,
    access: Access,
    sets: Vec<SetLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserLine {
    name: String,
    email: Option<String>,
    description: Option<String>,
    notes: Option<String>,
    metadata: Map<String, Value>,
    created: u64,
    disabled: bool,
    access: Access,
    limits: Limits,
    acts_for: Vec<Pattern>,
    groups: Vec<String>,
    keys: Vec<KeyLine>,
    sets: Vec<SetLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyLine {
    sha256: String,
    name: Option<String>,
    profile: Option<String>,
    created: u64,
    expires: Option<u64>,
    revoked: Option<u64>,
    limits: Limits,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetLine {
    server: String,
    profile: String,
    secrets: BTreeMap<String, Text>,
}

/// A value on its way through a line. Zeroed on drop.
struct Text(Zeroizing<String>);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Zeroizing::new(text)))
    }
}

/// Writes the first line.
///
/// # Errors
/// What the system says, as for all of these.
pub fn write_start(to: &mut impl Write) -> io::Result<()> {
    write(to, &Line::Start { version: VERSION })
}

/// Writes a group with the secrets it shares.
///
/// # Errors
/// What the system says.
pub fn write_group(to: &mut impl Write, group: &Group, sets: &[ExposedSet]) -> io::Result<()> {
    let record = &group.record;
    let line = GroupLine {
        name: record.name.clone(),
        description: record.description.clone(),
        access: record.access.clone(),
        sets: set_lines(sets)?,
    };
    write(to, &Line::Group(line))
}

/// Writes a user; `groups` are the names of those he is in.
///
/// # Errors
/// What the system says.
pub fn write_user(
    to: &mut impl Write,
    user: &User,
    groups: Vec<String>,
    keys: &[KeyInfo],
    sets: &[ExposedSet],
) -> io::Result<()> {
    let record = user.record.clone();
    let keys = keys.iter().map(|key| KeyLine {
        sha256: key.digest.to_hex(),
        name: key.record.name.clone(),
        profile: key.record.profile.clone(),
        created: key.record.created,
        expires: key.record.expires,
        revoked: key.record.revoked,
        limits: key.record.limits,
    });
    let line = UserLine {
        name: record.name,
        email: record.email,
        description: record.description,
        notes: record.notes,
        metadata: record.metadata,
        created: record.created,
        disabled: record.disabled,
        access: record.access,
        limits: record.limits,
        acts_for: record.acts_for,
        groups,
        keys: keys.collect(),
        sets: set_lines(sets)?,
    };
    write(to, &Line::User(Box::new(line)))
}

/// Writes the last line.
///
/// # Errors
/// What the system says.
pub fn write_end(to: &mut impl Write, groups: u64, users: u64) -> io::Result<()> {
    write(to, &Line::End { groups, users })
}

fn write(to: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    to.write_all(b"\n")
}

fn set_lines(sets: &[ExposedSet]) -> io::Result<Vec<SetLine>> {
    let text = |value: &[u8]| match std::str::from_utf8(value) {
        Ok(text) => Ok(Text(Zeroizing::new(text.to_owned()))),
        Err(_) => Err(io::Error::other("a secret is not text")),
    };
    let line = |set: &ExposedSet| {
        let secrets = set.secrets.expose_all();
        let secrets = secrets.map(|(name, value)| Ok((name.to_owned(), text(value)?)));
        Ok(SetLine {
            server: set.server.to_string(),
            profile: set.profile.to_string(),
            secrets: secrets.collect::<io::Result<_>>()?,
        })
    };
    sets.iter().map(line).collect()
}

/// A group to be.
pub struct GroupDraft {
    /// Where it stands.
    pub at: String,
    /// Which.
    pub name: GroupName,
    /// What it is for.
    pub description: Option<String>,
    /// Servers and tools.
    pub access: Access,
    /// Secrets its members share.
    pub sets: Vec<NewSet>,
}

/// What one line says.
pub enum Entry {
    /// A group.
    Group(GroupDraft),
    /// A user.
    User(Box<Draft>),
}

/// Reads all lines, and gives each entry to `take`, which may ask for the end of it.
///
/// # Errors
/// When it does not begin or end as it should, or a line is none: the line, and nothing of it.
pub fn read(
    from: impl BufRead,
    mut take: impl FnMut(Entry) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let mut lines = Lines {
        from,
        number: 0,
        text: Zeroizing::new(Vec::new()),
    };
    match lines.next()? {
        Line::Start { version: VERSION } => {}
        Line::Start { version } => {
            return Err(FileError(format!(
                "it is of version {version}, which a later Cloakroom reads"
            )));
        }
        _ => return Err(lines.wrong()),
    }
    let (mut groups, mut users) = (0, 0);
    loop {
        let line = lines.next()?;
        let at = format!("line {}", lines.number);
        let wrong = |why: Refusal| FileError(format!("{at}: {why}"));
        match line {
            Line::Start { .. } => return Err(lines.wrong()),
            Line::Group(line) => {
                groups += 1;
                take(Entry::Group(line.into_draft(&at).map_err(wrong)?))?;
            }
            Line::User(line) => {
                users += 1;
                take(Entry::User(Box::new(line.into_draft(&at).map_err(wrong)?)))?;
            }
            Line::End {
                groups: all,
                users: people,
            } => {
                return if (all, people) == (groups, users) {
                    Ok(())
                } else {
                    Err(FileError::new("it does not hold as much as it says"))
                };
            }
        }
    }
}

struct Lines<R> {
    from: R,
    number: u64,
    text: Zeroizing<Vec<u8>>,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Line, FileError> {
        use io::Read as _;
        self.text.clear();
        self.number += 1;
        (&mut self.from)
            .take(LINE_MAX)
            .read_until(b'\n', &mut self.text)
            .map_err(|why| FileError(why.to_string()))?;
        serde_json::from_slice(&self.text).map_err(|_| self.wrong())
    }

    fn wrong(&self) -> FileError {
        FileError(format!(
            "line {} is not what `cloakroom export` writes",
            self.number
        ))
    }
}

fn named<T, E: std::fmt::Display>(parsed: Result<T, E>) -> Result<T, Refusal> {
    parsed.map_err(|error| Refusal::new(error.to_string()))
}

impl GroupLine {
    fn into_draft(self, at: &str) -> Result<GroupDraft, Refusal> {
        Ok(GroupDraft {
            at: at.to_owned(),
            name: named(GroupName::parse(&self.name))?,
            description: self.description,
            access: self.access,
            sets: new_sets(self.sets)?,
        })
    }
}

impl UserLine {
    fn into_draft(self, at: &str) -> Result<Draft, Refusal> {
        let mut draft = Draft::new(at, named(UserName::parse(&self.name))?);
        draft.user = NewUser {
            email: self.email,
            description: self.description,
            notes: self.notes,
            metadata: self.metadata,
            access: self.access,
            limits: self.limits,
            disabled: self.disabled,
            created: Some(self.created),
        };
        draft.acts_for = self.acts_for;
        let groups = self.groups.iter().map(|name| named(GroupName::parse(name)));
        draft.groups = groups.collect::<Result<_, _>>()?;
        let keys = self.keys.into_iter().map(KeyLine::into_key);
        draft.keys = keys.collect::<Result<_, _>>()?;
        draft.sets = new_sets(self.sets)?;
        Ok(draft)
    }
}

impl KeyLine {
    fn into_key(self) -> Result<AdoptedKey, Refusal> {
        let profile = self.profile.as_deref().map(ProfileName::parse);
        Ok(AdoptedKey {
            digest: KeyDigest::from_hex(&self.sha256)
                .ok_or_else(|| Refusal::new("a digest is none"))?,
            name: self.name,
            created: Some(self.created),
            profile: named(profile.transpose())?,
            expires: self.expires,
            revoked: self.revoked,
            limits: self.limits,
        })
    }
}

fn new_sets(lines: Vec<SetLine>) -> Result<Vec<NewSet>, Refusal> {
    let value = |(name, value): (String, Text)| {
        let name = named(SecretName::parse(&name))?;
        let bytes = Zeroizing::new(value.0.as_bytes().to_vec());
        Ok((name, named(SecretValue::new(bytes))?))
    };
    let set = |line: SetLine| {
        Ok(NewSet {
            server: named(ServerName::parse(&line.server))?,
            profile: named(ProfileName::parse(&line.profile))?,
            values: line
                .secrets
                .into_iter()
                .map(value)
                .collect::<Result<_, Refusal>>()?,
        })
    };
    lines.into_iter().map(set).collect()
}
