//! A user to be, as a file says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::names::{GroupName, Pattern, ProfileName, SecretName, ServerName, UserName};
use crate::vault::{AdoptedKey, KeyRequest, NewUser, SecretValue, VaultError};

/// Everything a file says of one user.
pub struct Draft {
    /// Where it stands, such as `line 3`.
    pub at: String,
    /// Who.
    pub name: UserName,
    /// What is said of him.
    pub user: NewUser,
    /// Users in whose name he may call tools.
    pub acts_for: Vec<Pattern>,
    /// Groups he shall be in.
    pub groups: Vec<GroupName>,
    /// Keys he has already.
    pub keys: Vec<AdoptedKey>,
    /// Secrets.
    pub sets: Vec<NewSet>,
    /// A key to be made for him.
    pub issue: Option<KeyRequest>,
}

impl Draft {
    pub(super) fn new(at: &str, name: UserName) -> Self {
        Self {
            at: at.to_owned(),
            name,
            user: NewUser::default(),
            acts_for: Vec::new(),
            groups: Vec::new(),
            keys: Vec::new(),
            sets: Vec::new(),
            issue: None,
        }
    }
}

/// Secrets for one server in one profile.
pub struct NewSet {
    /// Which server.
    pub server: ServerName,
    /// Which profile.
    pub profile: ProfileName,
    /// Names and values.
    pub values: Vec<(SecretName, SecretValue)>,
}

/// Why a row is not done, and what to do. Never a value of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    words: String,
    is_partly: bool,
}

impl Refusal {
    /// Nothing of the row is done.
    pub fn new(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            is_partly: false,
        }
    }

    /// A part of the row is done, or may be.
    pub fn partly(words: impl Into<String>) -> Self {
        Self {
            is_partly: true,
            ..Self::new(words)
        }
    }

    /// Whether a part of the row may be done.
    #[must_use]
    pub fn is_partly(&self) -> bool {
        self.is_partly
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl From<VaultError> for Refusal {
    fn from(error: VaultError) -> Self {
        Self::new(error.to_string())
    }
}

/// A row that is not done.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Where it stands.
    pub at: String,
    /// The name there, as far as it can be shown.
    pub name: String,
    /// Why, and what to do.
    pub why: Refusal,
}

/// What a file says.
#[derive(Default)]
pub struct Parsed {
    /// Users that can be tried.
    pub drafts: Vec<Draft>,
    /// Rows that cannot.
    pub refused: Vec<Refused>,
    /// What there is to say about all of it.
    pub notes: BTreeSet<String>,
}

impl Parsed {
    pub(super) fn take(&mut self, at: &str, raw: &str, row: Result<Draft, Refusal>) {
        match row {
            Ok(draft) => self.drafts.push(draft),
            Err(why) => self.refuse(at, raw, why),
        }
    }

    pub(super) fn refuse(&mut self, at: &str, raw: &str, why: Refusal) {
        self.refused.push(Refused {
            at: at.to_owned(),
            name: shown(raw),
            why,
        });
    }

    pub(super) fn note(&mut self, words: impl Into<String>) {
        self.notes.insert(words.into());
    }

    /// Refuses what two rows claim at once: all of them, for nobody knows whose it is.
    pub(super) fn check_together(mut self) -> Self {
        let mut claims: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, draft) in self.drafts.iter().enumerate() {
            let mut claim = |what: String| claims.entry(what).or_default().push(index);
            claim(format!("the name `{}`", draft.name));
            if let Some(email) = &draft.user.email {
                claim(format!("the e-mail `{}`", email.to_lowercase()));
            }
            for key in &draft.keys {
                claim(format!("the key `{}`", key.digest.key_id()));
            }
        }
        let mut refused: BTreeMap<usize, Refusal> = BTreeMap::new();
        for (what, by) in claims.iter().filter(|(_, by)| by.len() > 1) {
            let places: BTreeSet<_> = by.iter().map(|index| &*self.drafts[*index].at).collect();
            let places: Vec<_> = places.into_iter().take(5).collect();
            let words = format!("{what} stands there more than once ({})", places.join(", "));
            for index in by {
                let why = Refusal::new(format!("{words}: keep one, or use --rename OLD=NEW"));
                refused.entry(*index).or_insert(why);
            }
        }
        let drafts = std::mem::take(&mut self.drafts);
        for (index, draft) in drafts.into_iter().enumerate() {
            match refused.remove(&index) {
                Some(why) => self.refuse(&draft.at, draft.name.as_str(), why),
                None => self.drafts.push(draft),
            }
        }
        self
    }
}

/// A text of a file as it can be shown: short, and without control characters.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}
