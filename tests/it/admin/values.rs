//! Values of secrets, and keys, go in and never come out.

use cloakroom::vault::Role;
use serde_json::{Value, json};

use super::{Office, key, request};
use bytes::Bytes;
use http_body_util::Full;

const CANARY: &str = "canary-4b1d7f-value";

// Fails when an error repeats the body, or a list the value; and when a handler logs what it was given.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_and_no_line_of_the_log_holds_a_value() {
    let office = Office::open("log = \"trace\"").await;
    office.proxy.add_user("alice").await;
    office.is(
        office.ask("POST", "/groups", json!({"name": "team"})).await,
        201,
    );
    let mut said = Vec::new();
    let mut ask = async |method: &str, path: &str, body: Value| {
        let answer = office.ask_as(&office.owner, method, path, body).await;
        said.push((format!("{method} {path}: {}", answer.status), answer.text()));
        answer.status
    };
    for path in ["/users/alice/secrets/github", "/groups/team/secrets/github"] {
        let path = format!("{path}/TOKEN");
        assert_eq!(ask("PUT", &path, json!({"value": CANARY})).await, 200);
        // It goes into a header.
        assert_eq!(
            ask("PUT", &path, json!({"value": format!("{CANARY}\n")})).await,
            422
        );
        for wrong in [
            json!({"value": [CANARY]}),
            json!({"value": {"x": CANARY}}),
            json!({CANARY: 1}),
            json!({"value": 1, "profile": CANARY}),
            json!({"value": "x", "profile": [CANARY]}),
            json!({"value": "x", "profile": format!("{CANARY} X")}),
            json!([CANARY]),
            json!(CANARY),
        ] {
            assert_eq!(ask("PUT", &path, wrong).await, 422);
        }
    }
    for wrong in [
        json!({"username": "alice", "serverName": "nowhere", "secretName": "T", "secretValue": CANARY}),
        json!({"username": "alice", "serverName": CANARY, "secretName": "T", "secretValue": "x"}),
        json!({"username": "alice", "serverName": "github", "secretName": CANARY, "secretValue": "x"}),
        json!({"username": format!("{CANARY} "), "serverName": "github", "secretName": "T", "secretValue": 1}),
    ] {
        assert!(matches!(
            ask("POST", "/secrets/set", wrong).await,
            404 | 422
        ));
    }
    assert_eq!(
        ask("POST", "/keys/revoke", json!({"api_key": CANARY})).await,
        422
    );
    assert_eq!(
        ask("POST", "/keys/revoke", json!({"key_id": CANARY})).await,
        422
    );
    for path in [
        "/users",
        "/users/alice",
        "/users/alice/secrets",
        "/users/alice/keys",
        "/groups",
        "/groups/team",
        "/groups/team/secrets",
        "/groups/team/members",
        "/status",
        "/admin/keys",
    ] {
        assert_eq!(ask("GET", path, Value::Null).await, 200, "{path}");
    }
    let mut broken = request(&office.owner, "POST", "/secrets/set", json!({}));
    *broken.body_mut() = Full::new(Bytes::from(format!("{{\"secretValue\": {CANARY}}}")));
    said.push(("broken".to_owned(), office.send(broken).await.text()));
    for (what, text) in &said {
        assert!(!text.contains(CANARY), "{what}: {text}");
        assert!(!text.contains(&office.owner), "{what}");
    }
    let log = String::from_utf8_lossy(&office.proxy.printed()).into_owned();
    assert!(log.contains("admin bound="), "nothing was logged");
    assert!(!log.contains(CANARY) && !log.contains(&office.owner));
    // What was set is there: only its name and version come back.
    let listed = office.is(
        office.ask("GET", "/users/alice/secrets", Value::Null).await,
        200,
    );
    assert_eq!(listed["secrets"][0]["name"], "TOKEN");
    assert!(listed["secrets"][0]["version"].as_u64().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_made_is_shown_once() {
    let office = Office::open("log = \"trace\"").await;
    office.proxy.add_user("alice").await;
    let made = office.is(
        office.ask("POST", "/users/alice/keys", json!({})).await,
        201,
    );
    let made = made["api_key"].as_str().unwrap().to_owned();
    let body = json!({"name": "other"});
    let other = office.is(office.ask("POST", "/admin/keys", body).await, 201);
    let other = other["key"].as_str().unwrap().to_owned();
    for path in ["/users/alice/keys", "/admin/keys", "/users/alice"] {
        let (_, document) = office.ask("GET", path, Value::Null).await;
        let text = document.to_string();
        assert!(!text.contains(&made) && !text.contains(&other), "{text}");
    }
    let log = String::from_utf8_lossy(&office.proxy.printed()).into_owned();
    assert!(!log.contains(&made) && !log.contains(&other));
    // It works, as what it was made as.
    assert_eq!(
        office
            .ask_as(&other, "GET", "/users", Value::Null)
            .await
            .status,
        200
    );
    let reader = key(&office.proxy, "r", Role::Reader).await;
    assert_eq!(
        office
            .ask_as(reader.key.reveal(), "GET", "/users", Value::Null)
            .await
            .status,
        200
    );
}

// Fails when the secret is not looked for in the configuration in force.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_goes_nowhere_is_told_and_one_for_no_server_refused() {
    let office = Office::open("").await;
    office.proxy.add_user("alice").await;
    let path = "/users/alice/secrets/github/OTHER";
    let set = office.is(office.ask("PUT", path, json!({"value": "x"})).await, 200);
    assert!(set["warning"].as_str().unwrap().contains("TOKEN"), "{set}");
    let path = "/users/alice/secrets/gitlab/TOKEN";
    let refused = office.is(office.ask("PUT", path, json!({"value": "x"})).await, 404);
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("there is github"),
        "{refused}"
    );
    let path = "/users/nobody/secrets/github/TOKEN";
    office.is(office.ask("PUT", path, json!({"value": "x"})).await, 404);
}
