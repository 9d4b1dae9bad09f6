//! What is refused, and how the client and its owner learn of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;

use super::bridge::{Bridge, KEY};
use super::desk::{Asked, Desk, json_body, plain};
use crate::cli::run_in;

// Fails when a redirect is followed: it would take the key elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_goes_nowhere_else() {
    let elsewhere = Desk::open(async |_| Some(plain(202))).await;
    let target = elsewhere.url.clone();
    let desk = Desk::open(move |asked: Asked| {
        let target = target.clone();
        async move {
            if asked.what() == "GET" {
                let (sender, response) = super::desk::events();
                let event = format!("event: endpoint\ndata: {target}\n\n");
                sender.send(event).unwrap();
                return Some(response);
            }
            let mut answer = plain(307);
            let headers = answer.headers_mut();
            headers.insert("location", format!("{target}?k=hidden").parse().unwrap());
            Some(answer)
        }
    })
    .await;
    for (url, says) in [
        (desk.url.clone(), &elsewhere.url),
        (
            desk.url.replace("/mcp", "/sse"),
            &"another address".to_owned(),
        ),
    ] {
        let mut bridge = Bridge::to(&url);
        bridge.ask(1, "tools/list", json!({}));
        let answer = bridge.next().await;
        let text = answer["error"]["message"].as_str().unwrap();
        assert!(text.contains(says) && !text.contains("hidden"), "{text}");
    }
    assert!(elsewhere.asked().is_empty());
}

// Fails when an error of JSON-RPC is replaced, or keeps an id that is not the request's.
#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_reaches_the_request_it_is_about() {
    let error = json!({"code": -32022, "message": "no", "data": {"supported": ["2025-11-25"]}});
    let body = json!({"jsonrpc": "2.0", "id": "server-error", "error": error});
    let clerk = {
        let body = body.clone();
        move |asked: Asked| {
            let body = body.clone();
            async move {
                Some(match asked.what() {
                    "ok" => super::desk::answered(&json!(1), &json!({"html": false})),
                    "html" => {
                        let mut page = plain(200);
                        page.headers_mut()
                            .insert("content-type", "text/html".parse().unwrap());
                        page
                    }
                    "accepted" => plain(202),
                    "oauth" => json_body(401, &json!({"error": "invalid_token"})),
                    status => json_body(status.parse().unwrap(), &body),
                })
            }
        }
    };
    let desk = Desk::open(clerk).await;
    let mut bridge = Bridge::to(&desk.url);
    for status in ["400", "401", "404", "503"] {
        bridge.ask(5, status, json!({}));
        let expected = json!({"jsonrpc": "2.0", "id": 5, "error": error});
        assert_eq!(bridge.next().await, expected, "{status}");
    }
    for (method, code, says) in [
        ("html", 5022, "does not speak MCP"),
        ("accepted", 5022, "will not answer"),
        ("oauth", 4010, "key issue USER"),
    ] {
        bridge.ask(6, method, json!({}));
        let answer = bridge.next().await;
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(6), &json!(code))
        );
        let text = answer["error"]["message"].as_str().unwrap();
        assert!(text.contains(says), "{text}");
    }
    // What is no request has no answer, but a line where people look.
    bridge.notify("oauth", json!({}));
    bridge.ask(1, "ok", json!({}));
    assert_eq!(bridge.next().await["id"], 1);
    let left = bridge.ended().await;
    assert!(left.rest.is_empty(), "{:?}", left.rest);
    assert!(
        left.errors
            .contains("oauth did not arrive: the server answers 401"),
        "{}",
        left.errors
    );
    assert!(!left.errors.contains(KEY));
}

// Fails when nothing bounds what is under way, or what is read; or when an answer counts as too much.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_client_may_have_is_bounded() {
    let (open, mut opened) = unbounded_channel();
    let desk = Desk::open(move |asked: Asked| {
        let open = open.clone();
        async move {
            if asked.body["id"].is_null() || asked.body["result"].is_object() {
                return Some(plain(202));
            }
            let (sender, response) = super::desk::events();
            open.send((asked.body["id"].clone(), sender)).unwrap();
            Some(response)
        }
    })
    .await;
    let mut bridge = Bridge::to(&desk.url);
    for id in 0..=256 {
        bridge.ask(id, "tools/call", json!({}));
    }
    let refused = bridge.next().await;
    assert_eq!(
        (&refused["id"], &refused["error"]["code"]),
        (&json!(256), &json!(4290))
    );
    // Without this one a call that asks the client would never end.
    bridge.say(&json!({"jsonrpc": "2.0", "id": "q", "result": {}}));
    desk.until(|asked| asked.body["id"] == "q").await;
    let mut held = Vec::new();
    for _ in 0..256 {
        held.push(opened.recv().await.unwrap());
    }
    for (id, stream) in held {
        let answer = json!({"jsonrpc": "2.0", "id": id, "result": {}});
        stream.send(format!("data: {answer}\n\n")).unwrap();
    }
    assert_eq!(bridge.several(256).await[255]["id"], 255);

    let long = "a".repeat((64 << 20) + 1) + "\n";
    let writing = tokio::task::spawn_blocking(move || {
        bridge.write(&long);
        bridge
    });
    let mut bridge = writing.await.unwrap();
    assert_eq!(bridge.next().await["error"]["code"], 4130);
    bridge.ask(300, "tools/call", json!({}));
    assert_eq!(opened.recv().await.unwrap().0, 300);
}

// Fails when a key on the command line is taken, or repeated in the complaint.
#[test]
fn a_key_is_taken_from_the_environment_or_a_file_of_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, KEY).unwrap();
    let run = |line: &str| run_in(folder.path(), line.split(' '), b"");
    let url = "http://127.0.0.1:9/mcp";
    for (line, code, says) in [
        (format!("connect {url}"), 2, "CLOAKROOM_KEY"),
        (format!("connect {url} {KEY}"), 2, "CLOAKROOM_KEY"),
        (format!("connect {KEY}"), 2, "CLOAKROOM_KEY"),
        (format!("connect {url} --key {KEY}"), 2, "--key"),
        (format!("connect {url} --key={KEY}"), 2, "--key"),
    ] {
        let done = run(&line);
        assert_eq!(
            (done.code, done.out.as_str()),
            (code, ""),
            "{line}: {}",
            done.err
        );
        assert!(done.err.contains(says), "{}", done.err);
        assert!(!done.err.contains(KEY), "{line}: {}", done.err);
    }
    let from_file = format!("connect {url} --key-file key");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let done = run(&from_file);
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert!(done.err.contains("chmod 600 key"), "{}", done.err);
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let done = run(&from_file);
    assert_eq!((done.code, done.out + &done.err), (0, String::new()));
    // Warned of before anything is sent; and there is nothing to send.
    let done = run("connect http://10.0.0.1/mcp --key-file key");
    assert!(
        done.code == 0 && done.err.contains("unencrypted"),
        "{}",
        done.err
    );
}
