//! Who may call, and what, where no record says it: `default_access`, `default_user`, `[static_keys.NAME]`.

use super::document::Value;
use super::listen::{Listen, TrustedProxies};
use super::reader::{Section, optional, text};
use super::{is_loopback_name, keys};
use crate::identity::KeyDigest;
use crate::names::{ProfileName, UserName};

/// Which servers may be used where no list allows any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultAccess {
    /// All that are not blocked.
    All,
    /// None.
    None,
}

/// A key that is written down here and not issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticKey {
    /// What the configuration calls it.
    pub label: String,
    /// SHA-256 of the key.
    pub digest: KeyDigest,
    /// Whose it is.
    pub user: UserName,
    /// The profile it uses where the path names none.
    pub profile: Option<ProfileName>,
}

/// Who may call, and what, where no record says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct People {
    /// Which servers may be used where no list allows any.
    pub default_access: DefaultAccess,
    /// Who calls without a key; only where nobody but this machine can connect.
    pub default_user: Option<UserName>,
    /// Keys besides those that are issued.
    pub static_keys: Vec<StaticKey>,
}

/// Who can reach the listener: none is what is wrong, and told already.
pub(super) struct Reach<'a> {
    pub(super) listen: Option<&'a Listen>,
    pub(super) proxy_protocol: Option<bool>,
    pub(super) trusted_proxies: Option<&'a TrustedProxies>,
    /// The names by which it may be called.
    pub(super) hosts: &'a [String],
}

pub(super) fn read(root: &Section<'_>, reach: &Reach<'_>) -> Option<People> {
    let default_access = root.required("default_access", access);
    let default_user = optional(root, "default_user", user);
    if let Some(why) = reach
        .refuses_default_user()
        .filter(|_| root.has("default_user"))
    {
        root.fail("default_user", why);
        return None;
    }
    let static_keys = static_keys(root);
    Some(People {
        default_access: default_access?,
        default_user: default_user?,
        static_keys: static_keys?,
    })
}

impl Reach<'_> {
    /// Why whoever can connect must not be taken for a user.
    fn refuses_default_user(&self) -> Option<&'static str> {
        const NAMED: &str = "allowed_hosts has a name that is not this machine's own, so others are passed on \
                             here, who would all be this user; issue keys instead";
        const PROXY: &str = "a proxy in front lets others connect (proxy_protocol, trusted_proxies), who \
                             would all be this user; issue keys instead";
        let loopback = matches!(self.listen?, Listen::Tcp(address) if address.ip().is_loopback());
        if !loopback {
            return Some(
                "everybody who can connect would be this user; set `listen` to a loopback address, \
                 or issue keys instead",
            );
        }
        let proxied = self.proxy_protocol == Some(true)
            || self
                .trusted_proxies
                .is_some_and(|trusted| *trusted != TrustedProxies::default());
        if proxied {
            return Some(PROXY);
        }
        let named = self.hosts.iter().any(|host| !is_loopback_name(host));
        named.then_some(NAMED)
    }
}

fn access(value: &Value) -> Result<DefaultAccess, String> {
    match text(value, "\"all\" or \"none\"")? {
        "all" => Ok(DefaultAccess::All),
        "none" => Ok(DefaultAccess::None),
        _ => Err("write \"all\" or \"none\"".to_owned()),
    }
}

fn user(value: &Value) -> Result<UserName, String> {
    let name = text(value, "the name of a user, such as \"alice\"")?;
    UserName::parse(name).map_err(|error| error.rule())
}

fn static_keys(root: &Section<'_>) -> Option<Vec<StaticKey>> {
    if !root.has("static_keys") {
        return Some(Vec::new());
    }
    let section = root.open("static_keys")?;
    let mut found: Vec<StaticKey> = Vec::new();
    let mut all_well = true;
    for label in section.keys() {
        let key = section
            .section(label, keys::STATIC_KEY)
            .and_then(|section| static_key(&section, label));
        match key {
            Some(key) if found.iter().any(|known| known.digest == key.digest) => {
                section.fail_key(label, "is the same key as another; remove one");
                all_well = false;
            }
            Some(key) => found.push(key),
            None => all_well = false,
        }
    }
    all_well.then_some(found)
}

fn static_key(section: &Section<'_>, label: &str) -> Option<StaticKey> {
    const DIGEST: &str = "the SHA-256 of the key in hexadecimal: printf %s \"$KEY\" | sha256sum";
    let digest = section.required("sha256", |value| {
        let text = text(value, DIGEST)?;
        let digest = KeyDigest::from_hex(&text.to_ascii_lowercase());
        let digest = digest.ok_or_else(|| format!("not a digest; write {DIGEST}"))?;
        if digest == KeyDigest::of_nothing() {
            return Err("the digest of no text at all; write that of the key".to_owned());
        }
        Ok(digest)
    });
    let user = section.required("user", user);
    let profile = optional(section, "profile", |value| {
        let name = text(value, "the name of a profile")?;
        ProfileName::parse(name).map_err(|error| error.rule())
    });
    Some(StaticKey {
        label: label.to_owned(),
        digest: digest?,
        user: user?,
        profile: profile?,
    })
}
