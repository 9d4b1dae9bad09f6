//! How it begins and ends.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;

use super::bridge::Bridge;
use super::desk::{Desk, events, well};
use crate::support::redis::free_port;

// Fails when a refused connection is an end, or an answer before the time is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_start_before_the_server_and_is_told_when_that_takes_too_long() {
    let port = free_port();
    let mut bridge = Bridge::to(&format!("http://127.0.0.1:{port}/mcp"));
    let began = Instant::now();
    for id in 1..4 {
        bridge.ask(id, "tools/list", json!({}));
    }
    for answer in bridge.several(3).await {
        let text = answer["error"]["message"].as_str().unwrap();
        assert!(text.contains("cannot be reached"), "{text}");
        assert_eq!(answer["error"]["code"], 5020);
    }
    // Not one after the other.
    let took = began.elapsed();
    assert!(
        took > Duration::from_secs(8) && took < Duration::from_secs(18),
        "{took:?}"
    );

    bridge.ask(4, "tools/list", json!({"n": 4}));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let answer = async |asked: super::desk::Asked| {
        let id = &asked.body["id"];
        Some(super::desk::answered(id, &asked.body["params"]))
    };
    let _desk = Desk::at(listener, answer);
    assert_eq!(bridge.next().await["result"]["n"], 4);
}

/// A bridge with a call under way, and how to answer it.
async fn waiting() -> (Desk, Bridge, tokio::sync::mpsc::UnboundedSender<String>) {
    let (open, mut opened) = unbounded_channel();
    let desk = Desk::open(move |asked| {
        let open = open.clone();
        async move {
            if asked.what() != "tools/call" {
                return Some(well(&asked, "s", json!({})));
            }
            let (sender, response) = events();
            open.send(sender).unwrap();
            Some(response)
        }
    })
    .await;
    let mut bridge = Bridge::to(&desk.url);
    bridge.open().await;
    bridge.ask(1, "tools/call", json!({}));
    let stream = opened.recv().await.unwrap();
    (desk, bridge, stream)
}

const ANSWER: &str = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";

// Fails when the end of the input, or a signal, ends what is under way, or the session is not ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_may_finish_and_the_session_is_ended() {
    for by_signal in [false, true] {
        let (desk, mut bridge, stream) = waiting().await;
        if by_signal {
            bridge.signal(Signal::TERM);
            // Nothing more is taken.
            tokio::time::sleep(Duration::from_millis(200)).await;
            bridge.ask(2, "tools/list", json!({}));
        } else {
            bridge.end();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(!desk.methods().contains(&"DELETE".to_owned()));
        stream.send(ANSWER.to_owned()).unwrap();
        let left = bridge.left().await;
        assert_eq!(left.code, Some(0), "{}", left.errors);
        assert_eq!(
            left.rest,
            [json!({"jsonrpc": "2.0", "id": 1, "result": {}})]
        );
        let methods = desk.methods();
        assert_eq!(methods.last().unwrap(), "DELETE", "{methods:?}");
        assert!(!methods.contains(&"tools/list".to_owned()));
    }
}

// Fails when nothing bounds the wait, or a second signal does not end it.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_never_answered_is_waited_for_ten_seconds_or_until_told_again() {
    for hurried in [false, true] {
        let (desk, mut bridge, stream) = waiting().await;
        let began = Instant::now();
        bridge.end();
        if hurried {
            tokio::time::sleep(Duration::from_millis(200)).await;
            bridge.signal(Signal::TERM);
        }
        let left = bridge.left().await;
        let took = began.elapsed();
        assert_eq!((left.code, left.rest.len()), (Some(0), 0));
        let wanted = if hurried { 0..5 } else { 9..18 };
        assert!(wanted.contains(&took.as_secs()), "{took:?}");
        stream.closed().await;
        assert_eq!(desk.methods().last().unwrap(), "DELETE");
    }
}

// Fails when a listener that never ends is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_keeps_nobody() {
    let (open, mut opened) = unbounded_channel();
    let desk = Desk::open(move |_| {
        let open = open.clone();
        async move {
            let (sender, response) = events();
            open.send(sender).unwrap();
            Some(response)
        }
    })
    .await;
    let mut bridge = Bridge::to(&desk.url);
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    bridge.ask(1, "subscriptions/listen", json!({"_meta": meta}));
    let stream = opened.recv().await.unwrap();
    let began = Instant::now();
    let left = bridge.ended().await;
    assert_eq!((left.code, left.rest.len()), (Some(0), 0));
    assert!(began.elapsed() < Duration::from_secs(5));
    stream.closed().await;
}
