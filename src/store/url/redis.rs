//! The Redis URLs. A list of servers is separated by commas; `rediss` instead of `redis` is TLS.
//!
//! | URL | what it names |
//! |---|---|
//! | `redis://[USER:PASSWORD@]HOST[:6379][/DB]` | one server |
//! | `redis+sentinel://[USER:PASSWORD@]HOST[:26379],…/MASTER[/DB]` | Sentinels, and the name they know a master by |
//! | `redis+cluster://[USER:PASSWORD@]HOST[:6379],…` | some nodes of a Cluster; the others are found |
//!
//! User and password are percent-encoded, and those of the servers that keep records: Sentinels have a
//! login of their own (`store.sentinel_user`, `store.sentinel_password`).

use std::fmt;

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::UrlError;

/// The port of Redis when the URL names none.
const REDIS_PORT: u16 = 6379;
/// The port of a Sentinel when the URL names none.
const SENTINEL_PORT: u16 = 26379;

/// Redis servers and how to log in to them.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::store) struct RedisUrl {
    pub(in crate::store) servers: Servers,
    pub(in crate::store) db: u32,
    pub(in crate::store) login: Option<Login>,
    pub(in crate::store) tls: bool,
}

/// Which servers keep the records.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::store) enum Servers {
    One(Address),
    /// The master of this name, wherever the Sentinels say it is.
    Sentinels {
        sentinels: Vec<Address>,
        master: String,
    },
    /// All masters of the Cluster these nodes belong to.
    Cluster(Vec<Address>),
}

/// Where one server listens.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(in crate::store) struct Address {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub(in crate::store) host: String,
    pub(in crate::store) port: u16,
}

/// How to log in to a server. It holds a password, so it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// `None`: the server's default user.
    pub user: Option<String>,
    /// Never empty.
    pub password: Zeroizing<String>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl RedisUrl {
    /// `None` when the scheme is not one of these.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, UrlError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(None);
        };
        let (scheme, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Ok(None),
        };
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(Login::parse(login)?), rest),
            None => (None, rest),
        };
        if rest.contains(['?', '#']) {
            return Err(UrlError::Malformed("it takes no ?options or #fragment"));
        }
        let (servers, db) = match kind {
            "" => one(rest)?,
            "sentinel" => sentinels(rest)?,
            "cluster" => (Servers::Cluster(cluster(rest)?), 0),
            _ => return Ok(None),
        };
        Ok(Some(Self {
            servers,
            db,
            login,
            tls,
        }))
    }

    pub(super) fn shown(&self) -> String {
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
        match &self.servers {
            Servers::One(address) => format!("{scheme}://{login}{address}{db}"),
            Servers::Sentinels { sentinels, master } => {
                format!(
                    "{scheme}+sentinel://{login}{}/{master}{db}",
                    list(sentinels)
                )
            }
            Servers::Cluster(nodes) => format!("{scheme}+cluster://{login}{}", list(nodes)),
        }
    }

    /// The servers, for messages.
    pub(in crate::store) fn place(&self) -> String {
        match &self.servers {
            Servers::One(address) => address.to_string(),
            Servers::Sentinels { sentinels, master } => {
                format!("{master} (Sentinels {})", list(sentinels))
            }
            Servers::Cluster(nodes) => format!("the Cluster of {}", list(nodes)),
        }
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

fn list(addresses: &[Address]) -> String {
    let addresses: Vec<_> = addresses.iter().map(Address::to_string).collect();
    addresses.join(",")
}

fn one(rest: &str) -> Result<(Servers, u32), UrlError> {
    let (address, db) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((
        Servers::One(self::address(address, REDIS_PORT)?),
        number(db)?,
    ))
}

fn sentinels(rest: &str) -> Result<(Servers, u32), UrlError> {
    let no_name = UrlError::Malformed(
        "after the Sentinels comes the name of their master, as in redis+sentinel://a,b,c/mymaster",
    );
    let (addresses, rest) = rest.split_once('/').ok_or(no_name)?;
    let (master, db) = rest.split_once('/').unwrap_or((rest, ""));
    if master.is_empty() || !master.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(no_name);
    }
    let servers = Servers::Sentinels {
        sentinels: addresses_of(addresses, SENTINEL_PORT)?,
        master: master.to_owned(),
    };
    Ok((servers, number(db)?))
}

fn cluster(rest: &str) -> Result<Vec<Address>, UrlError> {
    let (addresses, db) = rest.split_once('/').unwrap_or((rest, ""));
    if number(db)? != 0 {
        return Err(UrlError::Malformed("a Cluster has no database but 0"));
    }
    addresses_of(addresses, REDIS_PORT)
}

fn addresses_of(text: &str, port: u16) -> Result<Vec<Address>, UrlError> {
    text.split(',').map(|text| address(text, port)).collect()
}

fn number(db: &str) -> Result<u32, UrlError> {
    match db {
        "" => Ok(0),
        db => db
            .parse()
            .map_err(|_| UrlError::Malformed("what follows / is a database number")),
    }
}

fn decoded(text: &str) -> Result<String, UrlError> {
    let text = percent_decode_str(text).decode_utf8();
    let text = text.map_err(|_| UrlError::Malformed("user and password are not UTF-8"))?;
    Ok(text.into_owned())
}

fn address(text: &str, default_port: u16) -> Result<Address, UrlError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, port) = v6
                .split_once(']')
                .ok_or(UrlError::Malformed("an IPv6 address ends with ]"))?;
            (host, port.strip_prefix(':').unwrap_or(port))
        }
        None => text.rsplit_once(':').unwrap_or((text, "")),
    };
    if host.is_empty() || (host.contains(':') && !text.starts_with('[')) {
        return Err(UrlError::Malformed(
            "it needs a host, as in redis://127.0.0.1:6379/0",
        ));
    }
    let port = match port {
        "" => default_port,
        port => match port.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(UrlError::Malformed("the port is a number from 1 to 65535")),
        },
    };
    Ok(Address {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_the_password() {
        let url = RedisUrl::parse("redis://me:a%3Ab%2F@h").unwrap().unwrap();
        let login = url.login.unwrap();
        assert_eq!(
            (login.user.as_deref(), login.password.as_str()),
            (Some("me"), "a:b/")
        );
    }
}
