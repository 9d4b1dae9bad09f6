//! Who is let in: Host, Origin, sockets, keys; and what is said to the others.

use std::path::Path;

use bytes::Bytes;
use cloakroom::vault::Role;
use http::Request;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::{GITHUB, Office, key, request};
use crate::support::client::Answer;
use crate::support::proxy::{Lines, Place, Proxy};

const PATHS: [&str; 4] = ["/health", "/openapi.json", "/users", "/no-such-path"];

fn with(path: &str, key: &str, name: &'static str, value: &str) -> Request<Full<Bytes>> {
    let mut request = request(key, "GET", path, Value::Null);
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

#[track_caller]
fn is_problem(answer: &Answer, status: u16, says: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let document: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(document["status"], status);
    assert!(
        document["detail"].as_str().unwrap().contains(says),
        "{document}"
    );
}

// Fails when `Admin::answer` asks the router before the guard.
#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_reaches_nothing_by_rebinding_or_straight_away() {
    let office = Office::open("").await;
    let owner = &office.owner;
    for path in PATHS {
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "[::2]",
            "localhost@evil",
        ] {
            let answer = office.send(with(path, owner, "host", host)).await;
            is_problem(&answer, 421, "admin_allowed_hosts");
        }
        // Not even pages of this machine, unless they are named.
        for origin in ["https://evil.example", "null", "http://localhost"] {
            let answer = office.send(with(path, owner, "origin", origin)).await;
            is_problem(&answer, 403, "admin_allowed_origins");
        }
        for host in ["localhost", "127.0.0.1:8081", "[::1]"] {
            let answer = office.send(with(path, owner, "host", host)).await;
            assert!(matches!(answer.status, 200 | 404), "{}", answer.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_configured_are_taken() {
    let root = "admin_allowed_hosts = [\"admin.example\"]\nadmin_allowed_origins = [\"https://admin.example\"]";
    let office = Office::open(root).await;
    let mut request = with("/health", &office.owner, "host", "admin.example");
    let origin = "https://admin.example".parse().unwrap();
    request.headers_mut().insert("origin", origin);
    assert_eq!(office.send(request).await.status, 200);
    let answer = office.send(with("/health", "", "host", "localhost")).await;
    is_problem(&answer, 421, "admin_allowed_hosts");
}

// Fails when Host is asked on a Unix socket, or Origin is not.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_unix_socket_any_host_will_do_but_no_origin() {
    let lines = Lines {
        root: "admin_listen = \"unix:admin.sock\"",
        ..Lines::default()
    };
    let proxy = Proxy::configured(&Place::Sqlite, &lines, GITHUB).await;
    let owner = key(&proxy, "root", Role::Owner).await;
    let owner = owner.key.reveal();
    let path = proxy.folder.path().join("admin.sock");
    let answer = ask(&path, with("/users", owner, "host", "whatever.example")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = ask(&path, with("/users", owner, "origin", "http://localhost")).await;
    is_problem(&answer, 403, "admin_allowed_origins");
    let answer = ask(&path, with("/users", "cla_no", "host", "x")).await;
    is_problem(&answer, 401, "cloakroom admin key issue");
}

async fn ask(path: &Path, request: Request<Full<Bytes>>) -> Answer {
    let stream = UnixStream::connect(path).await.unwrap();
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.unwrap();
    tokio::spawn(connection);
    Answer::read(sender.send_request(request).await.unwrap())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_key_of_an_administrator_that_stands_is_one() {
    let office = Office::open("").await;
    let user_key = office.proxy.settle_in("alice", &[]).await;
    let ended = key(&office.proxy, "gone", Role::Owner).await;
    office
        .proxy
        .vault
        .revoke_admin_key(&ended.id)
        .await
        .unwrap();
    let unknown = cloakroom::identity::AdminKey::generate();
    for key in ["", "cla_", &user_key, unknown.reveal()] {
        let answer = office.ask_as(key, "GET", "/users", Value::Null).await;
        is_problem(&answer, 401, "cloakroom admin key issue");
        assert!(
            answer
                .header("www-authenticate")
                .unwrap()
                .starts_with("Bearer")
        );
    }
    let answer = office
        .ask_as(ended.key.reveal(), "GET", "/users", Value::Null)
        .await;
    is_problem(&answer, 401, "revoked");
    // And an administrator's key opens no server.
    let mut client = office.proxy.client();
    assert_eq!(client.call("github", &office.owner, "n").await.status, 401);
    let twice = {
        let mut request = request(&office.owner, "GET", "/users", Value::Null);
        let value = format!("Bearer {}", office.owner).parse().unwrap();
        request.headers_mut().append("authorization", value);
        request
    };
    is_problem(&office.send(twice).await, 401, "cloakroom admin key issue");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_is_a_problem_that_says_what_to_do() {
    let office = Office::open("").await;
    let ask = async |method, path, body| office.ask_as(&office.owner, method, path, body).await;
    is_problem(
        &ask("GET", "/user", Value::Null).await,
        404,
        "/openapi.json",
    );
    let answer = ask("POST", "/health", Value::Null).await;
    is_problem(&answer, 405, "Allow");
    assert!(answer.header("allow").unwrap().contains("GET"));
    is_problem(
        &ask("POST", "/users", Value::Null).await,
        415,
        "application/json",
    );
    is_problem(
        &ask("POST", "/users", json!({})).await,
        422,
        "missing field `username`",
    );
    is_problem(
        &ask("POST", "/users", json!({"username": "A B"})).await,
        422,
        "write 1 to 128 of a-z",
    );
    is_problem(
        &ask("GET", "/users/A%20B", Value::Null).await,
        422,
        "write 1 to 128 of a-z",
    );
    is_problem(&ask("GET", "/users/%ff", Value::Null).await, 400, "UTF-8");
    is_problem(
        &ask("GET", "/users?limit=0", Value::Null).await,
        422,
        "1 to 1000",
    );
    is_problem(
        &ask("GET", "/users?limit=x", Value::Null).await,
        400,
        "1 to 1000",
    );
    is_problem(
        &ask("GET", "/users?cursor=x", Value::Null).await,
        422,
        "begin without one",
    );
    is_problem(
        &ask("GET", "/users/nobody", Value::Null).await,
        404,
        "cloakroom user list",
    );
    let long = json!({"username": "a", "notes": "x".repeat(256 << 10)});
    is_problem(&ask("POST", "/users", long).await, 413, "256 KiB");
    let long = json!({"username": "a", "notes": "x".repeat(4097)});
    is_problem(&ask("POST", "/users", long).await, 422, "4096 bytes");
    let mut broken = request(&office.owner, "POST", "/users", json!({}));
    *broken.body_mut() = Full::from("{\"username\": ");
    is_problem(&office.send(broken).await, 400, "is not JSON");
}
