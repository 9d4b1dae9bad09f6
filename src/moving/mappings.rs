//! A CSV of the table `user_mappings` of a service-desk registry, with one column more: `credentials`, the
//! decrypted credentials as an object of JSON.

use std::str::FromStr;

use serde_json::{Map as Object, Value};
use zeroize::{Zeroize as _, Zeroizing};

use super::FileError;
use super::draft::{Draft, Parsed, Refusal};
use super::gateway::digest;
use super::names::{self, Names};
use super::servers::Servers;
use super::table::{Row, Table};
use super::time;
use crate::identity::KeyDigest;
use crate::names::{ProfileName, SecretName, ServerName};
use crate::vault::{AdoptedKey, Limits, NewUser};

const KNOWN: [&str; 15] = [
    "id",
    "api_key",
    "api_key_hash",
    "user_name",
    "user_email",
    "encrypted_credentials",
    "is_active",
    "created_at",
    "updated_at",
    "last_used_at",
    "usage_count",
    "rate_limit_override",
    "metadata",
    "notes",
    "credentials",
];

/// `SERVER.SECRET=path.in.credentials`: which part of the credentials becomes which secret. With a `?` at its
/// end it may be missing.
#[derive(Clone, Debug)]
pub struct Map {
    place: String,
    path: String,
    is_optional: bool,
}

impl FromStr for Map {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write SERVER.SECRET=path.in.credentials, such as desk.TOKEN=auth.token";
        let (place, path) = text.split_once('=').ok_or(FORM)?;
        let (server, secret) = place.split_once('.').ok_or(FORM)?;
        ServerName::parse(server).map_err(|_| FORM)?;
        SecretName::parse(secret).map_err(|_| FORM)?;
        let required = path.strip_suffix('?');
        let is_optional = required.is_some();
        let path = required.unwrap_or(path);
        if path.is_empty() {
            return Err(FORM);
        }
        Ok(Self {
            place: place.to_owned(),
            path: path.to_owned(),
            is_optional,
        })
    }
}

/// Reads the file; `maps` says which credentials become which secrets.
///
/// # Errors
/// When it is no such file, or `maps` cannot be followed.
pub fn parse(
    bytes: &[u8],
    names: &Names,
    servers: &Servers,
    maps: &[Map],
) -> Result<Parsed, FileError> {
    let table = Table::parse(bytes, "user_name")?;
    if !table.has("api_key_hash") && !table.has("api_key") {
        return Err(FileError::new(
            "there is no column `api_key_hash`, by which the users' keys go on working",
        ));
    }
    if !maps.is_empty() && !table.has("credentials") {
        return Err(FileError::new(
            "there is no column `credentials` for --map: export the table with one that holds the decrypted \
             credentials as JSON",
        ));
    }
    let mut places = Vec::with_capacity(maps.len());
    for map in maps {
        let place = servers
            .place(&map.place)
            .map_err(|why| FileError::new(why.to_string()))?;
        if places.iter().any(|(other, _)| *other == place) {
            let twice = format!("--map names {} twice", map.place);
            return Err(FileError(twice));
        }
        places.push((place, map));
    }
    let mut parsed = Parsed::default();
    notes(&table, maps, &mut parsed);
    for (at, row) in table.rows() {
        let raw = row.as_ref().ok().and_then(|row| row.text("user_name").ok());
        let draft = row.and_then(|row| user(&at, &row, names, servers, &places, &mut parsed));
        parsed.take(&at, raw.unwrap_or_default(), draft);
    }
    Ok(parsed.check_together())
}

fn notes(table: &Table, maps: &[Map], parsed: &mut Parsed) {
    for column in table.columns().filter(|name| !KNOWN.contains(name)) {
        parsed.note(format!(
            "the column `{}` is ignored",
            super::draft::shown(column)
        ));
    }
    for column in ["encrypted_credentials", "id", "updated_at"] {
        if table.has(column) {
            parsed.note(format!("the column `{column}` is ignored"));
        }
    }
    if table.has("api_key") && table.has("api_key_hash") {
        parsed.note("keys in plain text (`api_key`) are ignored where there is a hash: delete this file afterwards");
    } else if table.has("api_key") {
        parsed.note("keys in plain text (`api_key`) are hashed: delete this file afterwards");
    }
    if table.has("credentials") && maps.is_empty() {
        parsed
            .note("no credential is moved: name them with --map SERVER.SECRET=path.in.credentials");
    }
    if table.has("rate_limit_override") {
        parsed.note("`rate_limit_override` is taken for requests a minute");
    }
}

fn user(
    at: &str,
    row: &Row<'_>,
    names: &Names,
    servers: &Servers,
    places: &[((ServerName, SecretName), &Map)],
    parsed: &mut Parsed,
) -> Result<Draft, Refusal> {
    let mut draft = Draft::new(at, names.user(row.text("user_name")?)?);
    let when = |name: &str| time::seconds(name, &row.text(name)?.into());
    let created = when("created_at")?;
    draft.user = NewUser {
        email: names::email(row.text("user_email")?)?,
        notes: names::words("`notes`", row.text("notes")?)?,
        metadata: metadata(row)?,
        limits: Limits {
            rate: rate(row.text("rate_limit_override")?)?,
            ..Limits::default()
        },
        disabled: !is_active(row.text("is_active")?)?,
        created,
        ..NewUser::default()
    };
    if let Some(digest) = key(row)? {
        draft.keys.push(AdoptedKey {
            digest,
            name: None,
            created,
            profile: None,
            expires: None,
            revoked: None,
            limits: Limits::default(),
        });
    }
    if places.is_empty() {
        return Ok(draft);
    }
    let mut credentials: Value = serde_json::from_slice(row.bytes("credentials"))
        .map_err(|_| Refusal::new("`credentials` is not an object of JSON"))?;
    let mut sealed = || {
        for (place, map) in places {
            match at_path(&credentials, map)? {
                Some(value) => {
                    let profile = ProfileName::default_profile();
                    servers.put(&mut draft.sets, place, &profile, value, parsed)?;
                }
                None if map.is_optional => {}
                None => {
                    return Err(Refusal::new(format!(
                        "`credentials` has no text or number at `{}` (write `?` at the end of --map for one \
                         that may be missing)",
                        map.path
                    )));
                }
            }
        }
        Ok(())
    };
    let done = sealed();
    wipe(&mut credentials);
    done.map(|()| draft)
}

/// The value at the end of the path.
fn at_path(credentials: &Value, map: &Map) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
    if !credentials.is_object() {
        return Err(Refusal::new("`credentials` is not an object of JSON"));
    }
    let mut value = Some(credentials);
    for name in map.path.split('.') {
        value = value.and_then(|value| value.get(name));
    }
    Ok(match value {
        Some(Value::String(text)) if !text.is_empty() => {
            Some(Zeroizing::new(text.as_bytes().to_vec()))
        }
        Some(Value::Number(number)) => Some(Zeroizing::new(number.to_string().into_bytes())),
        _ => None,
    })
}

/// Zeroes every text in it.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(list) => list.iter_mut().for_each(wipe),
        Value::Object(object) => object.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn key(row: &Row<'_>) -> Result<Option<KeyDigest>, Refusal> {
    let (hash, key) = (row.text("api_key_hash")?, row.text("api_key")?);
    if !hash.is_empty() {
        return digest(hash).map(Some);
    }
    if key.is_empty() {
        return Ok(None);
    }
    KeyDigest::of_any(key.as_bytes())
        .map(Some)
        .ok_or_else(|| Refusal::new("`api_key` is not a key: 1 to 512 visible characters"))
}

fn metadata(row: &Row<'_>) -> Result<Object<String, Value>, Refusal> {
    let mut metadata = match row.text("metadata")? {
        "" | "null" => Object::new(),
        text => serde_json::from_str(text)
            .map_err(|_| Refusal::new("`metadata` is not an object of JSON"))?,
    };
    for name in ["usage_count", "last_used_at"] {
        let text = row.text(name)?;
        if !text.is_empty() && !metadata.contains_key(name) {
            let number = text.parse::<u64>().map(Value::from);
            metadata.insert(name.to_owned(), number.unwrap_or_else(|_| text.into()));
        }
    }
    Ok(metadata)
}

fn rate(text: &str) -> Result<Option<u32>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let rate = text.parse().ok().filter(|rate| *rate > 0);
    let wrong = || Refusal::new("`rate_limit_override` is not a whole number above 0");
    rate.ok_or_else(wrong).map(Some)
}

fn is_active(text: &str) -> Result<bool, Refusal> {
    match text.to_ascii_lowercase().as_str() {
        "" | "t" | "true" | "1" | "yes" | "y" => Ok(true),
        "f" | "false" | "0" | "no" | "n" => Ok(false),
        _ => Err(Refusal::new("`is_active` is not true or false")),
    }
}
