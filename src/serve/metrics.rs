//! The page of `/metrics`.

use std::sync::atomic::Ordering::Relaxed;

use super::reload::Reloads;
use crate::resolve::{Figures, Watch};
use crate::telemetry::Exposition;

/// The figures as text.
pub(super) fn page(figures: &Figures, reloads: &Reloads) -> String {
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
    configuration(&mut page, reloads);
    page.finish()
}

fn configuration(page: &mut Exposition, reloads: &Reloads) {
    for (name, help, count) in [
        (
            "cloakroom_config_reloads_total",
            "Configurations that were read while serving and taken.",
            &reloads.taken,
        ),
        (
            "cloakroom_config_reload_failures_total",
            "Configurations that were read while serving and could not be used.",
            &reloads.refused,
        ),
    ] {
        page.counter(name, help, count.load(Relaxed));
    }
    for (name, help, value) in [
        (
            "cloakroom_config_last_reload_successful",
            "Whether the configuration last read is in force.",
            u64::from(reloads.is_latest.load(Relaxed)),
        ),
        (
            "cloakroom_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was read.",
            reloads.last_taken.load(Relaxed),
        ),
        (
            "cloakroom_config_restart_wanted",
            "Whether settings were changed that count only after a restart.",
            u64::from(reloads.wants_restart.load(Relaxed)),
        ),
    ] {
        page.gauge(name, help, value);
    }
}
