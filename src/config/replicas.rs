//! The replicas of a server, and how they are checked.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, PathAndQuery};

use super::reader::{Section, text};
use super::{keys, values};

/// Replicas a server may have.
const MOST: usize = 256;
/// How often they are checked, unless said.
const EVERY: Duration = Duration::from_secs(5);

const EXAMPLE: &str = "[\"10.0.0.1:9001\", \"10.0.0.2:9001\"]";

/// Which addresses stand for the host of a server's URL.
#[derive(Clone, PartialEq, Eq)]
pub enum Replicas {
    /// The host itself.
    Host,
    /// These hosts and ports, one to 256, in lower case, no two the same.
    Listed(Vec<(String, u16)>),
    /// Every address the host has, which is a name, looked up again and again.
    Dns,
}

/// How the replicas of a server are checked, besides by the requests they get.
#[derive(Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// How long it is waited between two rounds: 100 ms to 1 h.
    pub every: Duration,
    /// What is asked for; `None` only opens a connection.
    pub path: Option<PathAndQuery>,
}

/// `replicas`, beside a server's URL.
pub(super) fn read(section: &Section<'_>, url: Option<&Uri>) -> Option<Replicas> {
    const KEY: &str = "replicas";
    if !section.has(KEY) {
        return Some(Replicas::Host);
    }
    let is_dns = section.read(KEY, |value| Ok(text(value, "") == Ok("dns")))?;
    if is_dns {
        let host = url.and_then(Uri::host).unwrap_or_default();
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            let message = format!(
                "\"dns\" looks up the URL's host, which is an address; write a name there, or a list: {EXAMPLE}"
            );
            section.fail(KEY, message);
            return None;
        }
        return Some(Replicas::Dns);
    }
    let listed = section.list(KEY, &format!("{EXAMPLE}, or \"dns\""), address)?;
    let distinct: BTreeSet<_> = listed.iter().collect();
    let wrong = if listed.is_empty() {
        format!("is empty; name one at least, as in {EXAMPLE}, or remove the key")
    } else if distinct.len() < listed.len() {
        "names an address twice; remove one".to_owned()
    } else if listed.len() > MOST {
        format!("names more than {MOST} addresses")
    } else {
        return Some(Replicas::Listed(listed));
    };
    section.fail(KEY, wrong);
    None
}

/// A host or IP address and a port.
fn address(text: &str) -> Result<(String, u16), String> {
    const WANTED: &str = "not a host and port; write for example \"10.0.0.1:9001\", \"[::1]:9001\" or \"mcp-0:9001\"";
    let authority: Authority = text.parse().map_err(|_| WANTED)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    let port = authority.port_u16().ok_or(WANTED)?;
    if !text.bytes().all(plain) || !values::well_formed(&authority) {
        return Err(WANTED.to_owned());
    }
    let host = authority.host().trim_matches(['[', ']']);
    let host = match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_string(),
        Err(_) => host.to_ascii_lowercase(),
    };
    Ok((host, port))
}

/// `health_check`. The outer `None` is an error, the inner one the absence of the key.
pub(super) fn read_check(section: &Section<'_>) -> Option<Option<HealthCheck>> {
    const KEY: &str = "health_check";
    if !section.has(KEY) {
        return Some(None);
    }
    if !cfg!(feature = "pingora-lb") {
        let message = "this build has no active health checks; build one with \
                       `cargo build --release --features pingora-lb` (needs cmake), or remove the key";
        section.fail_key(KEY, message);
        return None;
    }
    if !section.has("replicas") {
        section.fail_key(
            KEY,
            "is for servers with `replicas`: one alone is always tried",
        );
        return None;
    }
    let check = section.section(KEY, keys::HEALTH_CHECK)?;
    let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(60 * 60));
    let every = match check.has("every") {
        false => Some(EVERY),
        true => check.read("every", |value| values::duration(value, shortest, longest)),
    };
    let path = match check.has("path") {
        false => Some(None),
        true => check.read("path", path).map(Some),
    };
    Some(Some(HealthCheck {
        every: every?,
        path: path?,
    }))
}

fn path(value: &super::document::Value) -> Result<PathAndQuery, String> {
    const WANTED: &str = "a path such as \"/mcp\"";
    let text = text(value, WANTED)?;
    let parsed = text.parse().ok();
    let whole = parsed.filter(|_| text.starts_with('/') && !text.contains('#'));
    whole.ok_or_else(|| format!("not a path; write {WANTED}"))
}
