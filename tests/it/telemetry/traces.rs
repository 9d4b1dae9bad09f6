//! Traces, as a collector gets them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::net::TcpListener;

use crate::support::backend::{Recorder, value};
use crate::support::client::{call, post};
use crate::support::collector::Collector;
use crate::support::proxy::{Lines, Place, Proxy};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const OTHER: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "b7ad6b7169203331";

async fn start(endpoint: &str, more: &str, backend: &Recorder) -> (Proxy, String) {
    let store = format!("[telemetry]\notlp_endpoint = \"{endpoint}\"\n{more}");
    let lines = Lines {
        store: &store,
        ..Lines::default()
    };
    let proxy = Proxy::start(&Place::Sqlite, &lines, &[("json", backend.url.clone())]).await;
    let key = proxy.settle_in("alice", &["json"]).await;
    (proxy, key)
}

fn traced(key: &str, header: Option<&str>, meta: Option<&str>) -> Request<Full<Bytes>> {
    let meta = meta.map_or(String::new(), |parent| {
        format!(r#","_meta":{{"traceparent":"{parent}","tracestate":"vendor=1"}}"#)
    });
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{}}{meta}}}}}"#
    );
    let mut request = post("json", key, body);
    if let Some(parent) = header {
        request
            .headers_mut()
            .insert("traceparent", parent.parse().unwrap());
    }
    request
}

fn parent(trace: &str, flags: &str) -> String {
    format!("00-{trace}-{SPAN}-{flags}")
}

// Fails when the header's context does not come first, when the backend is sent the client's, and when
// the two spans are not one within the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_one_trace_from_its_client_to_its_backend() {
    let (collector, backend) = (Collector::start().await, Recorder::start().await);
    let (proxy, key) = start(&collector.url, "", &backend).await;
    let mut client = proxy.client();
    let (sent, other) = (parent(TRACE, "01"), parent(OTHER, "01"));
    for (header, meta, expected, state) in [
        (Some(&sent), None, Some(TRACE), ""),
        (None, Some(&sent), Some(TRACE), "vendor=1"),
        (Some(&sent), Some(&other), Some(TRACE), ""),
        (
            Some(&"00-zz-zz-01".to_owned()),
            Some(&other),
            Some(OTHER),
            "vendor=1",
        ),
        (None, Some(&"clk_nonsense".to_owned()), None, ""),
        (None, None, None, ""),
    ] {
        let request = traced(&key, header.map(String::as_str), meta.map(String::as_str));
        let body = request.body().clone();
        assert_eq!(client.exchange(request).await.unwrap().status, 200);
        let received = backend.received().pop().unwrap();
        let told = value(&received, "traceparent").unwrap().to_owned();
        let state_told = value(&received, "tracestate").unwrap_or_default();
        assert_eq!(state_told, state);
        let body = body.collect().await.unwrap().to_bytes();
        assert!(
            received.ends_with(std::str::from_utf8(&body).unwrap()),
            "{received}"
        );
        let spans = collector.spans(2).await;
        collector.forget();
        let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap().clone();
        let (server, backend) = (of("tools/call"), of("backend"));
        let [_, trace, span, flags] = told.split('-').collect::<Vec<_>>()[..] else {
            panic!("{told}")
        };
        assert_eq!((trace, span, flags), (&*server.trace, &*backend.span, "01"));
        assert_eq!(
            (&backend.trace, &backend.parent),
            (&server.trace, &server.span)
        );
        assert_eq!(server.state, state);
        match expected {
            Some(trace) => assert_eq!((&*server.trace, &*server.parent), (trace, SPAN)),
            None => assert_eq!(server.parent, ""),
        }
        assert_eq!(server.attribute("cloakroom.server"), "json");
        assert_eq!(server.attribute("mcp.method.name"), "tools/call");
        assert_eq!(server.attribute("http.response.status_code"), "200");
        assert_eq!(server.attribute("cloakroom.era"), "legacy");
    }
}

// Fails when a parent's decision is not kept, and when a refusal has no span.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_a_request_decides_whether_it_is_sampled_else_the_ratio_does() {
    let (collector, backend) = (Collector::start().await, Recorder::start().await);
    let (mut proxy, key) = start(&collector.url, "sample = \"0\"", &backend).await;
    let mut client = proxy.client();
    let flags = |received: Vec<String>| {
        let told = value(&received[0], "traceparent").unwrap().to_owned();
        told[told.len() - 2..].to_owned()
    };
    client.exchange(traced(&key, None, None)).await.unwrap();
    assert_eq!(flags(backend.received()), "00");
    let not = parent(TRACE, "00");
    client
        .exchange(traced(&key, Some(&not), None))
        .await
        .unwrap();
    assert_eq!(flags(backend.received()), "00");
    let refused = traced("clk_wrong", Some(&parent(OTHER, "01")), None);
    assert_eq!(client.exchange(refused).await.unwrap().status, 401);
    // What waits is sent when it ends.
    drop(client);
    proxy.serving.stop().await;
    let spans = collector.spans(1).await;
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!((&*spans[0].trace, &*spans[0].name), (OTHER, "POST"));
    assert_eq!(spans[0].attribute("error.type"), "unauthenticated");
}

// Fails when ending a span waits for the collector.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_holds_up_nobody() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let backend = Recorder::start().await;
    let (proxy, key) = start(&url, "", &backend).await;
    // Many times what may wait to be sent.
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut clients: Vec<_> = (0..8).map(|_| proxy.client()).collect();
    for _ in 0..2500 {
        let at = Instant::now();
        let calls = clients
            .iter_mut()
            .map(|client| client.exchange(call("json", &key, 1, "n")));
        for answer in futures_util::future::join_all(calls).await {
            assert_eq!(answer.unwrap().status, 200);
        }
        slowest = slowest.max(at.elapsed());
    }
    backend.received();
    println!(
        "20,000 requests in {:?}, the slowest of eight {slowest:?}",
        begun.elapsed()
    );
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    // The failure is told once, when the first message was given up.
    let until = Instant::now() + Duration::from_secs(20);
    let told = || {
        let printed = String::from_utf8(proxy.printed()).unwrap();
        printed.matches("spans cannot be sent").count()
    };
    while told() == 0 {
        assert!(Instant::now() < until, "it is never told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(told(), 1);
}
