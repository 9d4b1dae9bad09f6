//! The keys an installation holds, and the text they are kept in.
//!
//! One line each: `id kind scope base64`. `#` starts a comment. Kinds:
//!
//! | kind | scope | what it does |
//! |---|---|---|
//! | `realm` | the realm's name | seals user, key and index records |
//! | `index` | the realm's name | makes record ids from names (HMAC), so that a store shows none; never rotated |
//! | `server` | `*` or server names, comma separated | wraps data keys and seals session ids of those servers |
//! | `sign` | the realm's name | Ed25519 seed; signs user, key and index records |
//! | `verify` | the realm's name | the public half of a `sign` key |
//!
//! The first of a kind is active; the others only open or verify what they made. A `server` key of
//! scope `*` is a root: each server uses a key derived from it (HKDF) with its name, and
//! [`Keyring::export`] writes that derived key. So one root serves servers not yet thought of, and
//! the owner of one sidecar's keyring can open no other server's secrets.

mod holdings;
mod succession;
#[cfg(test)]
mod tests;
mod text;

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::crypto::{KeyBytes, Mac, Signer, fill_random, verify_signature};
use super::key_name::{KeyKind, KeyName};
use crate::names::ServerName;

pub(super) use holdings::{Holding, stands_first};
pub use succession::Succession;
pub use text::KeyringText;

/// Why a text is not a keyring; names the line, never its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// A line that cannot be read.
    #[error("line {line}: {what}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it and what belongs there.
        what: &'static str,
    },
    /// A kind without which nothing works is missing.
    #[error("no `{0}` key: this is not a whole keyring")]
    Missing(&'static str),
    /// Lines of different realms.
    #[error("keys of different realms in one keyring: `{0}` and `{1}`")]
    Realms(String, String),
    /// There is no key from which this server's could be exported.
    #[error("no `server` key covers the server `{0}`")]
    NoServerKey(ServerName),
}

/// There is no `sign` key, so this keyring can only read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this keyring can only read: it has no `sign` key (use the keyring that `keyring init` made)"
)]
pub struct ReadOnly(pub(super) ());

/// Which servers a `server` key is for.
enum Scope {
    Root,
    Servers(Vec<ServerName>),
}

impl Scope {
    fn covers(&self, server: &ServerName) -> bool {
        match self {
            Self::Root => true,
            Self::Servers(names) => names.contains(server),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("*"),
            Self::Servers(names) => {
                let names: Vec<_> = names.iter().map(ServerName::as_str).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

struct Line<K> {
    id: String,
    key: K,
}

struct ServerKey {
    scope: Scope,
    key: KeyBytes,
}

/// Every key an installation holds. No part of it can be printed.
pub struct Keyring {
    realm: String,
    realm_keys: Vec<Line<KeyBytes>>,
    index: Line<KeyBytes>,
    servers: Vec<Line<ServerKey>>,
    signers: Vec<Line<KeyBytes>>,
    verifiers: Vec<Line<[u8; 32]>>,
    /// Of keys that were made to follow another and never used: which follows which.
    follows: Vec<(KeyName, String)>,
}

impl Keyring {
    /// A whole new keyring: one key of each kind but `verify`, a realm of its own.
    #[must_use]
    pub fn generate() -> Self {
        let mut name = [0; 6];
        fill_random(&mut name);
        let realm = name.iter().fold(String::from("realm-"), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let sign = KeyBytes::generate();
        Self {
            realm,
            realm_keys: vec![Line {
                id: "r1".into(),
                key: KeyBytes::generate(),
            }],
            index: Line {
                id: "i1".into(),
                key: KeyBytes::generate(),
            },
            servers: vec![Line {
                id: "s1".into(),
                key: ServerKey {
                    scope: Scope::Root,
                    key: KeyBytes::generate(),
                },
            }],
            verifiers: vec![Line {
                id: "g1".into(),
                key: Signer::new(&sign).public(),
            }],
            signers: vec![Line {
                id: "g1".into(),
                key: sign,
            }],
            follows: Vec::new(),
        }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// The first line that cannot be read, or what is missing as a whole.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut draft = Draft::default();
        let mut above = "";
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if !line.is_empty() && !line.starts_with('#') {
                draft.line(line).map_err(|what| KeyringError::Line {
                    line: number + 1,
                    what,
                })?;
                draft.follows.extend(text::follows(above, line));
            }
            above = line;
        }
        draft.finish()
    }

    /// The text form of everything held: for the file `keyring init` writes.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut out = heading(
            "Cloakroom keyring: every key of this installation. Keep it secret, keep a copy.",
        );
        self.write_shared(&mut out);
        for Line { id, key } in &self.servers {
            let scope = key.scope.to_string();
            write_line(&mut out, id, "server", &scope, key.key.expose_bytes());
        }
        for Line { id, key } in &self.signers {
            write_line(&mut out, id, "sign", &self.realm, key.expose_bytes());
        }
        for Line { id, key } in &self.verifiers {
            if !self.signers.iter().any(|signer| signer.id == *id) {
                write_line(&mut out, id, "verify", &self.realm, key);
            }
        }
        out
    }

    /// What the sidecar of one server needs: it can check keys but not make them, and can open the
    /// secrets of no other server.
    ///
    /// # Errors
    /// When no `server` key covers `server`.
    pub fn export(&self, server: &ServerName) -> Result<Zeroizing<String>, KeyringError> {
        let mut out = heading("Cloakroom keyring of one server. Keep it secret.");
        self.write_shared(&mut out);
        let mut covered = false;
        for (id, key) in self.server_keys(server) {
            covered = true;
            write_line(&mut out, id, "server", server.as_str(), key.expose_bytes());
        }
        if !covered {
            return Err(KeyringError::NoServerKey(server.clone()));
        }
        for Line { id, key } in &self.verifiers {
            write_line(&mut out, id, "verify", &self.realm, key);
        }
        Ok(out)
    }

    /// The realm's name: part of what every seal is bound to.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Whether records can be written, not only read: there is a `sign` key.
    #[must_use]
    pub fn can_sign(&self) -> bool {
        !self.signers.is_empty()
    }

    /// As [`Keyring::can_sign`].
    ///
    /// # Errors
    /// When it cannot.
    pub fn require_sign(&self) -> Result<(), ReadOnly> {
        self.can_sign().then_some(()).ok_or(ReadOnly(()))
    }

    /// Whether secrets of `server` can be sealed and opened.
    #[must_use]
    pub fn covers(&self, server: &ServerName) -> bool {
        self.server_keys(server).next().is_some()
    }

    /// Whether a key of this name is held, to open or to verify with.
    #[must_use]
    pub fn holds(&self, name: &KeyName) -> bool {
        match name.kind {
            KeyKind::Realm => self.realm_keys.iter().any(|line| line.id == name.id),
            KeyKind::Server => self.servers.iter().any(|line| line.id == name.id),
            KeyKind::Sign => self.verifiers.iter().any(|line| line.id == name.id),
        }
    }

    /// Realm keys with their ids, the active one first.
    pub(super) fn realm_keys(&self) -> impl Iterator<Item = (&str, &KeyBytes)> {
        self.realm_keys
            .iter()
            .map(|line| (line.id.as_str(), &line.key))
    }

    /// What makes record ids from names.
    pub(super) fn index_mac(&self) -> Mac {
        Mac::new(&self.index.key.derive("cloakroom index v1", &[]))
    }

    /// What links the records of one writer of the audit trail.
    pub(super) fn trail_key(&self, writer: &[u8; 16]) -> KeyBytes {
        self.index.key.derive("cloakroom audit v1", &[writer])
    }

    /// The name of the key that comes from: `index:i1`.
    pub(super) fn trail_key_name(&self) -> String {
        format!("index:{}", self.index.id)
    }

    /// The keys of one server with their ids, the active one first.
    pub(super) fn server_keys(
        &self,
        server: &ServerName,
    ) -> impl Iterator<Item = (&str, KeyBytes)> {
        self.servers.iter().filter_map(move |line| {
            let key = match &line.key.scope {
                Scope::Root => line
                    .key
                    .key
                    .derive("cloakroom server v1", &[server.as_str().as_bytes()]),
                Scope::Servers(names) if names.contains(server) => {
                    KeyBytes::from_slice(line.key.key.expose_bytes())?
                }
                Scope::Servers(_) => return None,
            };
            Some((line.id.as_str(), key))
        })
    }

    /// The active signing key with its id.
    pub(super) fn signer(&self) -> Option<(&str, Signer)> {
        self.signers
            .first()
            .map(|line| (line.id.as_str(), Signer::new(&line.key)))
    }

    /// Whether the key `id` signed `message`.
    pub(super) fn verify(&self, id: &str, message: &[u8], signature: &[u8]) -> bool {
        self.verifiers
            .iter()
            .find(|line| line.id == id)
            .is_some_and(|line| verify_signature(&line.key, message, signature))
    }

    /// A value per key that only its holder can make, without showing it: what the store keeps to
    /// refuse a wrong keyring at start. Pairs of a name and the value.
    pub(super) fn check_values(&self) -> Vec<(String, Zeroizing<[u8; 32]>)> {
        let mut out = Vec::new();
        let mut push = |kind: &str, id: &str, key: &KeyBytes| {
            let value =
                Mac::new(&key.derive("cloakroom key check v1", &[])).tag(&[kind.as_bytes()]);
            out.push((format!("{kind}:{id}"), Zeroizing::new(value)));
        };
        for line in &self.realm_keys {
            push("realm", &line.id, &line.key);
        }
        push("index", &self.index.id, &self.index.key);
        for line in &self.servers {
            if matches!(line.key.scope, Scope::Root) {
                push("server", &line.id, &line.key.key);
            }
        }
        for line in &self.verifiers {
            let public = KeyBytes::from_slice(&line.key).expect("a public key has 32 bytes");
            push("verify", &line.id, &public);
        }
        out
    }

    fn write_shared(&self, out: &mut Zeroizing<String>) {
        for Line { id, key } in &self.realm_keys {
            write_line(out, id, "realm", &self.realm, key.expose_bytes());
        }
        write_line(
            out,
            &self.index.id,
            "index",
            &self.realm,
            self.index.key.expose_bytes(),
        );
    }
}

/// Large enough for any keyring, so that growing never leaves a copy behind.
fn heading(text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(64 * 1024));
    let _ = writeln!(out, "# {text}\n# id kind scope base64");
    out
}

fn write_line(out: &mut Zeroizing<String>, id: &str, kind: &str, scope: &str, key: &[u8]) {
    let encoded = Zeroizing::new(STANDARD.encode(key));
    let _ = writeln!(out, "{id} {kind} {scope} {}", *encoded);
}

/// A keyring while its lines are read.
#[derive(Default)]
struct Draft {
    realms: Vec<String>,
    realm_keys: Vec<Line<KeyBytes>>,
    index: Option<Line<KeyBytes>>,
    servers: Vec<Line<ServerKey>>,
    signers: Vec<Line<KeyBytes>>,
    verifiers: Vec<Line<[u8; 32]>>,
    follows: Vec<(KeyName, String)>,
}

impl Draft {
    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        let mut words = line.split_ascii_whitespace();
        let (Some(id), Some(kind), Some(scope), Some(encoded), None) = (
            words.next(),
            words.next(),
            words.next(),
            words.next(),
            words.next(),
        ) else {
            return Err("write four words: id kind scope base64");
        };
        let id_ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if id.len() > 8 || !id.bytes().all(id_ok) {
            return Err("the id is 1 to 8 of a-z 0-9 -");
        }
        let bytes = Zeroizing::new(
            STANDARD
                .decode(encoded)
                .map_err(|_| "the key is not base64")?,
        );
        let key = KeyBytes::from_slice(&bytes).ok_or("the key is not 32 bytes long")?;
        self.add(id.to_owned(), kind, scope, key)
    }

    fn add(
        &mut self,
        id: String,
        kind: &str,
        scope: &str,
        key: KeyBytes,
    ) -> Result<(), &'static str> {
        match kind {
            "realm" => push_new(&mut self.realm_keys, id, key)?,
            "index" if self.index.is_some() => {
                return Err("a second `index` key; there is only one");
            }
            "index" => self.index = Some(Line { id, key }),
            "server" => {
                let scope = parse_scope(scope)?;
                return push_new(&mut self.servers, id, ServerKey { scope, key });
            }
            "sign" => {
                let public = Signer::new(&key).public();
                push_new(&mut self.signers, id.clone(), key)?;
                push_new(&mut self.verifiers, id, public)?;
            }
            "verify" => {
                let public = key
                    .expose_bytes()
                    .try_into()
                    .map_err(|_| "the key is not 32 bytes long")?;
                push_new(&mut self.verifiers, id, public)?;
            }
            _ => return Err("the kind is none of realm, index, server, sign, verify"),
        }
        self.realms.push(scope.to_owned());
        Ok(())
    }

    fn finish(self) -> Result<Keyring, KeyringError> {
        let realm = self
            .realms
            .first()
            .ok_or(KeyringError::Missing("realm"))?
            .clone();
        if let Some(other) = self.realms.iter().find(|other| **other != realm) {
            return Err(KeyringError::Realms(realm, other.clone()));
        }
        if self.realm_keys.is_empty() {
            return Err(KeyringError::Missing("realm"));
        }
        if self.servers.is_empty() {
            return Err(KeyringError::Missing("server"));
        }
        if self.verifiers.is_empty() {
            return Err(KeyringError::Missing("sign"));
        }
        Ok(Keyring {
            realm,
            realm_keys: self.realm_keys,
            index: self.index.ok_or(KeyringError::Missing("index"))?,
            servers: self.servers,
            signers: self.signers,
            verifiers: self.verifiers,
            follows: self.follows,
        })
    }
}

fn push_new<K>(lines: &mut Vec<Line<K>>, id: String, key: K) -> Result<(), &'static str> {
    if lines.iter().any(|line| line.id == id) {
        return Err("a second key of this kind with the same id");
    }
    lines.push(Line { id, key });
    Ok(())
}

fn parse_scope(text: &str) -> Result<Scope, &'static str> {
    if text == "*" {
        return Ok(Scope::Root);
    }
    let names = text
        .split(',')
        .map(ServerName::parse)
        .collect::<Result<_, _>>();
    names
        .map(Scope::Servers)
        .map_err(|_| "the scope of a `server` key is * or server names")
}
