//! Host, Origin and form of a request, checked before anything else.
//!
//! A listener on loopback is within reach of every web page its user opens: through a name that
//! resolves to 127.0.0.1 (DNS rebinding) or straight away. The page's browser says so in Host and
//! Origin (MCP 2025-11-25, basic/transports "Security Warning").

use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::layer::Head;
use crate::rejection::{Kind, Rejection};

/// The hosts and origins that may be named.
#[derive(Debug, Clone)]
pub struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
    /// Of this one and its clones, who say the same.
    number: u64,
}

impl Guard {
    /// Both in lower case; an entry without a port stands for every port.
    #[must_use]
    pub fn new(hosts: Vec<String>, origins: Vec<String>) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Self {
            hosts,
            origins,
            number,
        }
    }

    /// As [`Guard::check`], which is asked but once of a head that comes again.
    pub(super) fn check_once(&self, head: &Head) -> Result<(), Rejection> {
        if !head.was_passed_by(self.number) {
            self.check(head)?;
            head.pass(self.number);
        }
        Ok(())
    }

    /// Whether a request may go on, whichever version of HTTP brought it. Of one of HTTP/1.1 the form was
    /// judged by its bytes.
    ///
    /// # Errors
    /// A form nobody here sends (400), not exactly one host or one that is not allowed (421), or an
    /// Origin that is not (403).
    pub fn check(&self, head: &Parts) -> Result<(), Rejection> {
        if head.version == Version::HTTP_2 {
            well_formed(head)?;
        }
        if !self.is_for_us(&head.uri, &head.headers) {
            return Err(Rejection::new(Kind::ForeignHost));
        }
        if self.may_come(&head.headers) {
            Ok(())
        } else {
            Err(Rejection::new(Kind::ForeignOrigin))
        }
    }

    /// Whether exactly one host is named, and allowed.
    #[must_use]
    pub fn names_us<B>(&self, request: &Request<B>) -> bool {
        self.is_for_us(request.uri(), request.headers())
    }

    /// Whether no origin is named, or one that is allowed.
    #[must_use]
    pub fn may_come(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => true,
            (Some(origin), None) => listed(&self.origins, origin.as_bytes()),
            (Some(_), Some(_)) => false,
        }
    }

    /// One host is named, once or, by target (`:authority` in HTTP/2) and Host, twice alike: two that
    /// differ are somebody's trick.
    fn is_for_us(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut named = headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
        let target = uri.authority().map(|name| name.as_str().as_bytes());
        match (named.next(), named.next(), target) {
            (Some(host), None, None) | (None, _, Some(host)) => listed(&self.hosts, host),
            (Some(host), None, Some(target)) => {
                target.eq_ignore_ascii_case(host) && listed(&self.hosts, host)
            }
            (Some(_), Some(_), _) | (None, _, None) => false,
        }
    }
}

/// What [`super::strict`] refuses by the bytes of HTTP/1.1, as far as it can be seen on a request of
/// HTTP/2, which has no other bytes to judge.
fn well_formed(head: &Parts) -> Result<(), Rejection> {
    let method = head.method.as_str().bytes();
    let headers = &head.headers;
    let why = if !method.into_iter().all(|b| b.is_ascii_uppercase()) {
        "a method is written in capital letters"
    } else if head.method == Method::CONNECT || !head.uri.path().starts_with('/') {
        "the target has no absolute path"
    } else if headers.keys().any(|name| has_underscore(name.as_str())) {
        "a header's name has an underscore"
    } else if !headers.values().all(is_visible) {
        "there is a control character, or one outside ASCII, in the head"
    } else if CONNECTION_ONLY
        .iter()
        .any(|name| headers.contains_key(name))
    {
        "there is a header that HTTP/2 does not have"
    } else if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        "there is more than one Content-Length header"
    } else {
        return Ok(());
    };
    let text = format!("this is not HTTP as it is accepted here: {why}");
    Err(Rejection::with_text(Kind::MalformedRequest, text))
}

/// RFC 9113, 8.2.2.
static CONNECTION_ONLY: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// But in the part of `Mcp-Param-*` that a server chose.
fn has_underscore(name: &str) -> bool {
    name.contains('_') && !name.starts_with("mcp-param-")
}

fn is_visible(value: &HeaderValue) -> bool {
    let visible = |b: &u8| matches!(b, b' '..=b'~' | b'\t');
    value.as_bytes().iter().all(visible)
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

    fn request(target: &str, list: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::post(target);
        for (name, value) in list {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn verdict(request: &Request<()>) -> Option<Kind> {
        let (head, ()) = request.clone().into_parts();
        guard().check(&head).err().map(|r| r.kind())
    }

    fn check(list: &[(&str, &str)]) -> Option<Kind> {
        verdict(&request("/x/mcp", list))
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
        for (target, host, refused) in [
            ("http://localhost:1/x/mcp", Some("localhost:1"), None),
            (
                "http://evil/x/mcp",
                Some("localhost:1"),
                Some(Kind::ForeignHost),
            ),
            (
                "http://localhost:1/x/mcp",
                Some("localhost"),
                Some(Kind::ForeignHost),
            ),
            ("http://localhost:1/x/mcp", None, None),
            ("http://evil/x/mcp", None, Some(Kind::ForeignHost)),
            ("http://evil/x/mcp", Some("evil"), Some(Kind::ForeignHost)),
        ] {
            let host = host.map(|host| ("host", host));
            let request = request(target, host.as_slice());
            assert_eq!(verdict(&request), refused, "{target} {host:?}");
        }
    }

    // Fails when one of the conditions of `well_formed` is taken out.
    #[test]
    fn what_the_reader_of_bytes_refuses_is_refused_in_http_2() {
        let second = |name: &str, value: &[u8]| {
            let mut request = request("https://localhost/x/mcp", &[]);
            *request.version_mut() = Version::HTTP_2;
            let name: HeaderName = name.parse().unwrap();
            let value = HeaderValue::from_bytes(value).unwrap();
            request.headers_mut().append(name, value);
            request
        };
        for good in ["accept", "mcp-param-user_id", "host"] {
            assert_eq!(verdict(&second(good, b"localhost")), None, "{good}");
        }
        for bad in [
            "content_length",
            "mcp-session_id",
            "connection",
            "transfer-encoding",
            "upgrade",
            "keep-alive",
            "proxy-connection",
        ] {
            let refused = verdict(&second(bad, b"1"));
            assert_eq!(refused, Some(Kind::MalformedRequest), "{bad}");
        }
        let refused = verdict(&second("accept", b"caf\xe9"));
        assert_eq!(refused, Some(Kind::MalformedRequest));
        let mut twice = second("content-length", b"1");
        twice
            .headers_mut()
            .append("content-length", "1".parse().unwrap());
        assert_eq!(verdict(&twice), Some(Kind::MalformedRequest));
        for method in ["post", "CONNECT", "X-Y"] {
            let mut request = second("accept", b"1");
            *request.method_mut() = method.parse().unwrap();
            let refused = verdict(&request);
            assert_eq!(refused, Some(Kind::MalformedRequest), "{method}");
        }
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
            "",
        ] {
            assert_eq!(
                check(&[("host", "localhost"), ("origin", origin)]),
                Some(Kind::ForeignOrigin),
                "{origin}"
            );
        }
        let twice = ("origin", "http://localhost");
        let refused = check(&[("host", "localhost"), twice, twice]);
        assert_eq!(refused, Some(Kind::ForeignOrigin));
    }
}
