//! The values of single keys: addresses, durations, sizes, files, hosts, origins, filters.
//!
//! An error says what to write and never repeats the value.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use http::uri::Authority;

use super::document::Value;
use super::keys;
use super::reader::text;

/// A duration from `min` to `max`, both allowed.
pub(super) fn duration(value: &Value, min: Duration, max: Duration) -> Result<Duration, String> {
    const WANTED: &str = "a number with its unit, such as \"60s\" or \"5m\"";
    let parsed = match value {
        Value::Integer(0) => Duration::ZERO,
        other => humantime::parse_duration(text(other, WANTED)?)
            .map_err(|_| format!("not a duration; write {WANTED}"))?,
    };
    if (min..=max).contains(&parsed) {
        return Ok(parsed);
    }
    let (min, max) = (
        humantime::format_duration(min),
        humantime::format_duration(max),
    );
    Err(format!(
        "out of range; write a duration from {min} to {max}"
    ))
}

/// A number of bytes from `min` to `max`, both allowed.
pub(super) fn size(value: &Value, min: u64, max: u64) -> Result<u64, String> {
    const WANTED: &str =
        "a number of bytes, or a text with a unit (B, KiB, MiB, GiB) such as \"4MiB\"";
    let bytes = match value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        other => bytes(text(other, WANTED)?),
    };
    let bytes = bytes.ok_or_else(|| format!("not a size; write {WANTED}"))?;
    if (min..=max).contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!(
        "out of range; write a size from {} to {}",
        show_size(min),
        show_size(max)
    ))
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let unit: u64 = match text[digits..].trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

fn show_size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fits = units
        .into_iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    fits.map_or(format!("{bytes}B"), |(unit, name)| {
        format!("{}{name}", bytes / unit)
    })
}

/// A number of threads: 1 to 1024.
pub(super) fn threads(value: &Value) -> Result<usize, String> {
    number(value, 1, 1024)
}

/// A number from `min` to `max`, both allowed.
pub(super) fn number(value: &Value, min: usize, max: usize) -> Result<usize, String> {
    let number = match value {
        Value::Integer(number) => usize::try_from(*number).ok(),
        Value::Raw(text) => text.parse().ok(),
        _ => None,
    };
    let allowed = number.filter(|number| (min..=max).contains(number));
    allowed.ok_or_else(|| format!("write a number from {min} to {max}, without quotes"))
}

/// A level, or a filter in the form of `tracing-subscriber`.
pub(super) fn log_filter(value: &Value) -> Result<String, String> {
    const WANTED: &str = "a level (error, warn, info, debug, trace, off) or a filter such as \
                          \"info,cloakroom::proxy=debug\"";
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let filter = text(value, WANTED)?;
    for directive in filter.split(',').map(str::trim) {
        // A misspelt level alone is legal syntax: the name of a module, to be logged in full.
        let level = LEVELS
            .iter()
            .any(|level| directive.eq_ignore_ascii_case(level));
        let near = keys::nearest(&directive.to_ascii_lowercase(), LEVELS);
        if let (false, Some(near)) = (level, near) {
            return Err(format!("unknown level; did you mean `{near}`?"));
        }
    }
    let parsed = tracing_subscriber::EnvFilter::builder().parse(filter);
    if filter.trim().is_empty() || parsed.is_err() {
        return Err(format!("not a filter; write {WANTED}"));
    }
    Ok(filter.to_owned())
}

/// A path, relative to `folder`, of a file that may not exist yet.
pub(super) fn file(path: &str, folder: &Path) -> Result<PathBuf, String> {
    if path.is_empty() || path.contains('\0') {
        return Err("not a path; write the path of a file".into());
    }
    Ok(folder.join(path))
}

/// The path, relative to `folder`, of a PEM file that can be read. `example` is how one may be called.
pub(super) fn pem_file(value: &Value, example: &str, folder: &Path) -> Result<PathBuf, String> {
    let wanted = format!("the path of a PEM file, such as \"{example}\"");
    let path = file(text(value, &wanted)?, folder)?;
    match std::fs::File::open(&path).and_then(|file| file.metadata()) {
        Ok(found) if !found.is_dir() => Ok(path),
        Ok(_) => Err("is a directory; write the path of a file".into()),
        Err(error) => Err(format!(
            "cannot be read ({}: {error}); write the path of a file Cloakroom may read",
            path.display()
        )),
    }
}

/// A host name or IP address (an IPv6 address in brackets), with or without a port, in lower case.
pub(super) fn host(text: &str) -> Result<String, String> {
    const WANTED: &str =
        "write a host name such as \"mcp.example.com\", with a port only to allow just that port";
    let message = || format!("not a host; {WANTED}");
    let authority: Authority = text.parse().map_err(|_| message())?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    if !text.bytes().all(plain) || !well_formed(&authority) {
        return Err(message());
    }
    Ok(text.to_ascii_lowercase())
}

/// `http://HOST` or `https://HOST`, with or without a port, in lower case.
pub(super) fn origin(text: &str) -> Result<String, String> {
    const WANTED: &str = "write scheme and host only, such as \"https://app.example.com\"";
    let message = || format!("not an origin; {WANTED}");
    let lower = text.to_ascii_lowercase();
    let authority = lower
        .strip_prefix("https://")
        .or_else(|| lower.strip_prefix("http://"));
    host(authority.ok_or_else(message)?).map_err(|_| message())?;
    Ok(lower)
}

/// What a key of another shape than `clk_…` begins with.
pub(super) fn key_prefix(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if !(2..=32).contains(&text.len()) || !text.bytes().all(plain) {
        return Err("not a prefix; write 2 to 32 of A-Z a-z 0-9 _ - ., such as \"acme_\"".into());
    }
    let ours = |own: &str| own.starts_with(text) || text.starts_with(own);
    if ours("clk_") || ours("cla_") {
        return Err("`clk_` and `cla_` are Cloakroom's own prefixes; leave it out".into());
    }
    Ok(text.to_owned())
}

/// The URL of a backend: absolute, `http` or `https`, nothing secret in it.
pub(super) fn backend_url(value: &Value) -> Result<Uri, String> {
    const WANTED: &str = "an http:// or https:// URL, such as \"http://127.0.0.1:9001/mcp\"";
    let text = text(value, WANTED)?;
    if text.contains('#') {
        return Err("a URL's fragment is never sent; remove the `#` and what follows".into());
    }
    let Some((scheme, _)) = text.split_once("://") else {
        return Err(format!("not an absolute URL; write {WANTED}"));
    };
    if !["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
    {
        return Err(format!("unknown scheme; write {WANTED}"));
    }
    let uri: Uri = text
        .parse()
        .map_err(|_| format!("not a URL; write {WANTED}"))?;
    let authority = uri
        .authority()
        .ok_or_else(|| format!("no host; write {WANTED}"))?;
    if authority.as_str().contains('@') {
        return Err(
            "a user or password in a URL would be a secret in the configuration; remove \
                    what stands before `@` and use a header such as \
                    Authorization = \"Basic ${base64(USER:PASSWORD)}\""
                .into(),
        );
    }
    if !well_formed(authority) {
        return Err(format!("not a host and port; write {WANTED}"));
    }
    Ok(uri)
}

/// Whether there is a host, and a port from 1 to 65535 if there is a colon.
pub(super) fn well_formed(authority: &Authority) -> bool {
    let host = authority.host();
    let port = &authority.as_str()[host.len()..];
    let port_ok = match port.strip_prefix(':') {
        Some(digits) => digits.parse::<u16>().is_ok_and(|port| port > 0),
        None => port.is_empty(),
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host_ok = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(['[', ']', ':']),
    };
    port_ok && host_ok
}

/// Yes or no.
pub(super) fn switch(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(so) => Ok(*so),
        Value::Raw(text) if text == "true" => Ok(true),
        Value::Raw(text) if text == "false" => Ok(false),
        _ => Err("write true or false, without quotes".to_owned()),
    }
}
