//! What others count, read when `/metrics` is asked for.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::watch;

use super::reload::{House, Reloads};
use crate::proxy::Serving;
use crate::resolve::{Figures, Watch};
use crate::telemetry::Page;

/// Shows what the resolver, the layer in use and reloads tell of themselves.
pub(super) fn show(house: &House, served: watch::Receiver<Arc<Serving>>, reloads: Arc<Reloads>) {
    let resolver = house.resolver.clone();
    house.metrics.at_scrape(move |page| {
        resolved(page, &resolver.figures());
        configuration(page, &reloads);
        let layer = served.borrow().layer.clone();
        page.counter(
            "cloakroom_replaced_values",
            "Values clients sent where a slot sets one",
            layer.replaced(),
        );
        page.gauge(
            "cloakroom_bodies_held_bytes",
            "Bodies of requests in memory, which limits.in_flight bounds, in bytes",
            layer.held() as u64,
        );
    });
}

fn resolved(page: &mut Page<'_, '_>, figures: &Figures) {
    let watch = match figures.watch {
        Watch::Up => "up",
        Watch::Blind => "blind",
        Watch::Down => "down",
    };
    page.state(
        "cloakroom_store_watch",
        "Whether changes of the store are pushed (up), refused (blind) or out of reach (down)",
        &["up", "blind", "down"],
        watch,
    );
    for (name, help, value) in [
        (
            "cloakroom_store_reads",
            "Reads of the store for requests",
            figures.reads,
        ),
        (
            "cloakroom_store_read_failures",
            "Reads of the store that failed",
            figures.read_failures,
        ),
        (
            "cloakroom_stale_answers",
            "Look-ups answered from the cache because the store could not be reached",
            figures.stale_answers,
        ),
        (
            "cloakroom_denials_kept",
            "Times the store had lost a revocation that still counts here",
            figures.denials_kept,
        ),
        (
            "cloakroom_cache_hits",
            "Look-ups of records answered from the cache as it was",
            figures.hits,
        ),
        (
            "cloakroom_cache_misses",
            "Look-ups of records for which the store was to be asked",
            figures.misses,
        ),
    ] {
        page.counter(name, help, value);
    }
    let (records, bytes) = (figures.records, figures.bytes);
    page.gauge("cloakroom_cache_records", "Records in the cache", records);
    page.gauge("cloakroom_cache_bytes", "Their size, about", bytes);
}

fn configuration(page: &mut Page<'_, '_>, reloads: &Reloads) {
    for (name, help, count) in [
        (
            "cloakroom_config_reloads",
            "Configurations that were read while serving and taken",
            &reloads.taken,
        ),
        (
            "cloakroom_config_reload_failures",
            "Configurations that were read while serving and could not be used",
            &reloads.refused,
        ),
    ] {
        page.counter(name, help, count.load(Relaxed));
    }
    for (name, help, value) in [
        (
            "cloakroom_config_last_reload_successful",
            "Whether the configuration last read is in force",
            u64::from(reloads.is_latest.load(Relaxed)),
        ),
        (
            "cloakroom_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was read",
            reloads.last_taken.load(Relaxed),
        ),
        (
            "cloakroom_config_restart_wanted",
            "Whether settings were changed that count only after a restart",
            u64::from(reloads.wants_restart.load(Relaxed)),
        ),
    ] {
        page.gauge(name, help, value);
    }
}
