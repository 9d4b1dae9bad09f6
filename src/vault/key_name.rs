//! How a key of a keyring is called: `realm:r1`.

use std::fmt;
use std::str::FromStr;

/// A kind of key that can be followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// Seals users, keys and indexes.
    Realm,
    /// Wraps data keys.
    Server,
    /// Signs users, keys and indexes.
    Sign,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Realm, Self::Server, Self::Sign];

    /// The word a keyring's line has for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Realm => "realm",
            Self::Server => "server",
            Self::Sign => "sign",
        }
    }
}

impl FromStr for KeyKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or("write realm, server or sign; an index key is never rotated")
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Kind and id: keys of different kinds may have the same id. Says nothing of the key itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName {
    /// Its kind.
    pub kind: KeyKind,
    /// Its id.
    pub id: String,
}

impl KeyName {
    pub(super) fn new(kind: KeyKind, id: &str) -> Self {
        Self {
            kind,
            id: id.to_owned(),
        }
    }

    /// What the store's check value of this key is called: of a signing key it is the public half's.
    pub(super) fn check_name(&self) -> String {
        match self.kind {
            KeyKind::Sign => format!("verify:{}", self.id),
            KeyKind::Realm | KeyKind::Server => self.to_string(),
        }
    }
}

impl KeyName {
    /// What [`KeyName::check_name`] was made from.
    pub(super) fn of_check_name(name: &str) -> Option<Self> {
        let (kind, id) = name.split_once(':')?;
        match kind {
            "verify" => Some(Self::new(KeyKind::Sign, id)),
            kind => Some(Self::new(kind.parse().ok()?, id)),
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}
