//! Calls whose secret a server wants mirrored in a header, against servers that make it hard.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Backend, House, MODERN, Next, Request, chunked, json_answer, plain_answer, stream_head,
    wait_until,
};

const SLOT: &str = "[servers.one.arguments]\ntoken = \"${TOKEN}\"\n";

fn modern(key: &str) -> Request {
    Request::post("/one/mcp", MODERN)
        .key(key)
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", "t")
}

fn listed(body: &[u8], schema: &Value) -> Vec<u8> {
    let body: Value = serde_json::from_slice(body).unwrap();
    let tools = json!([{"name": "t", "inputSchema": {"properties": {"token": schema}}}]);
    json_answer(
        &json!({"jsonrpc": "2.0", "id": body["id"], "result": {"tools": tools}}).to_string(),
    )
}

#[test]
fn an_underscore_does_not_make_a_second_mirror() {
    let backend = Backend::start(|request, stream| {
        let answer = if request.is_list() {
            listed(&request.body, &json!({"x-mcp-header": "Api-Token"}))
        } else {
            json_answer("{}")
        };
        stream.write_all(&answer).unwrap();
        Next::Keep
    });
    let house = House::with_slots(&backend, SLOT);
    house.ask(&modern(&house.alice).header("Mcp-Param-Api_Token", "evil"));
    let sent = backend.last();
    assert_eq!(sent.header("mcp-param-api-token"), Some("token of alice"));
    assert_eq!(sent.header("mcp-param-api_token"), None);
}

/// The answer of a refused call is one like any other.
#[test]
fn a_refused_call_hides_and_seals_like_any_answer() {
    let backend = Backend::start(|request, stream| {
        let answer = if request.is_list() {
            listed(&request.body, &json!({}))
        } else {
            let body = r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"task-1"},"tools":[{"name":"t","inputSchema":{"properties":{"token":{}}}}]}}"#;
            plain_answer(
                "400 Bad Request",
                &[("content-type", "application/json")],
                body,
            )
        };
        stream.write_all(&answer).unwrap();
        Next::Keep
    });
    let house = House::with_slots(&backend, SLOT);
    let answer = house.ask(&modern(&house.alice));
    assert_eq!(answer.status(), 400);
    assert!(!answer.text().contains("\"token\""), "{}", answer.text());
    assert!(!answer.text().contains("\"task-1\""), "{}", answer.text());
}

#[test]
fn a_long_refusal_of_a_call_arrives_whole() {
    let backend = Backend::start(|request, stream| {
        let answer = if request.is_list() {
            listed(&request.body, &json!({}))
        } else {
            let text = "x".repeat(70_000);
            let body =
                json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": text}});
            plain_answer(
                "400 Bad Request",
                &[("content-type", "application/json")],
                &body.to_string(),
            )
        };
        stream.write_all(&answer).unwrap();
        Next::Keep
    });
    let house = House::with_slots(&backend, SLOT);
    let answer = house.ask(&modern(&house.alice));
    assert_eq!(answer.status(), 400);
    assert!(answer.body.len() > 70_000, "{} bytes", answer.body.len());
}

/// Rule 7.
#[test]
fn a_refusal_that_does_not_end_ends_with_its_key() {
    let backend = Backend::start(|request, stream| {
        if request.is_list() {
            stream
                .write_all(&listed(&request.body, &json!({})))
                .unwrap();
            return Next::Keep;
        }
        let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&chunked("{")).unwrap();
        std::thread::sleep(Duration::from_secs(50));
        Next::Close
    });
    let house = House::with_slots(&backend, SLOT);
    let (key, id) = house.issue("alice", cloakroom::vault::KeyRequest::default());
    let mut client = house.connect();
    client.send(&modern(&key));
    wait_until("the call arrives", || backend.count() == 2);
    house.revoke(&id);
    let since = Instant::now();
    let _ = client.answer();
    assert!(
        since.elapsed() < Duration::from_secs(8),
        "{:?}",
        since.elapsed()
    );
}

/// Rule 7: what is sent after the key was revoked is sent for nobody.
#[test]
fn a_call_that_waits_for_the_list_is_not_sent_for_a_revoked_key() {
    let go = Arc::new(AtomicBool::new(false));
    let wait = go.clone();
    let backend = Backend::start(move |request, stream| {
        if request.is_list() {
            while !wait.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            stream
                .write_all(&listed(&request.body, &json!({})))
                .unwrap();
        } else {
            stream.write_all(&json_answer("{}")).unwrap();
        }
        Next::Keep
    });
    let house = House::with_slots(&backend, SLOT);
    let (key, id) = house.issue("alice", cloakroom::vault::KeyRequest::default());
    let mut client = house.connect();
    client.send(&modern(&key));
    wait_until("the list is asked for", || backend.count() == 1);
    house.revoke(&id);
    std::thread::sleep(Duration::from_secs(6));
    go.store(true, Ordering::SeqCst);
    let _ = client.answer();
    assert_eq!(
        backend.count(),
        1,
        "the call was made 6 s after its key was revoked"
    );
}

/// Rule 7, also when another call has found out meanwhile which header the server wants now.
#[test]
fn a_call_is_not_made_again_for_a_key_revoked_since() {
    let go = Arc::new(AtomicBool::new(false));
    let wait = go.clone();
    let lists = AtomicUsize::new(0);
    let backend = Backend::start(move |request, stream| {
        let answer = if request.is_list() {
            let first = lists.fetch_add(1, Ordering::SeqCst) == 0;
            let header = if first { "Old" } else { "New" };
            listed(&request.body, &json!({"x-mcp-header": header}))
        } else if request.header("mcp-param-new").is_some() {
            json_answer("{}")
        } else {
            while request.header("user-agent") != Some("another") && !wait.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            plain_answer(
                "400 Bad Request",
                &[("content-type", "application/json")],
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"mismatch"}}"#,
            )
        };
        stream.write_all(&answer).unwrap();
        Next::Keep
    });
    let house = House::with_slots(&backend, SLOT);
    let (key, id) = house.issue("alice", cloakroom::vault::KeyRequest::default());
    let mut client = house.connect();
    client.send(&modern(&key));
    wait_until("the list and the call arrive", || backend.count() == 2);
    let another = house.ask(&modern(&house.alice).header("User-Agent", "another"));
    assert_eq!((another.status(), backend.count()), (200, 5));
    house.revoke(&id);
    std::thread::sleep(Duration::from_secs(2));
    go.store(true, Ordering::SeqCst);
    let _ = client.answer();
    assert_eq!(backend.count(), 5, "the call was made again");
}

/// Rule 7.
#[test]
fn a_call_does_not_wait_for_the_end_of_a_lists_stream() {
    let backend = Backend::start(|request, stream| {
        if request.is_list() {
            let answer = listed(&request.body, &json!({}));
            let text = String::from_utf8(answer).unwrap();
            let body = text.split_once("\r\n\r\n").unwrap().1;
            stream.write_all(&stream_head("")).unwrap();
            stream
                .write_all(&chunked(format!("data: {body}\n\n")))
                .unwrap();
            std::thread::sleep(Duration::from_secs(50));
            return Next::Close;
        }
        stream.write_all(&json_answer("{}")).unwrap();
        Next::Keep
    });
    let house = House::with_slots(&backend, SLOT);
    for _ in 0..2 {
        let since = Instant::now();
        house.ask(&modern(&house.alice));
        assert!(
            since.elapsed() < Duration::from_secs(5),
            "{:?}",
            since.elapsed()
        );
    }
}

#[test]
fn many_calls_at_once_list_once() {
    let lists = Arc::new(AtomicUsize::new(0));
    let count = lists.clone();
    let backend = Backend::start(move |request, stream| {
        if request.is_list() {
            count.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(500));
            stream
                .write_all(&listed(&request.body, &json!({})))
                .unwrap();
        } else {
            stream.write_all(&json_answer("{}")).unwrap();
        }
        Next::Keep
    });
    let house = House::with_slots(&backend, SLOT);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| house.ask(&modern(&house.alice)));
        }
    });
    assert_eq!(lists.load(Ordering::SeqCst), 1);
}

#[test]
fn a_list_that_cannot_be_had_is_not_asked_for_with_every_call() {
    let backend = Backend::start(|request, stream| {
        let answer = if request.is_list() {
            plain_answer(
                "404 Not Found",
                &[("content-type", "application/json")],
                "{}",
            )
        } else {
            json_answer("{}")
        };
        stream.write_all(&answer).unwrap();
        Next::Keep
    });
    let house = House::with_slots(&backend, SLOT);
    for _ in 0..10 {
        house.ask(&modern(&house.alice));
    }
    assert!(
        backend.count() < 15,
        "{} requests for 10 calls",
        backend.count()
    );
}

/// Rule 9: what is kept of a server's lists has a bound.
#[test]
fn what_is_kept_of_lists_is_bounded() {
    let backend = Backend::start(|request, stream| {
        let answer = if request.is_list() {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let tools: Vec<_> = (0..70_000)
                .map(|n| format!(r#"{{"name":"{n}","inputSchema":{{"properties":{{"a":{{"x-mcp-header":"A"}}}}}}}}"#))
                .collect();
            let tools = tools.join(",");
            json_answer(&format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{{"tools":[{tools}]}}}}"#,
                body["id"]
            ))
        } else {
            json_answer("{}")
        };
        stream.write_all(&answer).unwrap();
        Next::Keep
    });
    let house = House::with_slots(&backend, SLOT);
    house.ask(&modern(&house.alice));
    let before = house.rss();
    for n in 0..12 {
        house.set_secret("alice", "default", "TOKEN", &format!("another {n}"));
        std::thread::sleep(Duration::from_millis(200));
        house.ask(&modern(&house.alice));
    }
    // What is free is given back after a second, or later where there is much else to do.
    let grown = || house.rss().saturating_sub(before) / 1024;
    let until = Instant::now() + Duration::from_secs(15);
    while grown() >= 64 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(200));
    }
    let grown = grown();
    assert!(grown < 64, "12 changes of one secret keep {grown} MiB");
}
