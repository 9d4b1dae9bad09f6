//! The page of metrics.

use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;

use super::parser::Page;
use crate::support::client::{Client, call, listen, post};
use crate::support::echo::{Manner, echo};
use crate::support::proxy::{Lines, Place, Proxy};
use crate::support::redis::free_port;

/// A proxy with a page, and where that is.
async fn start(servers: &[(&str, String)]) -> (Proxy, std::net::SocketAddr) {
    let health = format!("127.0.0.1:{}", free_port());
    let lines = Lines {
        root: &format!("health_listen = \"{health}\""),
        ..Lines::default()
    };
    let proxy = Proxy::start(&Place::Sqlite, &lines, servers).await;
    (proxy, health.parse().unwrap())
}

async fn page(health: std::net::SocketAddr) -> Page {
    let request = http::Request::get("/metrics").header("host", "h");
    let request = request.body(http_body_util::Full::default()).unwrap();
    let answer = Client::new(health).exchange(request).await.unwrap();
    let kind = answer.header("content-type");
    assert_eq!(
        kind,
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    Page::read(&answer.text())
}

/// The page, once `so`.
async fn page_when(health: std::net::SocketAddr, so: impl Fn(&Page) -> bool) -> Page {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let page = page(health).await;
        if so(&page) {
            return page;
        }
        assert!(Instant::now() < until, "it never is so");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

// Fails when an answer is counted before its status is known, when the server's handles are found by
// anything but the first segment, and when `Entry` is dropped before its answer ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_is_on_the_page_and_nothing_a_client_wrote() {
    let servers = [
        ("json", echo(Manner::Json).await),
        ("down", "http://127.0.0.1:1/mcp".to_owned()),
    ];
    let (proxy, health) = start(&servers).await;
    let key = proxy.settle_in("alice", &["json", "down"]).await;
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(client.call("json", &key, "n").await.status, 200);
    }
    assert_eq!(client.call("down", &key, "n").await.status, 502);
    assert_eq!(client.call("json", "clk_wrong", "n").await.status, 401);
    assert_eq!(client.call("nosuch", &key, "n").await.status, 404);
    let wrong = post("json", &key, "{]".to_owned());
    assert_eq!(client.exchange(wrong).await.unwrap().status, 400);
    let mut sets = call("json", &key, 1, "n");
    *sets.uri_mut() = "/json/mcp".parse().unwrap();
    sets.headers_mut()
        .insert("x-evil", "canary".parse().unwrap());
    assert_eq!(client.exchange(sets).await.unwrap().status, 200);
    let mut listener = proxy.client();
    let (open, stream) = listener.open(listen("json", &key)).await.unwrap();
    assert_eq!(stream.status(), 200);

    // An answer ends for us a moment after its client has all of it.
    let under_way = |page: &Page| page.value("cloakroom_requests_under_way{server=\"json\"}");
    let seen = page_when(health, |page| under_way(page) == 1.0).await;
    for (series, value) in [
        (
            "cloakroom_requests_total{server=\"json\",status=\"2xx\"}",
            5.0,
        ),
        (
            "cloakroom_requests_total{server=\"json\",status=\"4xx\"}",
            2.0,
        ),
        (
            "cloakroom_requests_total{server=\"down\",status=\"5xx\"}",
            1.0,
        ),
        ("cloakroom_requests_total{server=\"_\",status=\"4xx\"}", 1.0),
        (
            "cloakroom_request_duration_seconds_count{server=\"json\"}",
            7.0,
        ),
        ("cloakroom_rejections_total{kind=\"unauthenticated\"}", 1.0),
        ("cloakroom_rejections_total{kind=\"unknown_server\"}", 1.0),
        ("cloakroom_rejections_total{kind=\"not_json\"}", 1.0),
        ("cloakroom_rejections_total{kind=\"backend_down\"}", 1.0),
        (
            "cloakroom_backend_failures_total{server=\"down\",kind=\"down\"}",
            1.0,
        ),
        ("cloakroom_backend_connects_total{server=\"down\"}", 0.0),
        ("cloakroom_open_streams{server=\"json\"}", 1.0),
        ("cloakroom_connections", 2.0),
        ("cloakroom_bodies_held_bytes", 0.0),
        ("cloakroom_accept_failures_total", 0.0),
    ] {
        assert_eq!(seen.value(series), value, "{series}");
    }
    assert!(seen.value("cloakroom_backend_connects_total{server=\"json\"}") >= 1.0);
    assert!(seen.value("cloakroom_cache_hits_total") > 0.0);
    assert!(seen.value("cloakroom_cache_misses_total") > 0.0);
    assert!(seen.value("process_resident_memory_bytes") > 1e6);
    assert!(seen.value("process_open_fds") > 5.0);
    assert!(seen.value("process_start_time_seconds") > 1.7e9);
    let version = concat!(
        "cloakroom_build_info{version=\"",
        env!("CARGO_PKG_VERSION"),
        "\"}"
    );
    assert_eq!(seen.value(version), 1.0);
    for (name, _) in seen.kinds() {
        assert!(
            name.starts_with("cloakroom_") || name.starts_with("process_"),
            "{name}"
        );
    }
    drop((stream, open));
    let ended = |page: &Page| page.value("cloakroom_open_streams{server=\"json\"}") == 0.0;
    let seen = page_when(health, ended).await;
    assert_eq!(
        seen.value("cloakroom_requests_under_way{server=\"json\"}"),
        0.0
    );
}

// Fails when the moment a change was heard of is not kept, or a version is not taken for a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_late_a_revocation_was_heard_of_is_told() {
    let servers = [("json", echo(Manner::Json).await)];
    let (proxy, health) = start(&servers).await;
    let (key, mut client) = proxy.known("alice", "json").await;
    let lags = |page: &Page| page.value("cloakroom_revocation_lag_seconds_count");
    let (_open, mut stream) = proxy.client().open(listen("json", &key)).await.unwrap();
    let before = lags(&page(health).await);
    proxy.revoke(&key).await;
    // The stream's key is read again at once, and it ends.
    while stream
        .body_mut()
        .frame()
        .await
        .is_some_and(|frame| frame.is_ok())
    {}
    assert_eq!(client.call("json", &key, "n").await.status, 401);
    let seen = page(health).await;
    assert_eq!(lags(&seen), before + 1.0);
    assert!(seen.value("cloakroom_revocation_lag_seconds_sum") < 10.0);
}
