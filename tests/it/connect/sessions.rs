//! Sessions that are lost, and streams that are cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;

use super::bridge::Bridge;
use super::desk::{Desk, events, plain, well};

// Fails when each call opens a session of its own, when the client sees a second answer to `initialize`,
// or when a call is lost or made twice in the new session.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_session_begins_anew_without_the_client() {
    let session = Arc::new(AtomicUsize::new(1));
    let current = session.clone();
    let desk = Desk::open(move |asked| {
        let session = format!("s{}", current.load(Ordering::SeqCst));
        async move { Some(well(&asked, &session, json!({"tools": {}}))) }
    })
    .await;
    let mut bridge = Bridge::to(&desk.url);
    bridge.open().await;
    bridge.ask(1, "tools/list", json!({"n": 1}));
    assert_eq!(bridge.next().await["result"]["n"], 1);
    session.store(2, Ordering::SeqCst);
    for id in 2..12 {
        bridge.ask(id, "tools/call", json!({"n": id}));
    }
    for (answer, id) in bridge.several(10).await.iter().zip(2..) {
        assert_eq!(
            (&answer["id"], &answer["result"]["n"]),
            (&json!(id), &json!(id))
        );
    }
    let asked = desk.asked();
    let count = |what: &str, session: Option<&str>| {
        let of = |asked: &&super::desk::Asked| {
            asked.what() == what && asked.header("mcp-session-id") == session
        };
        asked.iter().filter(of).count()
    };
    assert_eq!(count("initialize", None), 2, "{:?}", desk.methods());
    assert_eq!(count("notifications/initialized", Some("s2")), 1);
    assert_eq!(count("tools/call", Some("s2")), 10);
    let opened: Vec<_> = asked.iter().filter(|a| a.what() == "initialize").collect();
    assert_eq!(opened[0].body, opened[1].body, "the client's own words");

    // An answer to a question of the lost session is for nobody.
    session.store(3, Ordering::SeqCst);
    bridge.say(&json!({"jsonrpc": "2.0", "id": "stray", "result": {}}));
    desk.until(|asked| asked.header("mcp-session-id") == Some("s3"))
        .await;
    bridge.ask(20, "tools/call", json!({"n": 20}));
    assert_eq!(bridge.next().await["result"]["n"], 20);
    let strays = desk
        .asked()
        .into_iter()
        .filter(|asked| asked.body["id"] == "stray");
    assert_eq!(strays.count(), 1);
    let left = bridge.ended().await;
    assert_eq!((left.code, left.rest.len()), (Some(0), 0));
}

// Fails when a client goes on with a server that is not the one it met.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_server_changed_is_told_to_reconnect() {
    let session = Arc::new(AtomicUsize::new(1));
    let current = session.clone();
    let desk = Desk::open(move |asked| {
        let number = current.load(Ordering::SeqCst);
        async move {
            Some(well(
                &asked,
                &format!("s{number}"),
                json!({"tools": {"n": number}}),
            ))
        }
    })
    .await;
    let mut bridge = Bridge::to(&desk.url);
    bridge.open().await;
    // It would find out too.
    desk.until(|asked| asked.what() == "GET").await;
    session.store(2, Ordering::SeqCst);
    for id in 1..4 {
        bridge.ask(id, "tools/list", json!({}));
        let answer = bridge.next().await;
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(id), &json!(4042))
        );
        let text = answer["error"]["message"].as_str().unwrap();
        assert!(text.contains("reconnect"), "{text}");
    }
    let calls = desk
        .methods()
        .into_iter()
        .filter(|method| method == "tools/list");
    assert_eq!(calls.count(), 1, "nothing is sent to a stranger");
    let ended = |asked: &super::desk::Asked| {
        asked.what() == "DELETE" && asked.header("mcp-session-id") == Some("s2")
    };
    desk.until(ended).await;
    // It can.
    assert_eq!(
        bridge.open().await["result"]["capabilities"]["tools"]["n"],
        2
    );
    bridge.ask(9, "tools/list", json!({"n": 9}));
    assert_eq!(bridge.next().await["result"]["n"], 9);
}

// Fails when what was sent is sent again, or its end is taken for an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_answer_is_cut_is_not_made_again() {
    let desk = Desk::open(async |asked| match asked.body["id"].as_u64() {
        Some(1) => None,
        Some(2) => {
            let (sender, response) = events();
            sender
                .send("data: {\"jsonrpc\":\"2.0\",\"met".to_owned())
                .unwrap();
            Some(response)
        }
        _ => Some(well(&asked, "s", json!({}))),
    })
    .await;
    let mut bridge = Bridge::to(&desk.url);
    bridge.open().await;
    for id in [1, 2] {
        bridge.ask(id, "tools/call", json!({}));
        let error = bridge.next().await["error"].clone();
        assert_eq!(error["code"], 5022, "{error}");
        assert!(error["message"].as_str().unwrap().contains("not known"));
    }
    let calls = desk
        .methods()
        .into_iter()
        .filter(|method| method == "tools/call");
    assert_eq!(calls.count(), 2);
}

// Fails when events without data are dropped, or `retry` and `Last-Event-ID` are not gone by.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_is_asked_for_from_its_last_event_on() {
    let desk = Desk::open(async |asked| {
        let (sender, response) = events();
        let send = |text: &str| sender.send(text.to_owned()).unwrap();
        match (asked.what(), asked.header("last-event-id")) {
            ("tools/call", _) => send("id: a1\nretry: 10\ndata: \n\n"),
            ("GET", Some("a1")) => {
                send("id: a2\nretry: 10\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"method\":\"half\"}\n\n");
            }
            ("GET", Some("a2")) => send("id: a3\ndata: {\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{}}\n\n"),
            _ => return Some(well(&asked, "s", json!({}))),
        }
        Some(response)
    })
    .await;
    let mut bridge = Bridge::to(&desk.url);
    bridge.open().await;
    bridge.ask(5, "tools/call", json!({}));
    assert_eq!(bridge.next().await["method"], "half");
    assert_eq!(
        bridge.next().await,
        json!({"jsonrpc": "2.0", "id": 5, "result": {}})
    );
    let resumed = |asked: &super::desk::Asked| asked.header("last-event-id") == Some("a2");
    let resumed = desk.until(resumed).await;
    assert_eq!(resumed.header("mcp-session-id"), Some("s"));
    assert_eq!(resumed.header("mcp-protocol-version"), Some("2025-11-25"));
}

// Fails when the stream is not opened again, or not from its last event on; or when the question is lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_on_its_own_arrives_also_after_a_cut() {
    let (open, mut opened) = unbounded_channel();
    let desk = Desk::open(move |asked| {
        let open = open.clone();
        async move {
            if asked.what() != "GET" {
                return Some(well(&asked, "s", json!({})));
            }
            let (sender, response) = events();
            open.send((asked.header("last-event-id").map(str::to_owned), sender))
                .unwrap();
            Some(response)
        }
    })
    .await;
    let mut bridge = Bridge::to(&desk.url);
    bridge.open().await;
    let (last, stream) = opened.recv().await.unwrap();
    assert_eq!(last, None);
    let asks = r#"data: {"jsonrpc":"2.0","id":"q","method":"roots/list"}"#;
    stream
        .send(format!("retry: 20\nid: e1\n{asks}\n\n"))
        .unwrap();
    assert_eq!(bridge.next().await["method"], "roots/list");
    bridge.say(&json!({"jsonrpc": "2.0", "id": "q", "result": {"roots": []}}));
    desk.until(|asked| asked.body["result"]["roots"].is_array())
        .await;
    drop(stream);
    let (last, stream) = opened.recv().await.unwrap();
    assert_eq!(last.as_deref(), Some("e1"));
    stream.send(format!("{asks}\n\n")).unwrap();
    assert_eq!(bridge.next().await["id"], "q");
}

// Fails when the session of a stream that ended is taken for alive.
#[tokio::test(flavor = "multi_thread")]
async fn over_http_sse_a_session_that_ended_with_its_stream_begins_anew() {
    let (streams, current) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(std::sync::Mutex::new(None)),
    );
    let (count, stream) = (streams.clone(), current.clone());
    let desk = Desk::open(move |asked| {
        let (count, stream) = (count.clone(), stream.clone());
        async move {
            if asked.what() == "GET" {
                let (sender, response) = events();
                let number = count.fetch_add(1, Ordering::SeqCst);
                sender
                    .send(format!("event: endpoint\ndata: /m?s={number}\n\n"))
                    .unwrap();
                *stream.lock().unwrap() = Some(sender);
                return Some(response);
            }
            let result = match asked.what() {
                "initialize" => json!({"protocolVersion": "2024-11-05", "capabilities": {}}),
                _ => json!({"stream": count.load(Ordering::SeqCst)}),
            };
            let stream = stream.lock().unwrap().clone();
            let Some(stream) = stream else {
                return Some(plain(404));
            };
            if !asked.body["id"].is_null() {
                let text = json!({"jsonrpc": "2.0", "id": asked.body["id"], "result": result});
                let _ = stream.send(format!("event: message\ndata: {text}\n\n"));
            }
            Some(plain(202))
        }
    })
    .await;
    let mut bridge = Bridge::to(&desk.url.replace("/mcp", "/sse"));
    bridge.open().await;
    bridge.ask(1, "tools/list", json!({}));
    assert_eq!(bridge.next().await["result"]["stream"], 1);
    // The end of the stream and the call arrive in any order; the call is made in neither session twice.
    *current.lock().unwrap() = None;
    bridge.ask(2, "tools/list", json!({}));
    let answer = bridge.next().await;
    assert_eq!(answer["result"]["stream"], 2, "{answer}");
    let opened = desk
        .methods()
        .into_iter()
        .filter(|method| method == "initialize");
    assert_eq!(opened.count(), 2);
}
