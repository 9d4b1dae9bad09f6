//! What a hostile reading of slots, tasks and HTTP+SSE found.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{
    Backend, Client, House, MODERN, Next, Request, chunked, json_answer, plain_answer, stream_head,
    wait_until,
};

#[test]
fn a_query_too_long_for_a_url_stops_its_request() {
    let backend = Backend::simple();
    let house = House::with_slots(&backend, "[servers.one.query]\nkey = \"${TOKEN}\"\n");
    house.set_secret("alice", "default", "TOKEN", &"/".repeat(30_000));
    let answer = house.ask(&house.post(crate::support::CALL));
    assert_eq!(
        backend.count(),
        0,
        "sent without its secret: {} {}",
        backend.last().target,
        answer.status()
    );
}

#[test]
fn a_slow_body_is_not_sent_for_a_revoked_key() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    let (key, id) = house.issue("alice", cloakroom::vault::KeyRequest::default());
    let bytes = Request::post("/one/mcp", crate::support::CALL)
        .key(&key)
        .to_bytes(house.address);
    let mut client = house.connect();
    client.write(&bytes[..bytes.len() - 5]);
    std::thread::sleep(Duration::from_millis(300));
    house.revoke(&id);
    std::thread::sleep(Duration::from_secs(6));
    client.write(&bytes[bytes.len() - 5..]);
    let answer = client.answer();
    assert_eq!(
        backend.count(),
        0,
        "sent 6 s after its key was revoked: {:?}",
        answer.map(|a| a.status())
    );
}

/// A list in a stream is there once its result is; a server may leave the stream open.
#[test]
fn a_subscription_names_ones_own_tasks_in_every_spelling() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    for notifications in [
        r#""notifications":{"taskIds":["theirs"]}"#,
        r#""notifications":{"taskIDs":["theirs"]}"#,
        r#""Notifications":{"taskIds":["theirs"]}"#,
        r#""notifications":{"taskIds":"theirs"}"#,
        r#""notifications":{"taskIds":{"0":"theirs"}}"#,
        r#""_meta":{"io.modelcontextprotocol/related-task":{"taskid":"theirs"}}"#,
        r#""_meta":{"io.modelcontextprotocol/Related-Task":{"taskId":"theirs"}}"#,
    ] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{{{notifications}}}}}"#
        );
        house.ask(&house.post(body));
        let seen = backend.received().pop();
        let seen = seen.is_some_and(|last| String::from_utf8_lossy(&last.body).contains("theirs"));
        assert!(!seen, "{notifications}");
    }
}

#[test]
fn a_method_that_is_not_there_is_404_since_2026() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    let body = MODERN.replace("tools/call", "tasks/list");
    let request = Request::post("/one/mcp", body)
        .key(&house.alice)
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tasks/list");
    let answer = house.ask(&request);
    assert_eq!(answer.json()["error"]["code"], -32601);
    assert_eq!(answer.status(), 404);
}

fn sse_house(backend: &Backend, more: &str) -> House {
    let address = backend.address;
    House::configured(
        &format!("[servers.one]\nsse_url = \"http://{address}/sse\"\n{more}"),
        &["one"],
    )
}

fn sse_backend(beginning: &'static str) -> Backend {
    Backend::start(move |request, stream| {
        if request.method == "POST" {
            stream
                .write_all(&plain_answer("202 Accepted", &[], ""))
                .unwrap();
            return Next::Keep;
        }
        stream.write_all(&stream_head("")).unwrap();
        stream.write_all(&chunked(beginning)).unwrap();
        std::thread::sleep(Duration::from_secs(50));
        Next::Close
    })
}

const ENDPOINT: &str = "event: endpoint\ndata: /messages/?session_id=own\n\n";

fn open(house: &House, key: &str) -> (Client, String) {
    let mut client = house.connect();
    client.send(&Request::new("GET", "/one/sse").header("X-API-Key", key));
    assert_eq!(client.head().unwrap().status, 200);
    let mut event = String::new();
    while !(event.ends_with("\n\n") || event.ends_with("\r\r")) {
        event.push_str(std::str::from_utf8(&client.chunk().unwrap().unwrap()).unwrap());
    }
    let path = event.split_once("data: ").unwrap().1.trim_end().to_owned();
    (client, path)
}

#[test]
fn an_empty_stream_of_the_older_kind_is_an_error() {
    let backend = Backend::start(|_, stream| {
        stream
            .write_all(&plain_answer(
                "200 OK",
                &[("content-type", "text/event-stream")],
                "",
            ))
            .unwrap();
        Next::Keep
    });
    let house = sse_house(&backend, "");
    let answer = house.ask(&Request::new("GET", "/one/sse").key(&house.alice));
    assert_eq!(answer.status(), 502);
}

#[test]
fn an_endpoint_may_end_its_lines_with_cr() {
    let backend = sse_backend("event: endpoint\rdata: /messages/?session_id=own\r\r");
    let house = sse_house(&backend, "");
    let (_stream, path) = open(&house, &house.alice);
    assert!(path.starts_with("/one/message?session_id="), "{path}");
}

#[test]
fn an_open_stream_of_the_older_kind_ends_with_its_key() {
    let backend = sse_backend(ENDPOINT);
    let house = sse_house(&backend, "");
    let (key, id) = house.issue("alice", cloakroom::vault::KeyRequest::default());
    let (mut stream, _) = open(&house, &key);
    house.revoke(&id);
    let since = Instant::now();
    assert_eq!(stream.chunk().unwrap(), None);
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
}

#[test]
fn refusals_nobody_reads_do_not_pile_up() {
    let backend = sse_backend(ENDPOINT);
    let house = sse_house(&backend, "");
    let (_stream, path) = open(&house, &house.alice);
    let id = "x".repeat(4_000_000);
    let body = format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"tasks/list"}}"#);
    let before = house.rss();
    for _ in 0..64 {
        house.ask(&Request::post(&path, body.clone()).key(&house.alice));
    }
    let grown = house.rss().saturating_sub(before) / 1024;
    assert!(grown < 128, "one stream that is not read keeps {grown} MiB");
}

/// Its sender waits for the answer on the stream, whatever it was refused for.
#[test]
fn a_message_refused_for_its_headers_is_answered_on_the_stream() {
    let backend = sse_backend(ENDPOINT);
    let house = sse_house(&backend, "");
    let (_stream, path) = open(&house, &house.alice);
    let request = Request::post(&path, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)
        .key(&house.alice)
        .header("Mcp-Method", "tools/call");
    let answer = house.ask(&request);
    assert_eq!(answer.status(), 202, "{}", answer.text());
}

#[test]
fn one_users_waiting_leaves_room_for_others() {
    let backend = Backend::simple();
    let url = backend.url();
    let house = House::configured(
        &format!(
            "setup_url = \"https://setup.example/\"\n[limits]\nin_flight = \"8MiB\"\n[servers.one]\nurl = \"{url}\"\n[servers.one.headers]\nX-Token = \"${{TOKEN}}\"\n"
        ),
        &["one"],
    );
    let body = |more: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t"{more},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{"elicitation":{{"url":{{}}}}}}}}}}}}"#
        )
    };
    let ask = |key: &str, body: String| {
        Request::post("/one/mcp", body)
            .key(key)
            .header("MCP-Protocol-Version", "2026-07-28")
    };
    let asked = house.ask(&ask(&house.carol, body(""))).json();
    let state = asked["result"]["requestState"].as_str().unwrap().to_owned();
    let big = format!(
        r#","requestState":"{state}","pad":"{}""#,
        "x".repeat(3_900_000)
    );
    let mut waiting: Vec<_> = (0..2).map(|_| house.connect()).collect();
    for client in &mut waiting {
        client.send(&ask(&house.carol, body(&big)));
    }
    std::thread::sleep(Duration::from_secs(1));
    let big = format!(r#","pad":"{}""#, "x".repeat(3_900_000));
    let answer = house.ask(&ask(&house.alice, body(&big)));
    assert_eq!(answer.status(), 200, "carol's waiting shuts alice out");
}

/// A user without secrets opens a stream, sets one, and lists the tools: the usual order.
#[test]
fn a_secret_set_while_a_stream_is_open_is_hidden_on_it_too() {
    let (events, written) = std::sync::mpsc::channel::<String>();
    let written = std::sync::Mutex::new(written);
    let backend = Backend::start(move |request, stream| {
        if request.method == "POST" {
            stream
                .write_all(&plain_answer("202 Accepted", &[], ""))
                .unwrap();
            return Next::Keep;
        }
        stream.write_all(&stream_head("")).unwrap();
        stream.write_all(&chunked(ENDPOINT)).unwrap();
        while let Ok(event) = written.lock().unwrap().recv() {
            stream.write_all(&chunked(event)).unwrap();
        }
        Next::Close
    });
    let house = sse_house(&backend, "arguments = \"*\"\n");
    let (mut stream, path) = open(&house, &house.carol);
    house.set_secret("carol", "default", "TOKEN", "carol's");
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#;
    wait_until("the secret is sent", || {
        house.ask(&Request::post(&path, call).key(&house.carol));
        String::from_utf8_lossy(&backend.last().body).contains("carol's")
    });
    let list = r#"{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"t","inputSchema":{"properties":{"TOKEN":{}},"required":["TOKEN"]}}]}}"#;
    events.send(format!("data: {list}\n\n")).unwrap();
    let mut event = String::new();
    while !event.ends_with("\n\n") {
        event.push_str(std::str::from_utf8(&stream.chunk().unwrap().unwrap()).unwrap());
    }
    assert!(!event.contains("TOKEN"), "{event}");
}

/// What is taken out of calls is not shown in lists, or a client is asked for what never arrives.
#[test]
fn an_argument_that_is_taken_out_is_not_asked_for() {
    let backend = Backend::start(|request, stream| {
        let body = if request.is_list() {
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"t","inputSchema":{"properties":{"token":{}},"required":["token"]}}]}}"#
        } else {
            "{}"
        };
        stream.write_all(&json_answer(body)).unwrap();
        Next::Keep
    });
    let house = House::with_slots(&backend, "arguments = \"*\"\n");
    house.ask(&house.post(r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t","arguments":{"token":"mine"}}}"#));
    let sent: Value = serde_json::from_slice(&backend.last().body).unwrap();
    let passes = sent["params"]["arguments"]["token"] == "mine";
    let list = house.ask(&house.post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#));
    let asked = list.text().contains("\"token\"");
    assert_eq!(asked, passes, "asked for: {asked}, passes: {passes}");
}

#[test]
fn a_stream_that_never_says_where_ends_with_its_key() {
    let backend = sse_backend(": nothing yet\n\n");
    let house = sse_house(&backend, "");
    let (key, id) = house.issue("alice", cloakroom::vault::KeyRequest::default());
    let mut client = house.connect();
    client.send(&Request::new("GET", "/one/sse").key(&key));
    wait_until("it arrives", || backend.count() == 1);
    house.revoke(&id);
    let since = Instant::now();
    assert_ne!(client.answer().unwrap().status(), 200);
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
}

#[test]
fn a_request_that_waits_for_a_secret_ends_with_its_key() {
    let backend = Backend::simple();
    let url = backend.url();
    let house = House::configured(
        &format!(
            "setup_url = \"https://setup.example/\"\n[servers.one]\nurl = \"{url}\"\n[servers.one.headers]\nX-Token = \"${{TOKEN}}\"\n"
        ),
        &["one"],
    );
    let (key, id) = house.issue("carol", cloakroom::vault::KeyRequest::default());
    let able = MODERN.replace(
        "clientCapabilities\":{}",
        "clientCapabilities\":{\"elicitation\":{\"url\":{}}}",
    );
    let ask = |body: String| {
        Request::post("/one/mcp", body)
            .key(&key)
            .header("MCP-Protocol-Version", "2026-07-28")
    };
    let asked = house.ask(&ask(able.clone())).json();
    let state = asked["result"]["requestState"].as_str().unwrap();
    let again = able.replace(
        r#""name":"t""#,
        &format!(r#""name":"t","requestState":"{state}""#),
    );
    let mut client = house.connect();
    client.send(&ask(again));
    std::thread::sleep(Duration::from_millis(500));
    house.revoke(&id);
    let since = Instant::now();
    assert_eq!(client.answer().unwrap().status(), 401);
    assert!(
        since.elapsed() < Duration::from_secs(2),
        "{:?}",
        since.elapsed()
    );
}

#[test]
fn a_backends_own_spelling_of_a_parameter_is_replaced() {
    let backend = sse_backend("event: endpoint\ndata: /messages/?s=1&api+k%65y=old\n\n");
    let house = sse_house(
        &backend,
        "[servers.one.query]\n\"api key\" = \"${TOKEN}\"\n",
    );
    let (_stream, path) = open(&house, &house.alice);
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    house.ask(&Request::post(&path, ping).key(&house.alice));
    assert_eq!(
        backend.last().target,
        "/messages/?s=1&api%20key=token%20of%20alice"
    );
}
