//! What is taken away ends what is under way.

use std::time::Duration;

use cloakroom::vault::Role;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Office, key};
use crate::support::client::listen;
use crate::support::echo::{Manner, echo};

const SERVER: &str = "json";
/// More than the second that is promised, for these tests run beside others.
const BOUND: Duration = Duration::from_secs(3);

// Fails when `act` answers without having done it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_a_key_ends_its_open_stream() {
    let table = format!(
        "[servers.{SERVER}]\nurl = \"{}\"\nheaders.Authorization = \"Bearer ${{TOKEN}}\"\n",
        echo(Manner::Json).await
    );
    let office = Office::with("", &table).await;
    office.proxy.settle_in("alice", &[SERVER]).await;
    type End = fn(&str, &str) -> (&'static str, String, Value);
    let ends: [End; 4] = [
        |key, _| ("POST", "/keys/revoke".to_owned(), json!({"api_key": key})),
        |_, id| ("POST", "/keys/revoke".to_owned(), json!({"key_id": id})),
        |_, id| ("DELETE", format!("/keys/{id}"), Value::Null),
        |_, _| {
            (
                "PATCH",
                "/users/alice/enable".to_owned(),
                json!({"enabled": false}),
            )
        },
    ];
    for end in ends {
        let key = office.proxy.issue_key("alice", None).await;
        let mut client = office.proxy.client();
        let (_sender, response) = client.open(listen(SERVER, key.key.reveal())).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        assert!(body.frame().await.unwrap().is_ok());
        let (method, path, asked) = end(key.key.reveal(), key.id.as_str());
        let done = office.is(office.ask(method, &path, asked).await, 200);
        assert_eq!(done["on_all_copies"], true, "{done}");
        let ended = async { while let Some(Ok(_)) = body.frame().await {} };
        let in_time = timeout(BOUND, ended).await;
        assert!(in_time.is_ok(), "the stream goes on after {method} {path}");
    }
}

// Fails when `leaves_an_owner` is not asked, or counts keys that do not stand.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_owner_cannot_lock_himself_out() {
    let office = Office::open("").await;
    let gone = key(&office.proxy, "gone", Role::Owner).await;
    key(&office.proxy, "other", Role::Admin).await;
    let path = format!("/admin/keys/{}", gone.id);
    office.is(office.ask("DELETE", &path, Value::Null).await, 200);
    let keys = office.is(office.ask("GET", "/admin/keys", Value::Null).await, 200);
    let keys = keys["keys"].as_array().unwrap();
    let root = keys.iter().find(|key| key["name"] == "root").unwrap();
    let own = format!("/admin/keys/{}", root["id"].as_str().unwrap());
    let refused = office.is(office.ask("DELETE", &own, Value::Null).await, 409);
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("last key of an owner")
    );
    office.is(office.ask("GET", "/status", Value::Null).await, 200);
    let body = json!({"name": "next", "role": "owner"});
    office.is(office.ask("POST", "/admin/keys", body).await, 201);
    office.is(office.ask("DELETE", &own, Value::Null).await, 200);
    office.is(office.ask("GET", "/status", Value::Null).await, 401);
    let path = "/admin/keys/0123456789abcdef";
    office.is(office.ask("DELETE", path, Value::Null).await, 401);
}
