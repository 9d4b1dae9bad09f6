//! The words of the design as types: names of servers, users, groups, profiles and secrets.
//!
//! A leaf: knows no other module. A value of one of these types has been checked, so the rest of
//! the house never asks again (parse, don't validate).

mod pattern;

use std::fmt;
use std::sync::Arc;

pub use pattern::{Pattern, PatternError};

/// Why a text is not a name; says which characters are allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {rule}")]
pub struct NameError {
    what: &'static str,
    rule: &'static str,
    text: String,
}

impl NameError {
    /// What is allowed, without the text that is not.
    #[must_use]
    pub fn rule(&self) -> String {
        format!("not a {}: {}", self.what, self.rule)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks `text` against the rule of this kind of name.
            ///
            /// # Errors
            /// When a character or the length is not allowed; the error names the rule.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    return Ok(Self(text.into()));
                }
                let shown = text.chars().take(64).flat_map(char::escape_default).collect();
                Err(NameError { what: $what, rule: $rule, text: shown })
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }
    };
}

name!(
    /// An MCP server behind the proxy: `[a-z0-9-]{1,63}`, and none of the words the paths use.
    ServerName,
    "server name",
    "write 1 to 63 of a-z 0-9 - (and not mcp, sse, message or oauth)",
    |t| within(t, 63, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !matches!(t, "mcp" | "sse" | "message" | "oauth")
);

name!(
    /// A person or service account: `[a-z0-9._@+-]{1,128}`.
    UserName,
    "user name",
    "write 1 to 128 of a-z 0-9 . _ @ + -",
    |t| within(t, 128, |b| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || b"._@+-".contains(&b)
    })
);

name!(
    /// Users who share access or secrets: `[a-z0-9._-]{1,63}`.
    GroupName,
    "group name",
    "write 1 to 63 of a-z 0-9 . _ -",
    |t| within(t, 63, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
);

name!(
    /// A named set of secrets of one user for one server: `[a-z0-9._-]{1,63}`.
    ProfileName,
    "profile name",
    "write 1 to 63 of a-z 0-9 . _ -",
    |t| within(t, 63, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
);

name!(
    /// A secret's name within a server and profile: `[A-Za-z_][A-Za-z0-9_]{0,63}`.
    SecretName,
    "secret name",
    "write 1 to 64 of A-Z a-z 0-9 _, not starting with a digit",
    |t| within(t, 64, |b| b.is_ascii_alphanumeric() || b == b'_') && !t.as_bytes()[0].is_ascii_digit()
);

name!(
    /// An e-mail address, as far as it matters for finding somebody by it.
    Email,
    "mail address",
    "write one such as alice@example.com",
    |t| t.len() <= 254
        && t.split_once('@').is_some_and(|(who, at)| !who.is_empty() && !at.is_empty())
        && !t.chars().any(|c| c.is_whitespace() || c.is_control())
);

name!(
    /// What the owner of a key calls it.
    Label,
    "label",
    "write 1 to 128 bytes without control characters",
    |t| !t.is_empty() && t.len() <= 128 && !t.chars().any(char::is_control)
);

impl ProfileName {
    /// The text of [`ProfileName::default_profile`].
    pub const DEFAULT: &str = "default";

    /// The profile used when neither the key nor the path names one.
    #[must_use]
    pub fn default_profile() -> Self {
        Self(Self::DEFAULT.into())
    }
}

fn within(text: &str, max: usize, allowed: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.len() <= max && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_to_their_rule_at_the_edges() {
        assert!(ServerName::parse(&"a".repeat(63)).is_ok());
        for bad in [
            "",
            &"a".repeat(64),
            "A",
            "a_b",
            "mcp",
            "sse",
            "message",
            "oauth",
            "a/b",
        ] {
            assert!(ServerName::parse(bad).is_err(), "{bad}");
        }
        assert!(UserName::parse("a.b_c@d+e-1").is_ok());
        assert!(UserName::parse(&"a".repeat(129)).is_err());
        assert!(SecretName::parse("_A9").is_ok());
        for bad in ["", "9A", "A-B", &"A".repeat(65)] {
            assert!(SecretName::parse(bad).is_err(), "{bad}");
        }
        assert!(ProfileName::parse("work").is_ok() && ProfileName::parse("@work").is_err());
    }

    #[test]
    fn an_error_shows_the_text_without_control_characters() {
        let error = ServerName::parse("a\u{1b}[2J").unwrap_err().to_string();
        assert!(
            error.contains("a-z 0-9") && !error.contains('\u{1b}'),
            "{error}"
        );
    }
}
