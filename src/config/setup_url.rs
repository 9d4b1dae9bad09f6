//! `setup_url`: where users are sent to set a missing secret.

use http::Uri;

use super::document::Value;
use super::reader::text;
use super::{is_loopback_name, values};

/// What may stand in it, to be replaced by the names of the request that lacks a secret.
const PLACEHOLDERS: [&str; 2] = ["{server}", "{profile}"];

/// A URL that is safe to be shown to a user, who will type a secret into what it leads to.
pub(super) fn parse(value: &Value) -> Result<String, String> {
    const WANTED: &str = "a URL such as \"https://portal.example/secrets/{server}\"";
    const BRACES: &str = "only `{server}` and `{profile}` are filled in; remove other braces";
    let text = text(value, WANTED)?;
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("not a URL; write {WANTED}"));
    }
    let mut filled = text.to_owned();
    for placeholder in PLACEHOLDERS {
        filled = filled.replace(placeholder, "x");
    }
    if filled.contains(['{', '}']) {
        return Err(BRACES.into());
    }
    let uri: Uri = filled
        .parse()
        .map_err(|_| format!("not a URL; write {WANTED}"))?;
    let authority = uri
        .authority()
        .ok_or_else(|| format!("no host; write {WANTED}"))?;
    if authority.as_str().contains('@') {
        return Err("a user or password in it would be shown to users; remove it".into());
    }
    if !values::well_formed(authority) {
        return Err(format!("not a host and port; write {WANTED}"));
    }
    // A profile's name is the client's to choose: it must not choose the host.
    let host = text.split_once("://").map(|(_, host)| host);
    if !host.is_some_and(|host| host.starts_with(authority.as_str())) {
        return Err("`{server}` and `{profile}` may stand after the host only".into());
    }
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if is_loopback_name(authority.host()) => {}
        _ => return Err("secrets are typed in there, so it must be https://".into()),
    }
    Ok(text.to_owned())
}
