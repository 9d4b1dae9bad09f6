//! What others count, read when `/metrics` is asked for.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::watch;

use super::house::House;
use super::reload::Reloads;
use crate::audit;
use crate::names::ServerName;
use crate::proxy::Serving;
use crate::resolve::{Figures, Watch};
use crate::stdio;
use crate::telemetry::Page;
use crate::tls;

/// Shows what the resolver, the layer in use, its listener's certificate and reloads tell of themselves.
pub(super) fn show(house: &House, served: watch::Receiver<Arc<Serving>>, reloads: Arc<Reloads>) {
    let (resolver, tls) = (house.resolver.clone(), house.tls.clone());
    let (trail, usage) = (house.trail.clone(), house.usage.clone());
    house.metrics.at_scrape(move |page| {
        resolved(page, &resolver.figures());
        audited(page, &trail.figures());
        page.counter(
            "cloakroom_usage_uncounted",
            "Requests that are in no user's usage, because too much was counted at once",
            usage.uncounted(),
        );
        configuration(page, &reloads);
        let serving = served.borrow().clone();
        under_way(page, &serving);
        replicas(page, &serving);
        if let Some(commands) = &serving.commands {
            children(page, &commands.children.figures());
        }
        if let Some(tls) = &tls {
            certificate(page, &tls.figures());
        }
    });
}

fn under_way(page: &mut Page<'_, '_>, serving: &Serving) {
    let (layer, flood) = (&serving.layer, serving.flood.figures());
    let usage = layer.budget().figures();
    for (name, help, value) in [
        (
            "cloakroom_replaced_values",
            "Values clients sent where a slot sets one",
            layer.replaced(),
        ),
        (
            "cloakroom_requests_waited",
            "Requests that waited in line, because their user had many under way",
            usage.waited,
        ),
        (
            "cloakroom_user_limit_refusals",
            "Requests refused because their user had too much under way",
            usage.refused,
        ),
        (
            "cloakroom_overload_refusals",
            "Requests refused because all users together had too much under way",
            usage.overloaded,
        ),
    ] {
        page.counter(name, help, value);
    }
    page.gauge(
        "cloakroom_bodies_held_bytes",
        "Bodies of requests in memory, which limits.in_flight bounds, in bytes",
        usage.bytes as u64,
    );
    page.gauge(
        "cloakroom_wrong_keys_held",
        "Answers to wrong keys that are held back at this moment",
        flood.held as u64,
    );
    page.counter(
        "cloakroom_wrong_keys_slowed",
        "Answers to wrong keys that were held back",
        flood.slowed,
    );
}

fn replicas(page: &mut Page<'_, '_>, serving: &Serving) {
    let of = |name: &ServerName, state: &str| {
        [("server", name.to_string()), ("state", state.to_owned())]
    };
    let figures = serving.backends.iter().flat_map(|(name, backend)| {
        let figures = backend.figures();
        [
            (of(name, "healthy"), figures.healthy as u64),
            (of(name, "unhealthy"), figures.unhealthy as u64),
        ]
    });
    page.gauges(
        "cloakroom_backend_replicas",
        "Replicas of a server that get requests, and those that get none but to try them",
        figures,
    );
}

fn children(page: &mut Page<'_, '_>, figures: &[(ServerName, stdio::Figures)]) {
    let each = |value: fn(&stdio::Figures) -> u64| {
        figures
            .iter()
            .map(move |(server, figures)| ([("server", server.to_string())], value(figures)))
    };
    page.gauges(
        "cloakroom_children",
        "Child processes of servers that run",
        each(|figures| figures.running),
    );
    page.counters(
        "cloakroom_child_starts",
        "Child processes that were started",
        each(|figures| figures.starts),
    );
    page.counters(
        "cloakroom_child_failures",
        "Child processes that ended by themselves, or crossed a limit",
        each(|figures| figures.failures),
    );
}

fn audited(page: &mut Page<'_, '_>, sinks: &[audit::Figures]) {
    let each = |value: fn(&audit::Figures) -> u64| {
        let sinks = sinks.iter();
        sinks.map(move |figures| ([("sink", figures.sink.to_owned())], value(figures)))
    };
    page.counters(
        "cloakroom_audit_records",
        "Records a sink of the audit trail took",
        each(|figures| figures.written),
    );
    page.counters(
        "cloakroom_audit_lost",
        "Records a sink of the audit trail did not take",
        each(|figures| figures.lost),
    );
    page.gauges(
        "cloakroom_audit_failing",
        "Whether a sink of the audit trail takes none now",
        each(|figures| u64::from(figures.failing)),
    );
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

fn certificate(page: &mut Page<'_, '_>, figures: &tls::Figures) {
    page.gauge(
        "cloakroom_tls_certificate_expires_seconds",
        "When the listener's certificate expires, in seconds since 1970",
        figures.expires,
    );
    page.gauge(
        "cloakroom_tls_loaded_seconds",
        "When its files were last loaded, in seconds since 1970",
        figures.loaded,
    );
    page.counter(
        "cloakroom_tls_load_failures",
        "Times its files had changed and were of no use",
        figures.failures,
    );
}
