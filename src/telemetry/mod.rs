//! What an operator sees: the log, on standard error, and figures (`exposition`).
//!
//! No secret and no key is in it at any level. Our own lines name what they show, one by one. Those
//! of libraries are let through from warnings up and never below: at `trace` some print the bytes
//! they read, whatever they are.

mod exposition;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

pub use self::exposition::{CONTENT_TYPE, Exposition};

/// Begins to log. `filter` is a level or a filter in the form of [`EnvFilter`]. Called a second
/// time it changes nothing.
pub fn init(filter: &str) {
    let ours = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse_lossy(filter);
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let lines = lines.with_filter(filter_fn(allowed)).with_filter(ours);
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

fn allowed(metadata: &Metadata<'_>) -> bool {
    let ours = metadata.target().split("::").next() == Some("cloakroom");
    ours || *metadata.level() <= Level::WARN
}
