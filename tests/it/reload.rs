//! A configuration that is changed while requests are served.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::time::sleep;

use crate::support::echo::{Manner, echo};
use crate::support::fingerprint;
use crate::support::health::Health;
use crate::support::load::Load;
use crate::support::proxy::{Lines, Place, Proxy, first_secret};
use crate::support::raw::Connection;

const TAKEN: &str = "cloakroom_config_reloads_total";
const REFUSED: &str = "cloakroom_config_reload_failures_total";

struct House {
    proxy: Proxy,
    health: Health,
}

impl House {
    async fn before(servers: &[(&str, String)]) -> Self {
        let health = Health::somewhere();
        let root = health.line();
        let lines = Lines {
            root: &root,
            ..Lines::default()
        };
        let proxy = Proxy::start(&Place::Sqlite, &lines, servers).await;
        Self { proxy, health }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.proxy.folder.path().join("cloakroom.toml")).unwrap()
    }

    fn write(&self, text: &str) {
        std::fs::write(self.proxy.folder.path().join("cloakroom.toml"), text).unwrap();
    }

    async fn wait_for(&self, figure: &str, value: f64) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.health.figure(figure).await < value {
            assert!(Instant::now() < until, "{figure} does not become {value}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn table(name: &str, url: &str, slot: &str) -> String {
    format!("[servers.{name}]\nurl = \"{url}\"\n[servers.{name}.headers]\n{slot}\n")
}

// Fails when `listener.swap` is not called, and when a core keeps connections of the configuration before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_in_force_soon_and_no_request_fails_meanwhile() {
    let (first, second) = (echo(Manner::Moody).await, echo(Manner::Moody).await);
    let house = House::before(&[("one", first.clone()), ("two", second.clone())]).await;
    let proxy = &house.proxy;
    let key = proxy.settle_in("alice", &["one", "three"]).await;
    let mut client = proxy.client();
    assert_eq!(client.call("three", &key, "n").await.status, 404);
    let load = Load::start(proxy, "one", 20, Duration::from_millis(5)).await;
    let before = house.text();
    for round in 0..6 {
        // `one` moves from server to server, `three` comes and goes.
        let url = [&second, &first][round % 2];
        let old = [&first, &second][round % 2];
        let mut text = before.replace(first.as_str(), "FIRST");
        text = text.replacen("FIRST", url, 1);
        if round % 2 == 0 {
            text += &table("three", old, "Authorization = \"Bearer ${TOKEN}\"");
        }
        house.write(&text);
        house.wait_for(TAKEN, round as f64 + 1.0).await;
        let expected = [200, 404][round % 2];
        // The connection was there before, and serves by what is in force now.
        assert_eq!(client.call("three", &key, "n").await.status, expected);
    }
    let tally = load.stop().await;
    tally.assert_clean("while the configuration changed");
    assert!(tally.served > 500, "{tally:?}");
    assert_eq!(house.health.figure(REFUSED).await, 0.0);
}

/// One connection on which the very same head is sent again and again.
struct SameHead {
    connection: Connection,
    request: String,
}

impl SameHead {
    async fn on(house: &House, path: &str, host: &str, key: &str) -> Self {
        let connection = Connection::open(house.proxy.serving.address).await;
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"nonce":"n"}}}"#;
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\naccept: application/json, \
             text/event-stream\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self {
            connection,
            request,
        }
    }

    /// Sends it three times, of which all are answered alike: the status, and whose secret the backend was given.
    async fn ask(&mut self) -> (u16, String) {
        let mut answers = Vec::new();
        for _ in 0..3 {
            let to = &mut self.connection.stream;
            to.write_all(self.request.as_bytes()).await.unwrap();
            answers.push(self.answer().await);
        }
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{answers:?}"
        );
        answers.remove(0)
    }

    async fn answer(&mut self) -> (u16, String) {
        let answer = self.connection.answer(false).await.unwrap();
        // Where nothing is, plain words are the answer.
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let given = body["result"]["fingerprint"].as_str().unwrap_or_default();
        (answer.status, given.to_owned())
    }
}

// Fails when what let a head pass is remembered for longer than the configuration that did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_on_which_a_host_was_named_does_not_name_it_when_it_may_no_longer_be() {
    let house = House::before(&[("one", echo(Manner::Json).await)]).await;
    let key = house.proxy.settle_in("alice", &["one"]).await;
    let mut client = SameHead::on(&house, "/one/mcp", "old.example", &key).await;
    assert_eq!(client.ask().await.0, 421);
    let before = house.text();
    for (round, host) in ["old.example", "new.example", "old.example"]
        .iter()
        .enumerate()
    {
        let hosts = format!("allowed_hosts = [\"{host}\"]\nallowed_origins = []\n");
        house.write(&(hosts + &before));
        house.wait_for(TAKEN, round as f64 + 1.0).await;
        assert_eq!(client.ask().await.0, [200, 421, 200][round]);
    }
}

// Fails when where a head leads, or whose its key is, is remembered with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_head_on_the_same_connection_is_whatever_the_configuration_in_force_makes_of_it() {
    let (one, two) = (echo(Manner::Json).await, echo(Manner::Json).await);
    let house = House::before(&[("one", one), ("two", two)]).await;
    let servers = ["one", "two"];
    let key = house.proxy.settle_in("alice", &servers).await;
    house.proxy.settle_in("bob", &servers).await;
    let mut client = SameHead::on(&house, "/mcp", "127.0.0.1", &key).await;
    assert_eq!(client.ask().await.0, 404);
    let digest = fingerprint(key.as_bytes());
    let bobs = format!("[static_keys.former]\nsha256 = \"{digest}\"\nuser = \"bob\"\n");
    let before = house.text();
    for (round, (name, server, keys)) in [
        ("alice", "one", ""),
        ("alice", "two", ""),
        ("bob", "two", &*bobs),
        ("bob", "one", &*bobs),
        ("alice", "one", ""),
    ]
    .into_iter()
    .enumerate()
    {
        house.write(&format!("default_server = \"{server}\"\n{before}{keys}"));
        house.wait_for(TAKEN, round as f64 + 1.0).await;
        let given = fingerprint(first_secret(name, server).as_bytes());
        assert_eq!(client.ask().await, (200, given), "{name} at {server}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_used_leaves_everything_as_it_was() {
    let house = House::before(&[("one", echo(Manner::Json).await)]).await;
    let key = house.proxy.settle_in("alice", &["one"]).await;
    let mut client = house.proxy.client();
    let good = house.text();
    let half = &good[..good.len() / 2];
    let no_key = good.replace("[servers.one", "[servers.other");
    for (round, bad) in [half, "listen = ", &good.replace("url", "ulr"), ""]
        .iter()
        .enumerate()
    {
        house.write(bad);
        house.wait_for(REFUSED, round as f64 + 1.0).await;
        let latest = "cloakroom_config_last_reload_successful";
        assert_eq!(house.health.figure(latest).await, 0.0);
        assert_eq!(client.call("one", &key, "n").await.status, 200);
    }
    // It is not tried again all the time.
    sleep(Duration::from_millis(2500)).await;
    assert_eq!(house.health.figure(REFUSED).await, 4.0);
    for said in [
        "the configuration from before stays in force",
        "did you mean `url`?",
    ] {
        house.proxy.log_with(said).await;
    }
    house.write(&no_key);
    house.wait_for(TAKEN, 1.0).await;
    assert_eq!(client.call("one", &key, "n").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_and_a_swapped_symlink_are_noticed_and_what_waits_for_a_restart_is_told() {
    let house = House::before(&[("one", echo(Manner::Json).await)]).await;
    let key = house.proxy.settle_in("alice", &["one"]).await;
    let mut client = house.proxy.client();
    assert_eq!(client.call("one", &key, "n").await.status, 200);
    house.proxy.serving.signal(Signal::HUP);
    house.wait_for(TAKEN, 1.0).await;

    // As Kubernetes lays a ConfigMap out, and changes it.
    let at = |name: &str| house.proxy.folder.path().join(name);
    let slots = house.text();
    let path = at("cloakroom.toml");
    for (version, name) in [("..1", "one"), ("..2", "two")] {
        std::fs::create_dir(at(version)).unwrap();
        let text = slots.replace("[servers.one", &format!("[servers.{name}"));
        std::fs::write(at(version).join("cloakroom.toml"), text).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    std::fs::remove_file(&path).unwrap();
    symlink("..data/cloakroom.toml", &path).unwrap();
    house.wait_for(TAKEN, 2.0).await;
    assert_eq!(
        house.health.figure("cloakroom_config_restart_wanted").await,
        0.0
    );
    symlink("..2", at("..new")).unwrap();
    std::fs::rename(at("..new"), at("..data")).unwrap();
    house.wait_for(TAKEN, 3.0).await;
    assert_eq!(client.call("one", &key, "n").await.status, 404);

    std::fs::remove_file(&path).unwrap();
    house.write(&format!("threads = 1\n{slots}"));
    house.wait_for(TAKEN, 4.0).await;
    assert_eq!(
        house.health.figure("cloakroom_config_restart_wanted").await,
        1.0
    );
}
