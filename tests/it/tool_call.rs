//! `POST /mcp/tool/call`: tools called with plain JSON, on servers of every kind.

use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cloakroom::names::Pattern;
use cloakroom::vault::{AccessChange, Limits, UserChange};
use futures_util::future::pending;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::connect::desk::{Asked, Body, Desk, answered, events, json_body, plain, well, written};
use crate::support::backend::Recorder;
use crate::support::client::{Answer, Client, post};
use crate::support::echo::{Manner, echo, echo_sse};
use crate::support::fingerprint;
use crate::support::proxy::{Lines, Place, Proxy, first_secret, user};

const TOKEN: &str = "Authorization = \"Bearer ${TOKEN}\"";

fn request(key: &str, body: impl ToString) -> Request<Full<Bytes>> {
    let mut request = post("any", key, body.to_string());
    *request.uri_mut() = "/mcp/tool/call".parse().unwrap();
    request
}

async fn ask(client: &mut Client, key: &str, body: impl ToString) -> Answer {
    client.exchange(request(key, body)).await.unwrap()
}

fn call(server: &str, nonce: &str) -> Value {
    json!({"serverName": server, "methodName": "echo", "args": {"nonce": nonce}})
}

fn in_name_of(name: &str, server: &str) -> Value {
    let mut call = call(server, "n");
    call["username"] = name.into();
    call
}

/// What an answer says, and its status.
fn said(answer: &Answer) -> (u16, Value) {
    let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    (answer.status, body)
}

fn table(name: &str, url: &str) -> String {
    format!("[servers.{name}]\nurl = \"{url}\"\n[servers.{name}.headers]\n{TOKEN}\n")
}

async fn start(tables: &str) -> Proxy {
    Proxy::configured(&Place::Sqlite, &Lines::default(), tables).await
}

async fn in_front_of(desk: &Desk) -> (Proxy, String) {
    let proxy = start(&table("desk", &desk.url)).await;
    let key = proxy.settle_in("alice", &["desk"]).await;
    (proxy, key)
}

async fn change(proxy: &Proxy, name: &str, change: UserChange) {
    proxy.vault.update_user(&user(name), &change).await.unwrap();
}

fn patterns(of: &[&str]) -> Option<Vec<Pattern>> {
    Some(of.iter().map(|one| Pattern::parse(one).unwrap()).collect())
}

fn acts_for(of: &[&str]) -> UserChange {
    UserChange {
        acts_for: patterns(of),
        ..UserChange::default()
    }
}

// Fails when a way to a server is not gone, or its slot not filled.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_called_with_the_users_secret_whatever_its_server_speaks() {
    let who = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/children/servers/who.py");
    let tables = [
        table("json", &echo(Manner::Json).await),
        table("events", &echo(Manner::Events).await),
        table("stream", &echo_sse().await).replace("\nurl", "\nsse_url"),
        format!(
            "[servers.argument]\nurl = \"{}\"\n[servers.argument.arguments]\ntoken = \"${{TOKEN}}\"\n",
            echo(Manner::Json).await
        ),
        format!(
            "[servers.child]\ncommand = [\"/usr/bin/python3\", \"-S\", \"-E\", \"-B\", \"{who}\", \"x\"]\n\
             [servers.child.env]\nTOKEN = \"${{TOKEN}}\"\n"
        ),
    ];
    let names = ["json", "events", "stream", "argument", "child"];
    let proxy = start(&tables.concat()).await;
    let key = proxy.settle_in("alice", &names).await;
    let mut client = proxy.client();
    for server in names {
        let own = fingerprint(first_secret("alice", server).as_bytes());
        for nonce in ["one", "two"] {
            let answer = ask(&mut client, &key, call(server, nonce)).await;
            let (status, body) = said(&answer);
            let result = match server {
                "child" => {
                    let text = body["result"]["content"][0]["text"].as_str();
                    serde_json::from_str(text.unwrap_or("null")).unwrap()
                }
                _ => body["result"].clone(),
            };
            let (credential, told) = (&result["fingerprint"], &result["nonce"]);
            assert_eq!(
                (status, credential, told),
                (200, &json!(own), &json!(nonce)),
                "{server}: {body}"
            );
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
    }
    // In a profile.
    proxy
        .set_named("alice", ("json", "work"), "TOKEN", "at work")
        .await;
    let mut at_work = call("json", "n");
    at_work["profile"] = "work".into();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let (status, body) = said(&ask(&mut client, &key, &at_work).await);
        if status == 200 {
            assert_eq!(body["result"]["fingerprint"], fingerprint(b"at work"));
            break;
        }
        assert!(
            status == 404 && Instant::now() < deadline,
            "{status} {body}"
        );
    }
}

// Fails when a name is looked up before it is known that the caller may act, or the caller's own secrets
// are used for another.
#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_calls_in_another_name() {
    let proxy = start(&table("json", &echo(Manner::Json).await)).await;
    let mut client = proxy.client();
    let alice = proxy.settle_in("alice", &["json"]).await;
    proxy.settle_in("bob", &["json"]).await;
    proxy.settle_in("eve", &["json"]).await;
    let bot = proxy.settle_in("bot", &["json"]).await;
    change(&proxy, "bot", acts_for(&["al*", "bo?", "nobody"])).await;
    let whose = |name: &str| json!(fingerprint(first_secret(name, "json").as_bytes()));
    for (key, name) in [
        (&alice, "alice"),
        (&bot, "bot"),
        (&bot, "alice"),
        (&bot, "bob"),
    ] {
        let (status, body) = said(&ask(&mut client, key, in_name_of(name, "json")).await);
        assert_eq!(
            (status, &body["result"]["fingerprint"]),
            (200, &whose(name)),
            "{body}"
        );
    }
    for (key, name, status, code) in [
        (&alice, "bob", 403, 4033),
        (&bot, "eve", 403, 4033),
        (&bot, "nobody", 404, 4047),
        (&bot, "No Body", 400, 4005),
        (&alice, "", 400, 4005),
    ] {
        let (was, body) = said(&ask(&mut client, key, in_name_of(name, "json")).await);
        assert_eq!(
            (was, &body["error"]["code"]),
            (status, &json!(code)),
            "{name}: {body}"
        );
    }
    let there = ask(&mut client, &alice, in_name_of("bob", "json")).await;
    let not_there = ask(&mut client, &alice, in_name_of("nobody", "json")).await;
    assert_eq!(
        said(&there),
        said(&not_there),
        "nobody else is told who there is"
    );

    // One start and one end for each call, and nothing of what was done around it. Fails when all requests
    // made for a call are told, or none.
    let path = proxy.folder.path().join("cloakroom-data/audit.jsonl");
    let until = Instant::now() + Duration::from_secs(10);
    let records = loop {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_requests = |one: &Value| one["event"] == "start" || one["event"] == "end";
        let records: Vec<Value> = lines.filter(of_requests).collect();
        if records.len() >= 8 {
            break records;
        }
        assert!(Instant::now() < until, "{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let starts: Vec<_> = records
        .iter()
        .filter(|one| one["event"] == "start")
        .collect();
    assert_eq!((records.len(), starts.len()), (8, 4), "{records:#?}");
    for (start, (name, by)) in starts.iter().zip([
        ("alice", Value::Null),
        ("bot", Value::Null),
        ("alice", json!("bot")),
        ("bob", json!("bot")),
    ]) {
        let told = (&start["user"], &start["by"], &start["server"]);
        assert_eq!(told, (&json!(name), &by, &json!("json")), "{start}");
        assert_eq!(start["methods"], json!(["tools/call"]));
        assert_eq!(start["tools"], json!(["echo"]));
        assert_eq!(start["secrets"][0]["name"], "TOKEN");
        let mut ends = records.iter().filter(|one| one["event"] == "end");
        let end = ends.find(|end| end["request"] == start["request"]).unwrap();
        assert_eq!(end["status"], 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_call_at_once_never_get_what_is_the_others() {
    let tables = [
        table("moody", &echo(Manner::Moody).await),
        table("stream", &echo_sse().await).replace("\nurl", "\nsse_url"),
    ];
    let proxy = start(&tables.concat()).await;
    let mut callers = JoinSet::new();
    for name in ["alice", "bob"] {
        let key = proxy.settle_in(name, &["moody", "stream"]).await;
        for caller in 0..4 {
            let (mut client, key) = (proxy.client(), key.clone());
            callers.spawn(async move {
                for n in 0..50 {
                    let server = ["moody", "stream"][n % 2];
                    let nonce = format!("{name}-{caller}-{n}");
                    let (status, body) = said(&ask(&mut client, &key, call(server, &nonce)).await);
                    let own = json!(fingerprint(first_secret(name, server).as_bytes()));
                    let result = &body["result"];
                    let told = (
                        &result["fingerprint"],
                        &result["nonce"],
                        &result["seen"]["connection"],
                    );
                    assert_eq!((status, told), (200, (&own, &json!(nonce), &own)), "{body}");
                }
            });
        }
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
}

// Fails when a refusal is answered as one of JSON-RPC is, or a body is read by other rules than all are.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_the_status_that_fits_and_say_what_to_do() {
    let recorder = Recorder::start().await;
    let first = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    recorder.answers("200 OK", "Content-Type: application/json\r\n", first);
    let tables = table("json", &recorder.url) + &table("secret", &recorder.url);
    let proxy = start(&tables).await;
    let mut client = proxy.client();
    let key = proxy.settle_in("alice", &["json"]).await;
    let access = AccessChange {
        blocked_servers: patterns(&["blocked"]),
        blocked_tools: patterns(&["json/drop*"]),
        ..AccessChange::default()
    };
    let blocks = UserChange {
        access: Some(access),
        ..UserChange::default()
    };
    change(&proxy, "alice", blocks).await;
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let with = |args: &str| format!(r#"{{"serverName":"json","methodName":"t","args":{args}}}"#);
    for (body, status, code, says) in [
        (
            call("none", "n").to_string(),
            404,
            4041,
            "no server of this name",
        ),
        (
            call("secret", "n").to_string(),
            403,
            4240,
            "cloakroom secret set alice secret TOKEN",
        ),
        (with(r#"{"a":1,"a":2}"#), 400, 4003, "same key twice"),
        (with(r#"{"a":1,"\u0061":2}"#), 400, 4003, "same key twice"),
        (
            r#"{"serverName":"json","serverName":"secret","methodName":"t"}"#.into(),
            400,
            4003,
            "twice",
        ),
        (
            with(&format!(r#"{{"a":{}}}"#, deep(70))),
            400,
            4004,
            "nested deeper",
        ),
        (with(r#"{"a":01}"#), 400, 4001, "not valid JSON"),
        (with(r#"{}},{"x":{}"#), 400, 4001, "not valid JSON"),
        (with(r#"{},"arguments":{}"#), 400, 4005, "not known"),
        (with("[]"), 400, 4005, "must be an object"),
        ("[]".into(), 400, 4005, "methodName"),
    ] {
        let (was, told) = said(&ask(&mut client, &key, &body).await);
        let text = told["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(
            (was, &told["error"]["code"]),
            (status, &json!(code)),
            "{body}: {told}"
        );
        assert!(text.contains(says), "{body}: {text}");
        assert_eq!(told.as_object().unwrap().len(), 1);
    }
    assert!(
        recorder.received().is_empty(),
        "nothing of that reaches a server"
    );
    let blocked = json!({"serverName": "json", "methodName": "drop_all"});
    let (status, told) = said(&ask(&mut client, &key, blocked).await);
    assert_eq!(
        (status, &told["error"]["code"]),
        (403, &json!(4032)),
        "{told}"
    );
    // Fails when a call is judged only after its session was begun with the user's secrets.
    assert!(
        recorder.received().is_empty(),
        "nor anything of a blocked tool"
    );

    let numbers = r#"{"big": 12345678901234567890123, "exact":1.10, "huge":1e400,"text":"\u00e9"}"#;
    ask(&mut client, &key, with(numbers)).await;
    let sent = recorder.received().concat();
    assert!(
        sent.contains(&format!(r#""arguments":{numbers}"#)),
        "{sent}"
    );

    let wrong = ask(&mut client, "clk_abc", call("json", "n")).await;
    assert_eq!(
        (wrong.status, wrong.header("www-authenticate")),
        (401, Some("Bearer"))
    );
    let mut get = request(&key, "");
    *get.method_mut() = http::Method::GET;
    let refused = client.exchange(get).await.unwrap();
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("POST"))
    );
    let mut elsewhere = request(&key, call("json", "n"));
    *elsewhere.uri_mut() = "/tool/call".parse().unwrap();
    assert_eq!(client.exchange(elsewhere).await.unwrap().status, 404);
    let mut foreign = request(&key, call("json", "n"));
    foreign
        .headers_mut()
        .insert("origin", "https://evil.example".parse().unwrap());
    assert_eq!(client.exchange(foreign).await.unwrap().status, 403);
    let mut typed = request(&key, call("json", "n"));
    typed
        .headers_mut()
        .insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(client.exchange(typed).await.unwrap().status, 415);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_server_is_not_called() {
    let desk = Desk::open(|asked| async move { Some(well(&asked, "s", json!({}))) }).await;
    let (proxy, key) = in_front_of(&desk).await;
    let access = AccessChange {
        blocked_servers: patterns(&["desk"]),
        ..AccessChange::default()
    };
    let blocks = UserChange {
        access: Some(access),
        ..UserChange::default()
    };
    change(&proxy, "alice", blocks).await;
    let (status, told) = said(&ask(&mut proxy.client(), &key, call("desk", "n")).await);
    assert_eq!(
        (status, &told["error"]["code"]),
        (403, &json!(4031)),
        "{told}"
    );
    assert!(desk.asked().is_empty());
}

fn is_end(asked: &Asked) -> bool {
    asked.what() == "DELETE" && asked.header("mcp-session-id") == Some("s")
}

// Fails when a session is not ended, or its id or version is not sent.
#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_a_call_ends_with_it_also_when_it_fails() {
    let desk = Desk::open(|asked| async move {
        let fails = asked.body["params"]["name"] == "fail";
        let error = json!({"code": -32602, "message": "no such tool"});
        let failed = json!({"jsonrpc": "2.0", "id": asked.body["id"], "error": error});
        Some(match fails {
            true => json_body(200, &failed),
            false => well(&asked, "s", json!({})),
        })
    })
    .await;
    let (proxy, key) = in_front_of(&desk).await;
    let mut client = proxy.client();
    let (status, body) = said(&ask(&mut client, &key, call("desk", "n")).await);
    let params = json!({"name": "echo", "arguments": {"nonce": "n"}});
    assert_eq!((status, body), (200, json!({"result": params})));
    desk.until(is_end).await;
    let methods = [
        "initialize",
        "notifications/initialized",
        "tools/call",
        "DELETE",
    ];
    assert_eq!(desk.methods(), methods);
    for asked in &desk.asked()[1..] {
        assert_eq!(asked.header("mcp-session-id"), Some("s"));
        assert_eq!(asked.header("mcp-protocol-version"), Some("2025-11-25"));
        assert_eq!(
            asked.header("authorization"),
            Some("Bearer alice-desk-secret")
        );
    }
    let fail = json!({"serverName": "desk", "methodName": "fail"});
    let (status, body) = said(&ask(&mut client, &key, fail).await);
    let error = json!({"code": -32602, "message": "no such tool"});
    assert_eq!((status, body), (502, json!({"error": error})));
    let until = Instant::now() + Duration::from_secs(10);
    while desk.asked().iter().filter(|asked| is_end(asked)).count() < 2 {
        assert!(Instant::now() < until, "{:?}", desk.methods());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

// Fails when the session is ended only by who waits for the answer.
#[tokio::test(flavor = "multi_thread")]
async fn the_session_ends_when_the_caller_goes_away() {
    let desk = Desk::open(|asked| async move {
        if asked.what() == "tools/call" {
            return pending().await;
        }
        Some(well(&asked, "s", json!({})))
    })
    .await;
    let (proxy, key) = in_front_of(&desk).await;
    let mut client = proxy.client();
    let waiting = tokio::spawn(async move {
        let _ = client.open(request(&key, call("desk", "n"))).await;
    });
    desk.until(|asked| asked.what() == "tools/call").await;
    waiting.abort();
    desk.until(is_end).await;
    drop(proxy);
}

/// Answers every call by a stream that is never finished, and says on it what `says` gives.
async fn endless(says: &'static str) -> Desk {
    let kept = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    Desk::open(move |asked| {
        let kept = kept.clone();
        async move {
            if asked.what() == "tools/call" {
                let (sender, stream) = events();
                let _ = sender.send(says.to_owned());
                kept.lock().unwrap().push(sender);
                return Some(stream);
            }
            Some(well(&asked, "s", json!({})))
        }
    })
    .await
}

// Fails when a stream that ends is taken for the server's fault, whoever ended it.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_ends_when_its_key_is_revoked() {
    let desk = endless(": nothing yet\n\n").await;
    let (proxy, key) = in_front_of(&desk).await;
    let (mut client, own) = (proxy.client(), key.clone());
    let waiting = tokio::spawn(async move { ask(&mut client, &own, call("desk", "n")).await });
    desk.until(|asked| asked.what() == "tools/call").await;
    proxy.revoke(&key).await;
    let answer = waiting.await.unwrap();
    assert_eq!(
        (answer.status, &said(&answer).1["error"]["code"]),
        (401, &json!(4012))
    );
}

// Fails when what the server asks on the way is taken for the answer, or is not answered.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_asks_on_the_way_is_answered() {
    let desk = endless(
        "id: 1\ndata: {\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"sampling/createMessage\"}\n\n\
         data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n\
         data: {\"jsonrpc\":\"2.0\",\"id\":\"p\",\"method\":\"ping\"}\n\n\
         data: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"isError\":true}}\n\n",
    )
    .await;
    let (proxy, key) = in_front_of(&desk).await;
    let (status, body) = said(&ask(&mut proxy.client(), &key, call("desk", "n")).await);
    assert_eq!((status, body), (200, json!({"result": {"isError": true}})));
    let answers: Vec<_> = desk
        .asked()
        .into_iter()
        .filter(|asked| asked.body.get("method").is_none() && asked.body.get("id").is_some())
        .map(|asked| asked.body)
        .collect();
    let error = json!({"code": -32601, "message": "Method not found"});
    let expected = [
        json!({"jsonrpc": "2.0", "id": 2, "error": error}),
        json!({"jsonrpc": "2.0", "id": "p", "result": {}}),
    ];
    assert_eq!(answers, expected);
}

/// A server of 2026-07-28 and nothing else.
fn modern(asked: &Asked) -> http::Response<Body> {
    let id = &asked.body["id"];
    let meta = &asked.body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"];
    let error = |code: i64| {
        let error = json!({"code": code, "message": "no"});
        json_body(400, &json!({"jsonrpc": "2.0", "id": id, "error": error}))
    };
    if meta != "2026-07-28" || asked.header("mcp-protocol-version") != Some("2026-07-28") {
        return error(-32022);
    }
    let city = json!({"type": "string", "x-mcp-header": "City"});
    let schema = json!({"type": "object", "properties": {"city": city}});
    match asked.what() {
        "tools/list" if asked.body["params"]["cursor"] == "c" => answered(
            id,
            &json!({"tools": [{"name": "weather", "inputSchema": schema}]}),
        ),
        "tools/list" => answered(id, &json!({"tools": [], "nextCursor": "c"})),
        "tools/call" if asked.header("mcp-param-city") == Some("=?base64?S8O2bG4=?=") => {
            answered(id, &asked.body["params"]["arguments"])
        }
        _ => error(-32020),
    }
}

// Fails when a server without `initialize` is given up, or an argument is not mirrored.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_the_latest_revision_alone_is_called_as_it_wants() {
    let desk = Desk::open(|asked| async move { Some(modern(&asked)) }).await;
    let (proxy, key) = in_front_of(&desk).await;
    let call = json!({"serverName": "desk", "methodName": "weather", "args": {"city": "Köln"}});
    let (status, body) = said(&ask(&mut proxy.client(), &key, call).await);
    assert_eq!((status, body), (200, json!({"result": {"city": "Köln"}})));
    let methods = ["initialize", "tools/list", "tools/list", "tools/call"];
    assert_eq!(desk.methods(), methods);
}

// Fails when an answer without a message, or one without end, is no error.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_used_is_told() {
    let desk = Desk::open(|asked| async move {
        Some(match asked.body["params"]["name"].as_str() {
            Some("page") => plain(500),
            Some("long") => written(200, " ".repeat(9 << 20)),
            _ => well(&asked, "s", json!({})),
        })
    })
    .await;
    let (proxy, key) = in_front_of(&desk).await;
    let mut client = proxy.client();
    for (tool, says) in [("page", "no answer"), ("long", "8 MiB")] {
        let call = json!({"serverName": "desk", "methodName": tool});
        let (status, body) = said(&ask(&mut client, &key, call).await);
        let text = body["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(
            (status, &body["error"]["code"]),
            (502, &json!(5022)),
            "{body}"
        );
        assert!(text.contains(says), "{text}");
    }
}

// Fails when a call costs what its requests would, or a server is asked for whom there is nothing left.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_costs_one_request_and_nothing_left_reaches_no_server() {
    let desk = Desk::open(|asked| async move { Some(well(&asked, "s", json!({}))) }).await;
    let (proxy, key) = in_front_of(&desk).await;
    let limits = Limits {
        daily: Some(3),
        ..Limits::default()
    };
    let bounded = UserChange {
        limits: Some(limits),
        ..UserChange::default()
    };
    change(&proxy, "alice", bounded).await;
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(ask(&mut client, &key, call("desk", "n")).await.status, 200);
    }
    let begun = || {
        desk.methods()
            .iter()
            .filter(|one| *one == "initialize")
            .count()
    };
    let before = begun();
    let refused = ask(&mut client, &key, call("desk", "n")).await;
    assert_eq!(
        (refused.status, &said(&refused).1["error"]["code"]),
        (429, &json!(4293))
    );
    assert!(refused.header("retry-after").is_some());
    assert_eq!((before, begun()), (3, 3));
}
