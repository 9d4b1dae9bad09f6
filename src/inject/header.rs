//! Which headers a slot may set.

use http::HeaderName;

/// Why no slot can set a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderNameError {
    /// It is no name of a header.
    #[error("not a header's name; write letters, digits and `-`, such as X-Api-Key")]
    NotAName,
    /// It is somebody else's to set.
    #[error("cannot be set by a slot: {0}")]
    Reserved(&'static str),
}

/// The name of a header a slot may set.
///
/// # Errors
/// When it is none, or is set by the protocol, the connection or the client.
pub fn header_name(text: &str) -> Result<HeaderName, HeaderNameError> {
    let name: HeaderName = text.parse().map_err(|_| HeaderNameError::NotAName)?;
    match reserved(name.as_str()) {
        Some(reason) => Err(HeaderNameError::Reserved(reason)),
        None => Ok(name),
    }
}

/// Why a slot may not set the header `name`, given in lower case.
fn reserved(name: &str) -> Option<&'static str> {
    const HOP: &str = "it belongs to one connection, which Cloakroom manages itself";
    const CLIENT: &str = "the client's own value is passed on";
    match name {
        "host" => Some("it is taken from the server's `url`"),
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer"
        | "transfer-encoding" | "upgrade" | "expect" | "http2-settings" => Some(HOP),
        "proxy-authenticate" | "proxy-authorization" => Some(HOP),
        "accept-encoding" | "range" => Some("answers are passed on as they are, and whole"),
        "accept" | "last-event-id" | "traceparent" | "tracestate" | "user-agent" => Some(CLIENT),
        _ if name.starts_with("mcp-") => Some("it is part of the MCP protocol"),
        _ if name.starts_with("content-") => Some("it describes the body, which the client sends"),
        _ => None,
    }
}
