//! What is under way when its key is revoked: streams of both transports, and requests that wait.

use std::time::{Duration, Instant};

use cloakroom::rejection::SETUP_REQUEST;
use cloakroom::vault::IssuedKey;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{End, SERVER, start};
use crate::support::backend::Recorder;
use crate::support::client::{listen, post};
use crate::support::echo::echo_sse;
use crate::support::proxy::{Lines, Place, Proxy, user};
use crate::support::redis::Server;
use crate::support::sse::Sse;

/// From the write being done to the end of what was under way.
const BOUND: Duration = Duration::from_secs(1);

async fn end(proxy: &Proxy, why: End, name: &str, key: &IssuedKey) {
    match why {
        End::Revoked => drop(proxy.vault.revoke_key(&key.id).await.unwrap()),
        End::UserDisabled => {
            let name = user(name);
            proxy.vault.set_disabled(&name, true).await.unwrap();
        }
    }
}

// Fails when `Passing::poll` in `layer/body.rs` does not look at `standing`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_stream_ends_with_its_key() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let proxy = start(&place, "").await;
        proxy.settle_in("alice", &[SERVER]).await;
        for why in [End::Revoked, End::UserDisabled] {
            let key = proxy.issue_key("alice", None).await;
            let mut client = proxy.client();
            let (_sender, response) = client.open(listen(SERVER, key.key.reveal())).await.unwrap();
            assert_eq!(response.status(), 200);
            let mut body = response.into_body();
            assert!(body.frame().await.unwrap().is_ok());
            end(&proxy, why, "alice", &key).await;
            let ended = async { while let Some(Ok(_)) = body.frame().await {} };
            let in_time = timeout(BOUND, ended).await;
            assert!(in_time.is_ok(), "the stream goes on");
        }
    }
}

fn ping(id: u64) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "t"}}).to_string()
}

/// The id of the message an event brings.
fn id(event: Option<String>) -> Value {
    let event = event.expect("the stream goes on");
    let data = event.strip_prefix("event: message\ndata: ").unwrap();
    serde_json::from_str::<Value>(data).unwrap()["id"].clone()
}

// Fails as the test above does, and, for what is posted, when `gate.authenticate` is not asked about
// messages to a path that opens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_the_older_transport_ends_with_its_key() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let url = echo_sse().await;
        let slots = "headers.Authorization = \"Bearer ${TOKEN}\"";
        let table = format!("[servers.old]\nsse_url = \"{url}\"\n{slots}\n");
        let proxy = Proxy::configured(&place, &Lines::default(), &table).await;
        let other = proxy.settle_in("alice", &["old"]).await;
        for why in [End::Revoked, End::UserDisabled] {
            let issued = proxy.issue_key("alice", None).await;
            let key = issued.key.reveal();
            let open = async |key| Sse::open(proxy.client(), "old", key).await.unwrap();
            let mut ends = open(key).await.ok().unwrap();
            let mut stays = open(&other).await.ok().unwrap();
            let mut client = proxy.client();
            let mut posted = async |stream: &Sse, key: &str, id| {
                let posted = client.exchange(stream.post(key, ping(id))).await;
                posted.unwrap()
            };
            assert_eq!(posted(&ends, key, 1).await.status, 202);
            assert_eq!(id(ends.next().await), 1);
            // Any key of the user's serves any of his streams.
            assert_eq!(posted(&stays, key, 2).await.status, 202);
            assert_eq!(id(stays.next().await), 2);

            end(&proxy, why, "alice", &issued).await;
            let written = Instant::now();
            let over = timeout(BOUND, ends.next()).await;
            assert_eq!(over, Ok(None), "after {:?}", written.elapsed());
            for stream in [&ends, &stays] {
                let refused = posted(stream, key, 3).await;
                assert_eq!(refused.status, 401, "{}", refused.text());
            }
            match why {
                End::Revoked => {
                    assert_eq!(posted(&stays, &other, 4).await.status, 202);
                    assert_eq!(id(stays.next().await), 4, "it is the other key's");
                }
                End::UserDisabled => assert_eq!(timeout(BOUND, stays.next()).await, Ok(None)),
            }
            // The backend's half ends too.
            while posted(&ends, &other, 5).await.status == 202 {
                assert!(written.elapsed() < BOUND, "the backend's stream goes on");
            }
        }
    }
}

fn call(more: &Value) -> String {
    let mut params = json!({"name": "t", "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}},
    }});
    for (name, value) in more.as_object().into_iter().flatten() {
        params[name] = value.clone();
    }
    json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params}).to_string()
}

// Fails when `admit_later` in `gate.rs` goes on with the identity it was called with, or does not ask
// whether the new one `stands`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_for_a_secret_is_refused_once_its_key_is_revoked() {
    let redis = Server::plain();
    for place in [Place::Sqlite, Place::Redis(&redis)] {
        let recorder = Recorder::start().await;
        let lines = Lines {
            root: "setup_url = \"https://setup.example/{server}\"",
            ..Lines::default()
        };
        let servers = [("one", recorder.url.clone())];
        let proxy = Proxy::start(&place, &lines, &servers).await;
        for (why, name) in [(End::Revoked, "alice"), (End::UserDisabled, "bob")] {
            proxy.add_user(name).await;
            let issued = proxy.issue_key(name, None).await;
            let key = issued.key.reveal().to_owned();
            let ask = |more: Value| {
                let (mut client, request) = (proxy.client(), post("one", &key, call(&more)));
                async move { client.exchange(request).await.unwrap() }
            };
            let question = ask(json!({})).await.message();
            let state = &question["result"]["requestState"];
            assert!(state.is_string(), "{question}");
            let reply = json!({"requestState": state, "inputResponses": {
                SETUP_REQUEST: {"action": "accept"},
            }});
            let waiting = tokio::spawn(ask(reply));
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(!waiting.is_finished(), "it waits");
            end(&proxy, why, name, &issued).await;
            let refused = timeout(BOUND, waiting).await;
            let refused = refused.expect("it is not refused").unwrap();
            assert_eq!(refused.status, 401, "{}", refused.text());
            // The secret comes too late.
            proxy.set_secret(name, "one", "late").await;
            assert_eq!(ask(json!({})).await.status, 401);
            assert_eq!(recorder.received(), Vec::<String>::new());
        }
    }
}
