//! Everything that is counted, and the page that shows it.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::metrics::{MetricType, family::MetricConstructor};
use prometheus_client::registry::{Registry, Unit};

use super::histogram::Durations;
use super::process;
use crate::names::ServerName;
use crate::rejection::Kind;

/// The media type of what [`Metrics::page`] gives: OpenMetrics 1.0, which Prometheus reads.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where no server of the configuration is asked for. No server has this name.
const NOWHERE: &str = "_";
/// The first digit of a status, and what is said of it. A request whose client went away before it was
/// answered has none.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// Why a backend gave no answer that could be passed on.
const FAILURES: [(Kind, &str); 5] = [
    (Kind::BackendDown, "down"),
    (Kind::BackendSilent, "silent"),
    (Kind::BackendBroken, "broken"),
    (Kind::BackendRedirects, "redirects"),
    (Kind::BackendRefuses, "refuses"),
];
const REQUEST: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
const LAG: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 60.0,
];

type Labels = Vec<(&'static str, String)>;
type Histograms = Family<Labels, Durations, RequestBuckets>;

#[derive(Clone)]
struct RequestBuckets;

impl MetricConstructor<Durations> for RequestBuckets {
    fn new_metric(&self) -> Durations {
        Durations::new(REQUEST)
    }
}

/// Handles to all that is counted in this process; see the module's documentation for how to add one.
pub struct Metrics {
    /// Connections of clients that are open.
    pub connections: Gauge,
    /// Connections that could not be accepted.
    pub accept_failures: Counter,
    /// Connections with which TLS was not agreed on.
    pub tls_handshake_failures: Counter,
    /// Idle connections to backends.
    pub backend_idle: Gauge,
    /// From when a change of a key or user was written to when what was cached of it was dropped.
    pub revocation_lag: Durations,
    rejections: Box<[Counter]>,
    requests: Family<Labels, Counter>,
    durations: Histograms,
    under_way: Family<Labels, Gauge>,
    streams: Family<Labels, Gauge>,
    connects: Family<Labels, Counter>,
    failures: Family<Labels, Counter>,
    registry: Mutex<Registry>,
}

/// Handles to what is counted of one server.
pub struct ServerMetrics {
    /// Requests that began and whose answer has not ended.
    pub under_way: Gauge,
    /// Answers among them that are event streams.
    pub streams: Gauge,
    /// Until the head of an answer.
    pub duration: Durations,
    /// Connections opened to it.
    pub connects: Counter,
    classes: [Counter; CLASSES.len()],
    failures: [Counter; FAILURES.len()],
}

impl Metrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        let rejections = Family::<Labels, Counter>::default();
        let kinds = Kind::ALL.iter();
        let kinds = kinds.map(|kind| rejections.get_or_create_owned(&one("kind", kind.name())));
        let metrics = Self {
            connections: Gauge::default(),
            accept_failures: Counter::default(),
            tls_handshake_failures: Counter::default(),
            backend_idle: Gauge::default(),
            revocation_lag: Durations::new(LAG),
            rejections: kinds.collect(),
            requests: Family::default(),
            durations: Family::new_with_constructor(RequestBuckets),
            under_way: Family::default(),
            streams: Family::default(),
            connects: Family::default(),
            failures: Family::default(),
            registry: Mutex::default(),
        };
        metrics.register(rejections);
        metrics
    }

    #[rustfmt::skip]
    fn register(&self, rejections: Family<Labels, Counter>) {
        let mut registry = self.lock();
        let of = &mut *registry;
        of.register("cloakroom_requests", "Requests by server and class of status; none where the client went away first", self.requests.clone());
        of.register_with_unit("cloakroom_request_duration", "Time to the head of the answer", Unit::Seconds, self.durations.clone());
        of.register("cloakroom_requests_under_way", "Requests whose answer has not ended", self.under_way.clone());
        of.register("cloakroom_open_streams", "Event streams open to clients", self.streams.clone());
        of.register("cloakroom_rejections", "Requests refused, by what for", rejections);
        of.register("cloakroom_backend_connects", "Connections opened to servers", self.connects.clone());
        of.register("cloakroom_backend_failures", "Requests for which a server gave no answer that could be passed on", self.failures.clone());
        of.register("cloakroom_backend_idle_connections", "Idle connections to servers", self.backend_idle.clone());
        of.register("cloakroom_connections", "Connections of clients that are open", self.connections.clone());
        of.register("cloakroom_accept_failures", "Connections that could not be accepted", self.accept_failures.clone());
        of.register("cloakroom_tls_handshake_failures", "Connections of clients with which TLS was not agreed on", self.tls_handshake_failures.clone());
        of.register_with_unit("cloakroom_revocation_lag", "From when a change of a key or user was written to the store to when this process dropped what it had cached of it, seen when it is read again", Unit::Seconds, self.revocation_lag.clone());
        of.register("cloakroom_build", "The release that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let start = ConstGauge::new(since.as_secs_f64());
        of.register_with_unit("process_start_time", "When this process started, since 1970", Unit::Seconds, start);
        of.register_collector(Box::new(Scraped(of_process)));
    }

    /// Handles for a server of the configuration; `None` for requests that ask for none. The same ones
    /// for the same name, whatever configuration it is in.
    #[must_use]
    pub fn server(&self, name: Option<&ServerName>) -> ServerMetrics {
        let name = name.map_or(NOWHERE, ServerName::as_str);
        let server = one("server", name);
        let and = |label, value: &str| [server.clone(), one(label, value)].concat();
        ServerMetrics {
            under_way: self.under_way.get_or_create_owned(&server),
            streams: self.streams.get_or_create_owned(&server),
            duration: self.durations.get_or_create_owned(&server),
            connects: self.connects.get_or_create_owned(&server),
            classes: CLASSES.map(|class| self.requests.get_or_create_owned(&and("status", class))),
            failures: FAILURES
                .map(|(_, kind)| self.failures.get_or_create_owned(&and("kind", kind))),
        }
    }

    /// Counts a refusal.
    pub fn rejected(&self, kind: Kind) {
        // `Kind::ALL` is in the order of the kinds, which a test checks.
        if let Some(counter) = self.rejections.get(kind as usize) {
            counter.inc();
        }
    }

    /// Adds figures that are read whenever the page is asked for.
    pub fn at_scrape(&self, source: impl Fn(&mut Page<'_, '_>) + Send + Sync + 'static) {
        self.lock().register_collector(Box::new(Scraped(source)));
    }

    /// The page, as [`CONTENT_TYPE`] says.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut page, &self.lock());
        page
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn of_process(page: &mut Page<'_, '_>) {
    for (name, help, value) in process::figures() {
        page.gauge(name, help, value);
    }
}

impl ServerMetrics {
    /// Counts a request by how it was answered; `None` if its client went away first.
    pub fn answered(&self, status: Option<StatusCode>) {
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100));
        if let Some(counter) = self.classes.get(class) {
            counter.inc();
        }
    }

    /// Counts a refusal, if it is the backend's doing.
    pub fn rejected(&self, kind: Kind) {
        let failures = FAILURES.iter().zip(&self.failures);
        for (_, counter) in failures.filter(|((failure, _), _)| *failure == kind) {
            counter.inc();
        }
    }
}

fn one(label: &'static str, value: &str) -> Labels {
    vec![(label, value.to_owned())]
}

/// A page under the making. Help has no full stop: one is added, as the library does elsewhere.
pub struct Page<'e, 'p> {
    encoder: &'e mut DescriptorEncoder<'p>,
    written: fmt::Result,
}

impl Page<'_, '_> {
    /// A figure that only rises; `_total` is added to its name.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.write(|encoder| {
            let metric =
                encoder.encode_descriptor(name, &sentence(help), None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)
        });
    }

    /// A figure that rises and falls.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.write(|encoder| {
            let metric =
                encoder.encode_descriptor(name, &sentence(help), None, MetricType::Gauge)?;
            gauge(value).encode(metric)
        });
    }

    /// A figure of each of several things, by their labels, that rises and falls.
    pub fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'static str, String); N], u64)>,
    ) {
        self.each(name, help, gauge, values);
    }

    /// A count of each of several things, by their labels, that only rises.
    pub fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'static str, String); N], u64)>,
    ) {
        self.each(name, help, ConstCounter::new, values);
    }

    fn each<const N: usize, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        metric: impl Fn(u64) -> M,
        values: impl IntoIterator<Item = ([(&'static str, String); N], u64)>,
    ) {
        self.write(|encoder| {
            let kind = metric(0).metric_type();
            let mut family = encoder.encode_descriptor(name, &sentence(help), None, kind)?;
            for (labels, value) in values {
                metric(value).encode(family.encode_family(&labels)?)?;
            }
            Ok(())
        });
    }

    /// One of several states: 1 for the one that is, 0 for the others.
    pub fn state(&mut self, name: &str, help: &str, states: &[&str], now: &str) {
        let each = states
            .iter()
            .map(|state| ([("state", (*state).to_owned())], u64::from(*state == now)));
        self.gauges(name, help, each);
    }

    fn write(&mut self, figure: impl FnOnce(&mut DescriptorEncoder<'_>) -> fmt::Result) {
        if self.written.is_ok() {
            self.written = figure(self.encoder);
        }
    }
}

fn gauge(value: u64) -> ConstGauge {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

fn sentence(help: &str) -> String {
    format!("{help}.")
}

struct Scraped<F>(F);

impl<F> fmt::Debug for Scraped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scraped")
    }
}

impl<F: Fn(&mut Page<'_, '_>) + Send + Sync + 'static> Collector for Scraped<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page {
            encoder: &mut encoder,
            written: Ok(()),
        };
        (self.0)(&mut page);
        page.written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerName {
        ServerName::parse("github").unwrap()
    }

    // Fails when two kinds change places in `Kind::ALL`.
    #[test]
    fn a_refusal_counts_under_its_own_name() {
        for kind in Kind::ALL {
            let metrics = Metrics::new();
            metrics.rejected(kind);
            let line = format!(
                "\ncloakroom_rejections_total{{kind=\"{}\"}} 1\n",
                kind.name()
            );
            assert!(metrics.page().contains(&line), "{kind:?}");
        }
    }

    #[test]
    fn a_request_counts_by_server_and_class_and_keeps_counting_after_a_reload() {
        let metrics = Metrics::new();
        let before = metrics.server(Some(&server()));
        before.answered(Some(StatusCode::OK));
        before.answered(None);
        before.rejected(Kind::BackendSilent);
        before.rejected(Kind::KeyRevoked);
        metrics
            .server(Some(&server()))
            .answered(Some(StatusCode::CREATED));
        metrics.server(None).answered(Some(StatusCode::NOT_FOUND));
        let page = metrics.page();
        for line in [
            "cloakroom_requests_total{server=\"github\",status=\"2xx\"} 2",
            "cloakroom_requests_total{server=\"github\",status=\"none\"} 1",
            "cloakroom_requests_total{server=\"_\",status=\"4xx\"} 1",
            "cloakroom_backend_failures_total{server=\"github\",kind=\"silent\"} 1",
            "cloakroom_backend_failures_total{server=\"github\",kind=\"down\"} 0",
        ] {
            assert!(page.contains(&format!("\n{line}\n")), "{line}\n{page}");
        }
    }

    // Fails when `partition_point` compares by `<=`, and when counts are given as they are read twice.
    #[test]
    fn durations_are_counted_up_to_their_bound_and_beyond_all() {
        let metrics = Metrics::new();
        for millis in [1, 2, 60_000, 60_001] {
            metrics
                .revocation_lag
                .observe(Duration::from_millis(millis));
        }
        let page = metrics.page();
        for line in [
            "cloakroom_revocation_lag_seconds_bucket{le=\"0.001\"} 1",
            "cloakroom_revocation_lag_seconds_bucket{le=\"0.0025\"} 2",
            "cloakroom_revocation_lag_seconds_bucket{le=\"60.0\"} 3",
            "cloakroom_revocation_lag_seconds_bucket{le=\"+Inf\"} 4",
            "cloakroom_revocation_lag_seconds_count 4",
            "cloakroom_revocation_lag_seconds_sum 120.004",
        ] {
            assert!(page.contains(&format!("\n{line}\n")), "{line}\n{page}");
        }
    }

    #[test]
    fn what_is_read_at_a_scrape_is_of_that_moment() {
        let metrics = Metrics::new();
        metrics.at_scrape(|page| {
            page.counter("x", "How many", 7);
            page.state("y", "Which", &["up", "down"], "down");
        });
        let page = metrics.page();
        assert!(
            page.contains("# HELP x How many.\n# TYPE x counter\nx_total 7\n"),
            "{page}"
        );
        assert!(
            page.contains("\ny{state=\"up\"} 0\ny{state=\"down\"} 1\n"),
            "{page}"
        );
        assert!(page.contains("\nprocess_resident_memory_bytes "), "{page}");
        assert!(page.ends_with("# EOF\n"), "{page}");
    }
}
