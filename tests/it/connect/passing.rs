//! What passes, in which order, with which headers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::sync::mpsc::unbounded_channel;

use super::bridge::{Bridge, KEY};
use super::desk::{Desk, answered, events, json_body, plain, well, written};
use crate::sockets::certificates::{Authority, Pair};
use crate::support::echo::{Manner, echo, echo_sse};
use crate::support::fingerprint;
use crate::support::proxy::{Lines, Place, Proxy, first_secret};

const MODERN: &str = "io.modelcontextprotocol/protocolVersion";

fn modern(params: &Value) -> Value {
    let mut params = params.clone();
    params["_meta"] =
        json!({MODERN: "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    params
}

// Fails when the key is written into a note or an error.
#[tokio::test(flavor = "multi_thread")]
async fn calls_reach_servers_behind_a_real_proxy_with_the_users_secret() {
    let old = format!("[servers.old]\nsse_url = \"{}\"\n", echo_sse().await);
    let slot = "headers = { Authorization = \"Bearer ${TOKEN}\" }\n";
    let new = format!("[servers.new]\nurl = \"{}\"\n", echo(Manner::Moody).await);
    let tables = format!("{old}{slot}{new}{slot}");
    let proxy = Proxy::configured(&Place::Sqlite, &Lines::default(), &tables).await;
    let key = proxy.settle_in("alice", &["old", "new"]).await;
    for (server, path) in [("old", "sse"), ("new", "mcp")] {
        let url = format!("{}/{server}/{path}", proxy.serving.url);
        let mut bridge = Bridge::start([&url], &key);
        bridge.write("nonsense\n");
        assert_eq!(bridge.next().await["error"]["code"], -32700);
        bridge.write(
            "{\"jsonrpc\":\"2.0\",\"id\":99,\"method\":\"m\",\"params\":{\"a\":1,\"a\":2}}\r\n",
        );
        assert_eq!(bridge.next().await["id"], 99);
        for id in 0..50 {
            let arguments = json!({"nonce": id.to_string()});
            bridge.ask(
                id,
                "tools/call",
                json!({"name": "echo", "arguments": arguments}),
            );
        }
        let own = fingerprint(first_secret("alice", server).as_bytes());
        let mut answered = 0;
        while answered < 50 {
            let message = bridge.next().await;
            // A stream of the server's has a notification in front.
            if let Some(id) = message["id"].as_u64() {
                assert_eq!(message["result"]["nonce"], id.to_string(), "{message}");
                assert_eq!(message["result"]["fingerprint"], *own, "{message}");
                answered += 1;
            }
        }
        let line = std::fs::read(format!("/proc/{}/cmdline", bridge.pid())).unwrap();
        assert!(String::from_utf8_lossy(&line).contains(&url));
        let environment = std::fs::read(format!("/proc/{}/environ", bridge.pid()));
        assert!(environment.is_err() || rustix::process::geteuid().is_root());
        let told = bridge.told.clone();
        let left = bridge.ended().await;
        assert_eq!((left.code, left.rest.len()), (Some(0), 0));
        for text in [
            &told,
            &left.errors,
            &String::from_utf8_lossy(&line).into_owned(),
        ] {
            assert!(!text.contains(&key), "{text}");
        }
    }
}

// Fails when `pass` does not wait for `initialize`, or for `notifications/initialized`.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_overtakes_the_handshake_and_all_carries_the_session() {
    let desk = Desk::open(async |asked| {
        if asked.body["id"].is_null() || asked.what() == "initialize" {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Some(well(&asked, "s", json!({})))
    })
    .await;
    let mut bridge = Bridge::to(&desk.url);
    bridge.ask(0, "initialize", json!({"protocolVersion": "2025-11-25"}));
    bridge.notify("notifications/initialized", json!({}));
    bridge.ask(1, "tools/list", json!({"n": 1}));
    assert_eq!(
        bridge.next().await["result"]["protocolVersion"],
        "2025-11-25"
    );
    assert_eq!(bridge.next().await["result"]["n"], 1);
    let left = bridge.ended().await;
    assert_eq!((left.code, left.errors.as_str()), (Some(0), ""));
    let expected = [
        "initialize",
        "notifications/initialized",
        "tools/list",
        "DELETE",
    ];
    assert_eq!(desk.methods(), expected);
    for asked in desk.asked() {
        let opens = asked.what() == "initialize";
        let (session, version) = (
            asked.header("mcp-session-id"),
            asked.header("mcp-protocol-version"),
        );
        let carried = if opens {
            (None, None)
        } else {
            (Some("s"), Some("2025-11-25"))
        };
        assert_eq!((session, version), carried, "{asked:?}");
        assert_eq!(
            asked.header("authorization"),
            Some(format!("Bearer {KEY}").as_str())
        );
        assert_eq!(asked.header("mcp-method"), None);
    }
}

// Fails when one call waits for another, or when text is read again: 1e400 is no float.
#[tokio::test(flavor = "multi_thread")]
async fn calls_pass_each_other_and_numbers_stay_as_they_are() {
    let hold = Arc::new(Notify::new());
    let release = hold.clone();
    let desk = Desk::open(move |asked| {
        let hold = hold.clone();
        async move {
            if asked.body["id"] == 1 {
                hold.notified().await;
            }
            let text = "{\"jsonrpc\":\"2.0\",\r\n\"id\":ID,\"result\":{\"n\":1e400,\n\"m\":12345678901234567890.10}}";
            let text = text.replace("ID", &asked.body["id"].to_string());
            Some(written(200, text))
        }
    })
    .await;
    let mut bridge = Bridge::to(&desk.url);
    bridge.ask(1, "tools/call", json!({}));
    bridge.ask(2, "tools/call", json!({}));
    let line = bridge.line().await;
    assert_eq!(
        line,
        r#"{"jsonrpc":"2.0","id":2,"result":{"n":1e400,"m":12345678901234567890.10}}"#
    );
    release.notify_one();
    assert!(bridge.line().await.contains("\"id\":1,"));
}

// Fails when the list is not read, or when the call is made a third time.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_lacks_a_header_is_made_again_once_the_list_says_which() {
    let desk = Desk::open(async |asked| {
        let id = &asked.body["id"];
        if asked.what() == "tools/list" {
            let schema = json!({"properties": {"region": {"x-mcp-header": "Region"}}});
            let tools = json!({"tools": [{"name": "t", "inputSchema": schema}]});
            return Some(answered(id, &tools));
        }
        let mirrored = asked.header("mcp-param-region") == Some("eu");
        let error =
            json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32020, "message": "no header"}});
        Some(match mirrored {
            true => answered(id, &json!({})),
            false => json_body(400, &error),
        })
    })
    .await;
    let mut bridge = Bridge::to(&desk.url);
    let call = |region: &str| modern(&json!({"name": "t", "arguments": {"region": region}}));
    bridge.ask(1, "tools/call", call("eu"));
    assert_eq!(
        bridge.next().await,
        json!({"jsonrpc": "2.0", "id": 1, "result": {}})
    );
    assert_eq!(desk.methods(), ["tools/call", "tools/list", "tools/call"]);
    bridge.ask(2, "tools/call", call("us"));
    assert_eq!(bridge.next().await["error"]["code"], -32020);
    assert_eq!(
        desk.methods()[3..],
        ["tools/call", "tools/list", "tools/call"]
    );
    let last = desk.asked().pop().unwrap();
    assert_eq!(last.header("mcp-method"), Some("tools/call"));
    assert_eq!(last.header("mcp-name"), Some("t"));
    assert_eq!(last.header("mcp-protocol-version"), Some("2026-07-28"));
}

// Fails when a cancellation is posted in the newest revision, or only closes a connection in those before.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_is_a_closed_connection_or_a_message_as_the_revision_has_it() {
    let (open, mut opened) = unbounded_channel();
    let desk = Desk::open(move |asked| {
        let open = open.clone();
        async move {
            if asked.what() != "tools/call" {
                return Some(plain(202));
            }
            let (sender, response) = events();
            open.send(sender).unwrap();
            Some(response)
        }
    })
    .await;
    let mut bridge = Bridge::to(&desk.url);
    bridge.ask(1, "tools/call", modern(&json!({})));
    let stream = opened.recv().await.unwrap();
    bridge.notify("notifications/cancelled", json!({"requestId": 1}));
    stream.closed().await;
    assert_eq!(desk.methods(), ["tools/call"]);

    bridge.ask(2, "tools/call", json!({}));
    let stream = opened.recv().await.unwrap();
    bridge.notify("notifications/cancelled", json!({"requestId": 2}));
    desk.until(|asked| asked.what() == "notifications/cancelled")
        .await;
    // What a server says until it has stopped still arrives.
    stream
        .send("data: {\"jsonrpc\":\"2.0\",\"method\":\"last\"}\n\n".to_owned())
        .unwrap();
    assert_eq!(bridge.next().await["method"], "last");
    drop(stream);
    let left = bridge.ended().await;
    assert!(
        left.rest.is_empty(),
        "a cancelled request has no answer: {:?}",
        left.rest
    );
}

// Fails when `--ca-file` is not gone by, or certificates are not looked at.
#[tokio::test(flavor = "multi_thread")]
async fn https_is_spoken_with_who_shows_a_certificate_that_is_trusted() {
    let (authority, backend) = (Authority::new("ours"), echo(Manner::Json).await);
    let pair = Pair::new(&authority.sign(&["localhost"], 2099));
    let table = format!("{}[servers.new]\nurl = \"{backend}\"\n", pair.table());
    let proxy = Proxy::configured(&Place::Sqlite, &Lines::default(), &table).await;
    proxy.add_user("alice").await;
    let key = proxy.issue_key("alice", None).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let ca = ca.to_str().unwrap();
    let url = format!("https://localhost:{}/new/mcp", proxy.serving.address.port());
    for (trusted, says) in [
        (authority.pem.clone(), None),
        (Authority::new("other").pem, Some("not trusted")),
    ] {
        std::fs::write(ca, trusted).unwrap();
        let mut bridge = Bridge::start([&url, "--ca-file", ca], key.key.reveal());
        bridge.ask(
            1,
            "tools/call",
            json!({"name": "echo", "arguments": {"nonce": "n"}}),
        );
        let answer = bridge.next().await;
        match says {
            None => assert_eq!(answer["result"]["nonce"], "n", "{answer}"),
            Some(says) => {
                let text = answer["error"]["message"].as_str().unwrap();
                assert!(text.contains(says), "{text}");
            }
        }
    }
}
