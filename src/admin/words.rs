//! Names as requests carry them: checked as they are read, and described.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::names::{
    Email, GroupName, Label, NameError, Pattern, PatternError, ProfileName, SecretName, ServerName,
    UserName,
};

/// A type whose errors never repeat what was sent.
macro_rules! word {
    ($type:ident, $name:ty, $rule:expr, $pattern:literal, $max:literal) => {
        pub(super) struct $type(pub(super) $name);

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let name = <$name>::parse(&text);
                name.map(Self)
                    .map_err(|error| de::Error::custom($rule(&error)))
            }
        }

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                text($pattern, $max)
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                stringify!($type).into()
            }
        }
    };
}

word!(
    User,
    UserName,
    NameError::rule,
    "^[a-z0-9._@+-]{1,128}$",
    128
);
word!(Group, GroupName, NameError::rule, "^[a-z0-9._-]{1,63}$", 63);
word!(Server, ServerName, NameError::rule, "^[a-z0-9-]{1,63}$", 63);
word!(
    Profile,
    ProfileName,
    NameError::rule,
    "^[a-z0-9._-]{1,63}$",
    63
);
word!(
    Secret,
    SecretName,
    NameError::rule,
    "^[A-Za-z_][A-Za-z0-9_]{0,63}$",
    64
);
word!(
    Mail,
    Email,
    NameError::rule,
    "^[^@\\s\\x00-\\x1f\\x7f-\\x9f]+@[^\\s\\x00-\\x1f\\x7f-\\x9f]+$",
    254
);
word!(
    KeyLabel,
    Label,
    NameError::rule,
    "^[^\\x00-\\x1f\\x7f-\\x9f]+$",
    128
);
word!(
    Glob,
    Pattern,
    PatternError::to_string,
    "^[!-~]{1,256}$",
    256
);

impl Serialize for Glob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl Glob {
    pub(super) fn all(patterns: &[Pattern]) -> Vec<Self> {
        patterns.iter().cloned().map(Self).collect()
    }

    pub(super) fn patterns(globs: Vec<Self>) -> Vec<Pattern> {
        globs.into_iter().map(|glob| glob.0).collect()
    }
}

/// The id of a key, of users and administrators alike.
pub(super) struct KeyName(pub(super) crate::identity::KeyId);

impl<'de> Deserialize<'de> for KeyName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const WRONG: &str = "not the id of a key: write its 16 hexadecimal digits";
        let text = String::deserialize(deserializer)?;
        let id = crate::identity::KeyId::parse(&text);
        id.map(Self).ok_or_else(|| de::Error::custom(WRONG))
    }
}

impl PartialSchema for KeyName {
    fn schema() -> RefOr<Schema> {
        text("^[0-9a-f]{16}$", 16)
    }
}

impl ToSchema for KeyName {
    fn name() -> Cow<'static, str> {
        "KeyId".into()
    }
}

fn text(pattern: &str, max: usize) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String);
    let text = text.pattern(Some(pattern)).min_length(Some(1));
    text.max_length(Some(max)).into()
}

/// What is given, `null` included, as against what is not.
pub(super) fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
