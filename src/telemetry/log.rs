//! The log, on standard error: lines of text, or of JSON.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt as lines};

/// The target of the line about each request, at level debug: `log = "info,cloakroom::access=debug"`
/// shows them and no other.
pub const ACCESS: &str = "cloakroom::access";

/// What a line looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One object a line: `timestamp` (RFC 3339, UTC), `level`, `target`, `message` and the fields.
    Json,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Begins to log. `filter` is a level or a filter in the form of [`EnvFilter`]. Called a second
/// time it changes nothing.
pub fn init(filter: &str, format: Format) {
    let ours = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse_lossy(filter);
    let layer = lines::layer()
        .with_writer(|| OneLine)
        .with_ansi(false)
        .with_timer(SystemTime);
    let layer = match format {
        Format::Text => layer.boxed(),
        Format::Json => {
            let layer = layer.json().flatten_event(true);
            let layer = layer.with_current_span(false).with_span_list(false);
            layer.boxed()
        }
    };
    let layer = layer.with_filter(filter_fn(allowed)).with_filter(ours);
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

/// Writes events, each on one line whatever is in it: nobody who gets a word into the log writes a line of
/// his own, or speaks to the operator's terminal.
struct OneLine;

impl Write for OneLine {
    /// Of a whole event: the library makes it in memory first.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(one_line(event).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn one_line(event: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(event);
    let line = text.strip_suffix('\n').unwrap_or(&text);
    if !line.contains(char::is_control) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in line.chars() {
        if c.is_control() {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped.push('\n');
    escaped.into()
}

fn allowed(metadata: &Metadata<'_>) -> bool {
    let ours = metadata.target().split("::").next() == Some("cloakroom");
    ours || *metadata.level() <= Level::WARN
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when line breaks are let through: each would begin a line that looks like one of ours.
    #[test]
    fn an_event_is_one_line() {
        for (event, line) in [
            ("INFO a b=\"c\"\n", "INFO a b=\"c\"\n"),
            ("a\nINFO b\r\n\n", "a\\nINFO b\\r\\n\n"),
            (
                "\u{1b}[2J\u{9b}x\u{7f}\u{fc}\n",
                "\\u{1b}[2J\\u{9b}x\\u{7f}\u{fc}\n",
            ),
        ] {
            assert_eq!(one_line(event.as_bytes()), line);
        }
    }
}
