//! Where the store is: `sqlite:PATH`, `memory:`, `redis://…` or `rediss://…`.
//!
//! The text may hold a password. So nothing here can be printed by accident: [`StoreUrl`] has no
//! `Debug` or `Display`, no error repeats the text, and [`StoreUrl::shown`] hides the password.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

/// The port of Redis when the URL names none.
const REDIS_PORT: u16 = 6379;

/// Where the store is, checked.
#[derive(Clone)]
pub struct StoreUrl(pub(super) Place);

#[derive(Clone)]
pub(super) enum Place {
    Memory,
    Redis(RedisUrl),
    Sqlite(PathBuf),
}

/// One Redis server and how to log in to it.
#[derive(Clone)]
pub(super) struct RedisUrl {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) db: u32,
    pub(super) login: Option<Login>,
    pub(super) tls: bool,
}

#[derive(Clone)]
pub(super) struct Login {
    /// `None`: the server's default user.
    pub(super) user: Option<String>,
    pub(super) password: Zeroizing<String>,
}

/// Why a text is not the URL of a store. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Sentinel and Cluster are announced, not built.
    #[error("{0}:// comes in a later release; this one knows sqlite:, redis:// and rediss://")]
    LaterRelease(&'static str),
    /// The part after the scheme is not as it should be; says how it should be.
    #[error("the store's URL is malformed: {0}")]
    Malformed(&'static str),
    /// The scheme is none of ours.
    #[error(
        "the store's URL must start with sqlite: (as in sqlite:cloakroom.db), redis:// or rediss://"
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
        for (scheme, tls) in [("redis://", false), ("rediss://", true)] {
            if let Some(rest) = text.strip_prefix(scheme) {
                return RedisUrl::parse(rest, tls).map(|url| Self(Place::Redis(url)));
            }
        }
        for later in [
            "redis+sentinel",
            "rediss+sentinel",
            "redis+cluster",
            "rediss+cluster",
        ] {
            if text
                .strip_prefix(later)
                .is_some_and(|rest| rest.starts_with(':'))
            {
                return Err(UrlError::LaterRelease(later));
            }
        }
        Err(UrlError::UnknownScheme)
    }

    /// Whether it is reached by TLS, and certificates are of use.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(&self.0, Place::Redis(url) if url.tls)
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
}

impl RedisUrl {
    fn parse(rest: &str, tls: bool) -> Result<Self, UrlError> {
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(Login::parse(login)?), rest),
            None => (None, rest),
        };
        if rest.contains(['?', '#']) {
            return Err(UrlError::Malformed("it takes no ?options or #fragment"));
        }
        let (address, db) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = host_and_port(address)?;
        let db = match db {
            "" => 0,
            db => db
                .parse()
                .map_err(|_| UrlError::Malformed("what follows / is a database number"))?,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            db,
            login,
            tls,
        })
    }

    fn shown(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let login = match &self.login {
            None => String::new(),
            Some(login) => format!("{}:***@", login.user.as_deref().unwrap_or_default()),
        };
        let db = if self.db == 0 {
            String::new()
        } else {
            format!("/{}", self.db)
        };
        format!("{scheme}://{login}{}{db}", self.address())
    }

    /// `host:port`, for messages.
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') {
            return format!("[{}]:{}", self.host, self.port);
        }
        format!("{}:{}", self.host, self.port)
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, UrlError> {
        let no_password = UrlError::Malformed("what stands before @ is user:password");
        let (user, password) = text.split_once(':').ok_or(no_password)?;
        if password.is_empty() {
            return Err(no_password);
        }
        let user = decoded(user)?;
        let user = (!user.is_empty()).then_some(user);
        Ok(Self {
            user,
            password: Zeroizing::new(decoded(password)?),
        })
    }
}

fn decoded(text: &str) -> Result<String, UrlError> {
    let text = percent_decode_str(text).decode_utf8();
    let text = text.map_err(|_| UrlError::Malformed("user and password are not UTF-8"))?;
    Ok(text.into_owned())
}

fn host_and_port(address: &str) -> Result<(&str, u16), UrlError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(v6) => {
            let (host, port) = v6
                .split_once(']')
                .ok_or(UrlError::Malformed("an IPv6 address ends with ]"))?;
            (host, port.strip_prefix(':').unwrap_or(port))
        }
        None => address.rsplit_once(':').unwrap_or((address, "")),
    };
    if host.is_empty() || (host.contains(':') && !address.starts_with('[')) {
        return Err(UrlError::Malformed(
            "it needs a host, as in redis://127.0.0.1:6379/0",
        ));
    }
    match port {
        "" => Ok((host, REDIS_PORT)),
        port => match port.parse() {
            Ok(port) if port > 0 => Ok((host, port)),
            _ => Err(UrlError::Malformed("the port is a number from 1 to 65535")),
        },
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
        ] {
            assert_eq!(
                parse(text).ok().map(|url| url.shown()).as_deref(),
                Some(shown),
                "{text}"
            );
        }
    }

    #[test]
    fn decodes_the_password() {
        let Ok(StoreUrl(Place::Redis(url))) = parse("redis://me:a%3Ab%2F@h") else {
            panic!()
        };
        let login = url.login.unwrap();
        assert_eq!(
            (login.user.as_deref(), login.password.as_str()),
            (Some("me"), "a:b/")
        );
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
            "redis+cluster://:hunter2@h",
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
        let later = parse("redis+cluster://h").err();
        assert_eq!(later, Some(UrlError::LaterRelease("redis+cluster")));
    }
}
