//! Host and Origin, checked before anything else.
//!
//! A listener on loopback is within reach of every web page its user opens: through a name that
//! resolves to 127.0.0.1 (DNS rebinding) or straight away. The page's browser says so in Host and
//! Origin (MCP 2025-11-25, basic/transports "Security Warning").

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Uri};

use crate::rejection::{Kind, Rejection};

/// The hosts and origins that may be named.
#[derive(Debug, Clone)]
pub struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Guard {
    /// Both in lower case; an entry without a port stands for every port.
    #[must_use]
    pub fn new(hosts: Vec<String>, origins: Vec<String>) -> Self {
        Self { hosts, origins }
    }

    /// Whether a request may go on.
    ///
    /// # Errors
    /// Not exactly one Host, one that is not allowed (421), or an Origin that is not (403).
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Rejection> {
        let mut named = headers.get_all(HOST).iter();
        let host = match (named.next(), named.next()) {
            (Some(host), None) => host.as_bytes(),
            _ => return Err(Rejection::new(Kind::ForeignHost)),
        };
        // An absolute request target names a host too; two that differ are somebody's trick.
        let target = uri
            .authority()
            .map(|authority| authority.as_str().as_bytes());
        let agrees = target.is_none_or(|target| target.eq_ignore_ascii_case(host));
        if !agrees || !listed(&self.hosts, host) {
            return Err(Rejection::new(Kind::ForeignHost));
        }
        let allowed = |origin: &http::HeaderValue| listed(&self.origins, origin.as_bytes());
        if headers.get_all(ORIGIN).iter().all(allowed) {
            Ok(())
        } else {
            Err(Rejection::new(Kind::ForeignOrigin))
        }
    }
}

fn listed(list: &[String], value: &[u8]) -> bool {
    list.iter().any(|entry| {
        let Some((head, rest)) = value.split_at_checked(entry.len()) else {
            return false;
        };
        head.eq_ignore_ascii_case(entry.as_bytes())
            && (rest.is_empty() || (is_port(rest) && !has_port(entry)))
    })
}

fn is_port(rest: &[u8]) -> bool {
    matches!(rest.split_first(), Some((b':', digits)) if (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit))
}

fn has_port(entry: &str) -> bool {
    entry
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let own = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect();
        Guard::new(
            own(&["localhost", "127.0.0.1", "[::1]", "mcp.example.com:8443"]),
            own(&["http://localhost", "https://app.example.com:8443"]),
        )
    }

    fn check(list: &[(&'static str, &'static str)]) -> Option<Kind> {
        let headers = list
            .iter()
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .collect();
        guard()
            .check(&"/x/mcp".parse().unwrap(), &headers)
            .err()
            .map(|r| r.kind())
    }

    #[test]
    fn hosts_are_compared_whole() {
        for host in [
            "localhost",
            "LocalHost:1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "mcp.example.com:8443",
        ] {
            assert_eq!(check(&[("host", host)]), None, "{host}");
        }
        for host in [
            "",
            "evil",
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "localhost:",
            "localhost:8080:1",
            "localhost:808080",
            "user@localhost",
            "localhost:80@evil",
            "localhost?",
            "localhost:8a",
            "mcp.example.com",
            "mcp.example.com:8443:1",
            "mcp.example.com:1",
            "[::1]x",
        ] {
            assert_eq!(check(&[("host", host)]), Some(Kind::ForeignHost), "{host}");
        }
        assert_eq!(check(&[]), Some(Kind::ForeignHost));
        assert_eq!(
            check(&[("host", "localhost"), ("host", "localhost")]),
            Some(Kind::ForeignHost)
        );
    }

    #[test]
    fn an_absolute_target_must_agree_with_host() {
        let headers: HeaderMap = [(HOST, "localhost:1".parse().unwrap())]
            .into_iter()
            .collect();
        assert!(
            guard()
                .check(&"http://localhost:1/x/mcp".parse().unwrap(), &headers)
                .is_ok()
        );
        assert!(
            guard()
                .check(&"http://evil/x/mcp".parse().unwrap(), &headers)
                .is_err()
        );
    }

    #[test]
    fn origins_are_compared_whole_and_may_be_absent() {
        for origin in ["http://localhost:6274", "https://app.example.com:8443"] {
            assert_eq!(
                check(&[("host", "localhost"), ("origin", origin)]),
                None,
                "{origin}"
            );
        }
        for origin in [
            "null",
            "http://evil.com",
            "https://localhost",
            "http://localhost.evil.com",
            "https://app.example.com",
        ] {
            assert_eq!(
                check(&[("host", "localhost"), ("origin", origin)]),
                Some(Kind::ForeignOrigin),
                "{origin}"
            );
        }
    }
}
