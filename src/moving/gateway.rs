//! `users.json` of a gateway: users, and the SHA-256 of their keys.
//!
//! `{users: {NAME: {user_id, email, description, created_at, enabled, api_keys: [hash], mcp_allowed,
//! mcp_blocked, metadata}}, api_keys: {HASH: {user_id, username, key_name, created_at, expires_at, revoked}}}`

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::draft::{Draft, Parsed, Refusal};
use super::fields::{Fields, Pairs};
use super::names::{self, Names};
use super::servers::Servers;
use super::{FileError, draft};
use crate::identity::KeyDigest;
use crate::vault::{Access, AdoptedKey, Limits, NewUser};

const FORM: &str = "it is not a users.json of a gateway: an object of JSON with the objects `users` and `api_keys`";

/// Reads the file. `now`: unix seconds.
///
/// # Errors
/// When it is no such file.
pub fn parse(
    bytes: &[u8],
    names: &Names,
    servers: &Servers,
    now: u64,
) -> Result<Parsed, FileError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let form = |error: serde_json::Error| {
        FileError::new(format!(
            "{FORM} (line {}, column {})",
            error.line(),
            error.column()
        ))
    };
    let parts: Pairs<&RawValue> = serde_json::from_slice(bytes).map_err(form)?;
    let mut users = None;
    let mut keys = None;
    for (name, part) in parts.0 {
        let place = match name.as_str() {
            "users" => &mut users,
            "api_keys" => &mut keys,
            _ => continue,
        };
        if place.replace(part).is_some() {
            return Err(FileError::new(format!(
                "{FORM}; `{name}` stands there twice"
            )));
        }
    }
    let table = |part: Option<&RawValue>| match part {
        None => Ok(Pairs(Vec::new())),
        Some(part) => serde_json::from_str::<Pairs<Box<RawValue>>>(part.get())
            .map_err(|_| FileError::new(FORM)),
    };
    let users = table(Some(users.ok_or_else(|| FileError::new(FORM))?))?;
    let mut parsed = Parsed::default();
    let mut keys = keys_by_user(&table(keys)?, &mut parsed, now);
    for (raw, text) in users.0 {
        let at = format!("users.{}", draft::shown(&raw));
        let mine = keys.remove(&raw).unwrap_or_default();
        let row = user(&at, &raw, &text, mine, names, servers, &mut parsed);
        parsed.take(&at, &raw, row);
    }
    for (raw, keys) in keys {
        let why = format!(
            "no user of this name in the file: {} keys are left out",
            keys.len()
        );
        parsed.refuse("api_keys", &raw, Refusal::new(why));
    }
    Ok(parsed.check_together())
}

/// Keys under the names of their users, each with why it cannot be taken.
type Keys = BTreeMap<String, Vec<Result<AdoptedKey, Refusal>>>;

fn keys_by_user(table: &Pairs<Box<RawValue>>, parsed: &mut Parsed, now: u64) -> Keys {
    let mut keys = Keys::new();
    for (hash, text) in &table.0 {
        match Fields::parse(text.get()).and_then(|f| Ok((f.text("username")?.to_owned(), f))) {
            Ok((name, fields)) => keys.entry(name).or_default().push(key(hash, &fields, now)),
            Err(why) => parsed.refuse("api_keys", "", why),
        }
    }
    keys
}

fn key(hash: &str, fields: &Fields, now: u64) -> Result<AdoptedKey, Refusal> {
    Ok(AdoptedKey {
        digest: digest(hash)?,
        name: names::key_name(fields.text("key_name")?)?,
        created: fields.time("created_at")?,
        profile: None,
        expires: fields.time("expires_at")?,
        revoked: fields.flag("revoked", false)?.then_some(now),
        limits: Limits::default(),
    })
}

/// Not repeated: it may be a key that was never hashed.
pub(super) fn digest(hash: &str) -> Result<KeyDigest, Refusal> {
    KeyDigest::from_hex(&hash.trim().to_ascii_lowercase())
        .ok_or_else(|| Refusal::new("the hash of a key is not SHA-256 in 64 hexadecimal digits"))
}

fn user(
    at: &str,
    raw: &str,
    text: &RawValue,
    keys: Vec<Result<AdoptedKey, Refusal>>,
    names: &Names,
    servers: &Servers,
    parsed: &mut Parsed,
) -> Result<Draft, Refusal> {
    let fields = Fields::parse(text.get())?;
    let mut draft = Draft::new(at, names.user(raw)?);
    let access = Access {
        allowed_servers: names::patterns(
            "mcp_allowed",
            &fields.texts("mcp_allowed")?,
            servers,
            parsed,
        )?,
        blocked_servers: names::patterns(
            "mcp_blocked",
            &fields.texts("mcp_blocked")?,
            servers,
            parsed,
        )?,
        ..Access::default()
    };
    let mut metadata = fields.object("metadata")?;
    let id = fields.text("user_id")?;
    if !id.is_empty() && !metadata.contains_key("user_id") {
        metadata.insert("user_id".to_owned(), id.into());
    }
    draft.user = NewUser {
        email: names::email(fields.text("email")?)?,
        description: names::words("the description", fields.text("description")?)?,
        metadata,
        access,
        disabled: !fields.flag("enabled", true)?,
        created: fields.time("created_at")?,
        ..NewUser::default()
    };
    draft.keys = keys.into_iter().collect::<Result<_, _>>()?;
    for hash in fields.texts("api_keys")? {
        let digest = digest(&hash)?;
        if !draft.keys.iter().any(|key| key.digest == digest) {
            return Err(Refusal::new(format!(
                "the key `{}` is listed here, but `api_keys` does not say that it is this user's: put it \
                 right in the file",
                digest.key_id()
            )));
        }
    }
    Ok(draft)
}
