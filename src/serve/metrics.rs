//! The page of `/metrics`.

use crate::resolve::{Figures, Watch};
use crate::telemetry::Exposition;

/// The figures as text.
pub(super) fn page(figures: &Figures) -> String {
    let mut page = Exposition::default();
    let watch = match figures.watch {
        Watch::Up => "up",
        Watch::Blind => "blind",
        Watch::Down => "down",
    };
    page.state(
        "cloakroom_store_watch",
        "Whether changes of the store are pushed (up), refused (blind) or out of reach (down).",
        &["up", "blind", "down"],
        watch,
    );
    for (name, help, value) in [
        (
            "cloakroom_store_reads_total",
            "Reads of the store for requests.",
            figures.reads,
        ),
        (
            "cloakroom_store_read_failures_total",
            "Reads of the store that failed.",
            figures.read_failures,
        ),
        (
            "cloakroom_stale_answers_total",
            "Look-ups answered from the cache because the store could not be reached.",
            figures.stale_answers,
        ),
        (
            "cloakroom_denials_kept_total",
            "Times the store had lost a revocation that still counts here.",
            figures.denials_kept,
        ),
    ] {
        page.counter(name, help, value);
    }
    let (records, bytes) = (figures.records, figures.bytes);
    page.gauge("cloakroom_cache_records", "Records in the cache.", records);
    page.gauge("cloakroom_cache_bytes", "Their size, about.", bytes);
    page.finish()
}
