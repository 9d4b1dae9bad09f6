//! Which headers pass the proxy, and whether those a client sends agree with its body.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::scan::Message;

/// `MCP-Protocol-Version` (MCP 2025-06-18 on).
pub const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// `Mcp-Session-Id` (MCP 2025-03-26 to 2025-11-25).
pub const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// `Last-Event-ID` (the SSE standard, WHATWG HTML 9.2).
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// `Mcp-Method` (MCP 2026-07-28).
pub const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// `Mcp-Name` (MCP 2026-07-28).
pub const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Two of these would let two readers take different ones.
static ONCE: [HeaderName; 5] = [
    MCP_PROTOCOL_VERSION,
    MCP_METHOD,
    MCP_NAME,
    MCP_SESSION_ID,
    LAST_EVENT_ID,
];

/// What happens to a header on its way through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// Goes on as it is.
    AsIs,
    /// Is an id that is sealed outside the house: opened on the way in, sealed on the way out.
    Sealed,
    /// Stays here.
    Dropped,
}

/// What becomes of a client's request header on the way to a backend.
///
/// An allow-list, so that neither the client's key nor cookies, forwarding or identity headers ever
/// reach a backend. `Mcp-*` passes whole: an unknown `Mcp-Param-*` must be forwarded (MCP
/// 2026-07-28, Streamable HTTP "Server Behavior for Custom Headers").
#[must_use]
pub fn to_backend(name: &HeaderName) -> Passage {
    match name.as_str() {
        "mcp-session-id" | "last-event-id" => Passage::Sealed,
        "accept" | "content-type" | "user-agent" | "traceparent" | "tracestate" => Passage::AsIs,
        name if is_mcp(name) => Passage::AsIs,
        _ => Passage::Dropped,
    }
}

/// `mcp-session_id` is `Mcp-Session-Id` to a backend behind CGI or WSGI, which write every `-` as
/// `_`. So an underscore may stand only in the part of a parameter's name that its server chose.
fn is_mcp(name: &str) -> bool {
    let fixed = name
        .strip_prefix("mcp-param-")
        .map_or(name, |_| "mcp-param-");
    fixed.starts_with("mcp-") && !fixed.contains('_')
}

/// Whether `Content-Type` leaves but one way to read a body that was judged as JSON in UTF-8: it is
/// missing, or stands there once as `application/json`, with no parameter but a `charset` of UTF-8.
///
/// A backend that goes by another charset (iconv knows `utf-7`) or another type would read another
/// message than was judged.
#[must_use]
pub fn says_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) => is_json_in_utf8(value.as_bytes()),
        (Some(_), Some(_)) => false,
    }
}

fn is_json_in_utf8(value: &[u8]) -> bool {
    let mut parts = value.split(|&b| b == b';').map(<[u8]>::trim_ascii);
    let kind = parts.next().unwrap_or_default();
    let charset = parts.next().is_none_or(|parameter| {
        [&b"charset=utf-8"[..], b"charset=\"utf-8\""]
            .iter()
            .any(|known| parameter.eq_ignore_ascii_case(known))
    });
    kind.eq_ignore_ascii_case(b"application/json") && charset && parts.next().is_none()
}

/// What becomes of a backend's response header on the way to a client.
#[must_use]
pub fn to_client(name: &HeaderName) -> Passage {
    match name.as_str() {
        "mcp-session-id" => Passage::Sealed,
        "content-type"
        | "cache-control"
        | "retry-after"
        | "x-accel-buffering"
        | "mcp-protocol-version" => Passage::AsIs,
        _ => Passage::Dropped,
    }
}

/// A header that contradicts the body, or stands there twice. Does not hold the value.
///
/// Answered with 400 and -32020 (MCP 2026-07-28, Streamable HTTP "Server Validation").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMismatch {
    header: HeaderName,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Repeated,
    Differs,
    Undecodable,
    Batch,
    Missing,
}

impl HeaderMismatch {
    /// The header at fault.
    #[must_use]
    pub fn header(&self) -> &HeaderName {
        &self.header
    }
}

impl fmt::Display for HeaderMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = &self.header;
        match self.why {
            Why::Repeated => write!(f, "header {header} must be sent only once"),
            Why::Differs => write!(f, "header {header} does not match the body"),
            Why::Undecodable => write!(f, "header {header} is not valid =?base64?…?= text"),
            Why::Batch => write!(f, "header {header} cannot go with a batch"),
            Why::Missing => write!(f, "header {header} is missing"),
        }
    }
}

impl std::error::Error for HeaderMismatch {}

/// The headers that mirror a body: taken out of all once, for every body that comes with those.
pub(crate) struct Metadata {
    once: Result<(), HeaderMismatch>,
    version: Option<HeaderValue>,
    method: Option<HeaderValue>,
    name: Option<HeaderValue>,
}

impl Metadata {
    /// Those of `headers`.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let get = |name| headers.get(name).cloned();
        Self {
            once: check_once(headers),
            version: get(MCP_PROTOCOL_VERSION),
            method: get(MCP_METHOD),
            name: get(MCP_NAME),
        }
    }

    /// Whether they say what the body says, in either era.
    ///
    /// `MCP-Protocol-Version` is held against the version in `_meta`, `Mcp-Method` against the method,
    /// `Mcp-Name` against `params.name`, `params.uri` or `params.taskId`, whichever the method is about
    /// (MCP 2026-07-28, Streamable HTTP "Request Metadata"; task ids: SEP-2663). Values are compared to
    /// the letter after trimming spaces and tabs; a `Mcp-Name` in the `=?base64?…?=` form is decoded
    /// before.
    ///
    /// Only a contradiction is refused. A header that is missing, though the revision wants it, is the
    /// backend's to refuse: it knows which revisions it speaks, and a client probing for one must get
    /// the backend's own answer. `Mcp-Param-*` is left to the backend too: which argument such a header
    /// mirrors is said only in the tool's schema, which need not have passed through here.
    ///
    /// # Errors
    /// Names the first header that contradicts the body or is repeated.
    pub(crate) fn check(&self, message: &Message<'_>) -> Result<(), HeaderMismatch> {
        self.once.clone()?;
        if let (Some(value), Some(version)) = (&self.version, &message.protocol_version) {
            must_equal(MCP_PROTOCOL_VERSION, trimmed(value), version.as_bytes())?;
        }
        if let Some(value) = &self.method {
            // A response has no method, so none is right.
            let method = message.method.as_deref().unwrap_or_default();
            must_equal(MCP_METHOD, trimmed(value), method.as_bytes())?;
        }
        let Some(value) = &self.name else {
            return Ok(());
        };
        // A method of a later revision may have a name we cannot know.
        let Some(named) = name(message) else {
            return Ok(());
        };
        let value = decoded(trimmed(value)).ok_or(HeaderMismatch {
            header: MCP_NAME,
            why: Why::Undecodable,
        })?;
        must_equal(MCP_NAME, &value, named.unwrap_or_default().as_bytes())
    }
}

/// Whether the headers are there that a request of MCP 2026-07-28 must have (Streamable HTTP "Request
/// Metadata"): for who answers such requests, and does not only pass them on.
///
/// # Errors
/// Names the first that is missing.
pub fn check_present(headers: &HeaderMap, message: &Message<'_>) -> Result<(), HeaderMismatch> {
    // `tasks/result` went with SEP-2663, which is said whether or not it is named.
    let is_gone = message.method.as_deref() == Some("tasks/result");
    let named = name(message).flatten().filter(|_| !is_gone);
    let named = named.map(|_| MCP_NAME);
    let wanted = [MCP_PROTOCOL_VERSION, MCP_METHOD].into_iter().chain(named);
    let missing = wanted
        .into_iter()
        .find(|header| !headers.contains_key(header));
    missing.map_or(Ok(()), |header| {
        let why = Why::Missing;
        Err(HeaderMismatch { header, why })
    })
}

/// What `Mcp-Name` has to say of a message: `Some(None)` where the message lacks it, `None` where its
/// method has no such name that we know.
#[must_use]
pub fn name<'m>(message: &'m Message<'_>) -> Option<Option<&'m str>> {
    let named = match message.method.as_deref()? {
        "tools/call" | "prompts/get" => &message.name,
        "resources/read" => &message.uri,
        "tasks/get" | "tasks/update" | "tasks/cancel" | "tasks/result" => &message.task_id,
        _ => return None,
    };
    Some(named.as_deref())
}

/// Whether the headers of a batch are fit for one: a batch has no one method or name to mirror.
///
/// # Errors
/// Names the first `Mcp-Method`, `Mcp-Name` or `Mcp-Param-*`, or the first repeated header.
pub fn check_batch_headers(headers: &HeaderMap) -> Result<(), HeaderMismatch> {
    check_once(headers)?;
    let mirrors = |name: &&HeaderName| {
        **name == MCP_METHOD || **name == MCP_NAME || name.as_str().starts_with("mcp-param-")
    };
    match headers.keys().find(mirrors) {
        Some(header) => Err(HeaderMismatch {
            header: header.clone(),
            why: Why::Batch,
        }),
        None => Ok(()),
    }
}

/// The form of `value` that may stand in `Mcp-Name` or `Mcp-Param-*`: itself if it is plain, else
/// `=?base64?…?=` (MCP 2026-07-28, Streamable HTTP "Value Encoding").
#[must_use]
pub fn mirrored(value: &str) -> HeaderValue {
    let edge = |b: Option<&u8>| b.is_some_and(|b| matches!(b, b' ' | b'\t'));
    let bytes = value.as_bytes();
    let plain = bytes.iter().all(|b| matches!(b, b'\t' | b' '..=b'~'))
        && !edge(bytes.first())
        && !edge(bytes.last())
        && sentinel(bytes).is_none();
    let text = if plain {
        Cow::Borrowed(value)
    } else {
        Cow::Owned(format!("=?base64?{}?=", STANDARD.encode(value)))
    };
    HeaderValue::from_str(&text).expect("plain values and base64 have no control characters")
}

fn check_once(headers: &HeaderMap) -> Result<(), HeaderMismatch> {
    if headers.keys_len() == headers.len() {
        return Ok(());
    }
    let repeated = |name: &&HeaderName| {
        (ONCE.contains(name) || name.as_str().starts_with("mcp-param-"))
            && headers.get_all(*name).iter().nth(1).is_some()
    };
    match headers.keys().find(repeated) {
        Some(header) => Err(HeaderMismatch {
            header: header.clone(),
            why: Why::Repeated,
        }),
        None => Ok(()),
    }
}

fn must_equal(header: HeaderName, value: &[u8], body: &[u8]) -> Result<(), HeaderMismatch> {
    if value == body {
        Ok(())
    } else {
        Err(HeaderMismatch {
            header,
            why: Why::Differs,
        })
    }
}

/// A value without the optional white space around it (RFC 9110 section 5.6.3).
fn trimmed(value: &HeaderValue) -> &[u8] {
    let space = |b: &u8| matches!(b, b' ' | b'\t');
    let bytes = value.as_bytes();
    let start = bytes.iter().position(|b| !space(b)).unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|b| !space(b))
        .map_or(start, |last| last + 1);
    &bytes[start..end]
}

fn sentinel(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"=?base64?")?.strip_suffix(b"?=")
}

fn decoded(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    match sentinel(value) {
        Some(encoded) => STANDARD.decode(encoded).ok().map(Cow::Owned),
        None => Some(Cow::Borrowed(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::scan::{Body, scan};

    const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wetter_für","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;

    fn check(body: &str, headers: &[(&'static str, &str)]) -> Result<(), HeaderMismatch> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        match scan(body.as_bytes()).unwrap() {
            Body::One(message) => Metadata::of(&map).check(&message),
            Body::Batch(_) => check_batch_headers(&map),
        }
    }

    #[test]
    fn nothing_that_names_a_caller_passes_in_either_direction() {
        for (name, passage) in [
            ("authorization", Passage::Dropped),
            ("x-api-key", Passage::Dropped),
            ("cookie", Passage::Dropped),
            ("x-forwarded-for", Passage::Dropped),
            ("x-user-id", Passage::Dropped),
            ("origin", Passage::Dropped),
            ("connection", Passage::Dropped),
            ("accept", Passage::AsIs),
            ("mcp-param-region", Passage::AsIs),
            ("mcp-param-region_1", Passage::AsIs),
            ("mcp-session_id", Passage::Dropped),
            ("mcp-param_region", Passage::Dropped),
            ("mcp_session_id", Passage::Dropped),
            ("mcp-protocol-version", Passage::AsIs),
            ("mcp-session-id", Passage::Sealed),
            ("last-event-id", Passage::Sealed),
        ] {
            assert_eq!(
                to_backend(&HeaderName::from_static(name)),
                passage,
                "{name}"
            );
        }
        for (name, passage) in [
            ("set-cookie", Passage::Dropped),
            ("www-authenticate", Passage::Dropped),
            ("location", Passage::Dropped),
            ("mcp-param-region", Passage::Dropped),
            ("last-event-id", Passage::Dropped),
            ("content-type", Passage::AsIs),
            ("x-accel-buffering", Passage::AsIs),
            ("mcp-session-id", Passage::Sealed),
        ] {
            assert_eq!(to_client(&HeaderName::from_static(name)), passage, "{name}");
        }
    }

    #[test]
    fn mirrors_that_agree_or_are_missing_pass() {
        assert_eq!(check(CALL, &[]), Ok(()));
        let encoded = mirrored("wetter_für");
        assert!(encoded.to_str().unwrap().starts_with("=?base64?"));
        let agreeing = [
            ("mcp-protocol-version", "2026-07-28 "),
            ("mcp-method", "\ttools/call"),
            ("mcp-name", encoded.to_str().unwrap()),
            ("mcp-param-x", "anything"),
        ];
        assert_eq!(check(CALL, &agreeing), Ok(()));
        let read = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"name":"n","uri":"a:b"}}"#;
        assert_eq!(check(read, &[("mcp-name", "a:b")]), Ok(()));
        assert!(check(read, &[("mcp-name", "n")]).is_err());
        let task = r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t"}}"#;
        assert_eq!(check(task, &[("mcp-name", "t")]), Ok(()));
    }

    #[test]
    fn contradictions_and_repetitions_name_the_header_and_no_value() {
        for (header, value) in [
            ("mcp-protocol-version", "2025-11-25"),
            ("mcp-method", "Tools/Call"),
            ("mcp-method", "tools/list"),
            ("mcp-method", ""),
            ("mcp-name", "other"),
            ("mcp-name", "=?base64?b3RoZXI=?="),
            ("mcp-name", "=?base64?!?="),
            ("mcp-name", "=?BASE64?d2V0dGVyX2bDvHI=?="),
        ] {
            let error = check(CALL, &[(header, value)]).unwrap_err();
            assert_eq!(error.header().as_str(), header);
            assert!(
                value.is_empty() || !error.to_string().contains(value),
                "{error}"
            );
        }
        for twice in ["mcp-method", "mcp-param-a", "mcp-session-id"] {
            assert!(check(CALL, &[(twice, "tools/call"), (twice, "tools/call")]).is_err());
        }
    }

    #[test]
    fn a_response_or_a_batch_mirrors_nothing() {
        let response = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        assert!(check(response, &[("mcp-method", "ping")]).is_err());
        let batch = format!("[{response}]");
        assert_eq!(
            check(&batch, &[("mcp-protocol-version", "2025-03-26")]),
            Ok(())
        );
        for header in ["mcp-method", "mcp-name", "mcp-param-x"] {
            assert!(check(&batch, &[(header, "x")]).is_err());
        }
    }

    #[test]
    fn a_mirrored_value_decodes_to_itself() {
        for value in [
            "",
            "plain",
            " padded ",
            "a\tb",
            "\tx",
            "世界",
            "a\nb",
            "=?base64?literal?=",
        ] {
            let header = mirrored(value);
            assert_eq!(
                decoded(trimmed(&header)).unwrap(),
                value.as_bytes(),
                "{value:?}"
            );
        }
        assert_eq!(
            mirrored("=?base64?literal?="),
            "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="
        );
    }
}
