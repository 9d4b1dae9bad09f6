//! Where the store is: `sqlite:PATH`, `memory:`, or one of the Redis URLs of [`redis`].
//!
//! The text may hold a password. So nothing here can be printed by accident: [`StoreUrl`] has no
//! `Debug` or `Display`, no error repeats the text, and [`StoreUrl::shown`] hides the password.

mod redis;

use std::path::{Path, PathBuf};

pub use self::redis::Login;
pub(super) use self::redis::{Address, RedisUrl, Servers};

/// Where the store is, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(pub(super) Place);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    Memory,
    Redis(RedisUrl),
    Sqlite(PathBuf),
}

/// Why a text is not the URL of a store. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// The part after the scheme is not as it should be; says how it should be.
    #[error("the store's URL is malformed: {0}")]
    Malformed(&'static str),
    /// The scheme is none of ours.
    #[error(
        "the store's URL must start with sqlite: (as in sqlite:cloakroom.db), redis://, \
         redis+sentinel:// or redis+cluster:// (rediss for TLS)"
    )]
    UnknownScheme,
}

impl StoreUrl {
    /// Parses `text`; a relative path in it starts at `base`.
    ///
    /// # Errors
    /// Says what to write instead.
    pub fn parse(text: &str, base: &Path) -> Result<Self, UrlError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            return sqlite_path(path, base).map(|path| Self(Place::Sqlite(path)));
        }
        if let Some(rest) = text.strip_prefix("memory:") {
            let place = rest.is_empty().then_some(Self(Place::Memory));
            return place.ok_or(UrlError::Malformed("nothing may follow memory:"));
        }
        if let Some(url) = RedisUrl::parse(text)? {
            return Ok(Self(Place::Redis(url)));
        }
        Err(UrlError::UnknownScheme)
    }

    /// Whether it is reached by TLS, and certificates are of use.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(&self.0, Place::Redis(url) if url.tls)
    }

    /// Whether it is a file of SQLite's.
    #[must_use]
    pub fn is_sqlite(&self) -> bool {
        matches!(self.0, Place::Sqlite(_))
    }

    /// Whether it is in Redis, of whatever kind.
    #[must_use]
    pub fn is_redis(&self) -> bool {
        matches!(self.0, Place::Redis(_))
    }

    /// The file it is, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Place::Sqlite(path) => Some(path),
            Place::Memory | Place::Redis(_) => None,
        }
    }

    /// The URL as it may be shown: a password is `***`.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.0 {
            Place::Memory => "memory:".to_owned(),
            Place::Sqlite(path) => format!("sqlite:{}", path.display()),
            Place::Redis(url) => url.shown(),
        }
    }

    /// Whether Sentinels are asked where the store is.
    #[must_use]
    pub fn has_sentinels(&self) -> bool {
        matches!(&self.0, Place::Redis(url) if matches!(url.servers, Servers::Sentinels { .. }))
    }
}

fn sqlite_path(path: &str, base: &Path) -> Result<PathBuf, UrlError> {
    if path.is_empty() || path.starts_with("//") {
        return Err(UrlError::Malformed(
            "after sqlite: comes the path of a file, as in sqlite:cloakroom.db or sqlite:/var/lib/cloakroom/cloakroom.db",
        ));
    }
    // SQLite itself gives these two a meaning of its own: neither would be the file one expects.
    if path.starts_with(":memory:") || path.starts_with("file:") {
        return Err(UrlError::Malformed(
            "after sqlite: comes a path, not a SQLite URI",
        ));
    }
    Ok(base.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StoreUrl, UrlError> {
        StoreUrl::parse(text, Path::new("/etc/cloakroom"))
    }

    #[test]
    fn shows_everything_but_the_password() {
        for (text, shown) in [
            ("sqlite:a.db", "sqlite:/etc/cloakroom/a.db"),
            ("sqlite:/x/a.db", "sqlite:/x/a.db"),
            ("memory:", "memory:"),
            ("redis://localhost", "redis://localhost:6379"),
            ("redis://:hunter2@h:1/3", "redis://:***@h:1/3"),
            (
                "rediss://me:hun%40ter2@[::1]/",
                "rediss://me:***@[::1]:6379",
            ),
            ("redis://me:hun@ter2@h", "redis://me:***@h:6379"),
            (
                "rediss+sentinel://me:hun@a,b:1,[::1]/main/2",
                "rediss+sentinel://me:***@a:26379,b:1,[::1]:26379/main/2",
            ),
            ("redis+sentinel://a/main", "redis+sentinel://a:26379/main"),
            (
                "redis+cluster://:p@a,b:1",
                "redis+cluster://:***@a:6379,b:1",
            ),
        ] {
            assert_eq!(
                parse(text).ok().map(|url| url.shown()).as_deref(),
                Some(shown),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_without_repeating_the_text() {
        for text in [
            "",
            "hunter2",
            "hunter2:",
            "redis:hunter2",
            "redis://",
            "redis://hunter2@h",
            "redis://me:@h",
            "redis://:hunter2@h:0",
            "redis://:hunter2@h:hunter2",
            "redis://:hunter2@h/hunter2",
            "redis://:hunter2@h?hunter2",
            "redis://:hunter2@::1",
            "redis+sentinel://:hunter2@h",
            "redis+sentinel://:hunter2@h/",
            "redis+sentinel://:hunter2@h/hun ter2",
            "redis+sentinel://:hunter2@/main",
            "redis+sentinel://:hunter2@a,,b/main",
            "redis+cluster://:hunter2@",
            "redis+cluster://:hunter2@a,",
            "redis+cluster://:hunter2@a/1",
            "redis+other://:hunter2@h",
            "sqlite:",
            "sqlite://hunter2",
            "sqlite::memory:",
            "sqlite:file:hunter2",
            "memory:hunter2",
        ] {
            let error = parse(text)
                .err()
                .unwrap_or_else(|| panic!("{text} was taken"));
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
