//! `log_format` and `[telemetry]`: what is told of requests, and to whom.

use http::Uri;

use super::document::Value;
use super::reader::optional;
use super::reader::{Section, text};
use super::{keys, values};

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object each.
    Json,
}

/// Where traces go, and which.
#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    /// Where the collector is, if traces go anywhere: `http` or `https`.
    pub otlp_endpoint: Option<Uri>,
    /// What this process is called there.
    pub service_name: String,
    /// The part of requests that is sampled, 0 to 1, where who sent them has not decided.
    pub sample: f64,
}

pub(super) fn log_format(root: &Section<'_>) -> Option<LogFormat> {
    root.required("log_format", |value| {
        const WANTED: &str = "\"text\" or \"json\"";
        match text(value, WANTED)? {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("write {WANTED}")),
        }
    })
}

pub(super) fn telemetry(root: &Section<'_>) -> Option<Telemetry> {
    let section = root.section("telemetry", keys::TELEMETRY)?;
    let otlp_endpoint = optional(&section, "otlp_endpoint", endpoint);
    let service_name = section.required("service_name", |value| {
        let name = text(value, "a text such as \"cloakroom\"")?;
        let fits = (1..=128).contains(&name.len()) && !name.contains(char::is_control);
        let error = || "write 1 to 128 characters on one line".to_owned();
        fits.then(|| name.to_owned()).ok_or_else(error)
    });
    let sample = section.required("sample", sample);
    Some(Telemetry {
        otlp_endpoint: otlp_endpoint?,
        service_name: service_name?,
        sample: sample?,
    })
}

/// As other programs take it (`OTEL_EXPORTER_OTLP_ENDPOINT`): the path of traces is added to it, unless
/// it is there.
fn endpoint(value: &Value) -> Result<Uri, String> {
    const WANTED: &str =
        "the URL of a collector's HTTP receiver, such as \"http://127.0.0.1:4318\"";
    const TRACES: &str = "/v1/traces";
    let written = text(value, WANTED)?;
    let wrong = |what: &str| format!("{what}; write {WANTED}");
    if written.contains('@') {
        return Err(wrong("a user or password cannot be in it"));
    }
    if written.contains(['?', '#']) {
        return Err(wrong("a query or fragment cannot be in it"));
    }
    let base = written.trim_end_matches('/').trim_end_matches(TRACES);
    let uri: Uri = format!("{base}{TRACES}")
        .parse()
        .map_err(|_| wrong("not a URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong("not http:// or https://"));
    }
    let host = uri.authority().filter(|host| values::well_formed(host));
    host.ok_or_else(|| wrong("not a host and port"))?;
    Ok(uri)
}

fn sample(value: &Value) -> Result<f64, String> {
    const WANTED: &str = "a text from \"0\" to \"1\", such as \"0.1\" for one request in ten";
    let part: f64 = text(value, WANTED)?
        .parse()
        .map_err(|_| format!("write {WANTED}"))?;
    let fits = (0.0..=1.0).contains(&part);
    fits.then_some(part)
        .ok_or_else(|| format!("write {WANTED}"))
}
