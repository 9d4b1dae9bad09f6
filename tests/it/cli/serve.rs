use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{CONFIG, House, cloakroom};
use crate::support::redis::free_port;

/// A proxy that runs, until dropped.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `serve --json` on a free port; the address is read from its document.
fn serve(house: &House) -> (Serving, String) {
    serve_with(house, "")
}

/// The same, with further lines at the top of the configuration.
fn serve_with(house: &House, root: &str) -> (Serving, String) {
    let config = format!("listen = \"127.0.0.1:0\"\n{root}{CONFIG}");
    fs::write(house.path("cloakroom.toml"), config).unwrap();
    let mut child = cloakroom()
        .args(["serve", "--json"])
        .current_dir(house.folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let document: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = document["listening"].as_str().unwrap();
    (Serving(child), url.replace("http://", ""))
}

fn status(address: &str, key: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let head = format!(
        "POST /github/mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Bearer {key}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn probers_and_scrapers_are_answered_on_a_listener_of_their_own() {
    let house = House::with_alice();
    let health = format!("127.0.0.1:{}", free_port());
    let root = format!("health_listen = \"{health}\"\n");
    let (_serving, address) = serve_with(&house, &root);
    assert!(get(&health, "/livez").starts_with("HTTP/1.1 200 OK"));
    let until = Instant::now() + Duration::from_secs(20);
    while !get(&health, "/readyz").starts_with("HTTP/1.1 200 OK") {
        assert!(Instant::now() < until, "it is never ready");
    }
    assert_eq!(house.ok("health", "").out, "ready\n");
    let metrics = format!("health --url http://{health}/metrics");
    house.ok(&metrics, "");
    let lost = format!("health --url http://{health}/lost");
    house.fails(&lost, "", 1, &["answers 404: not ready"]);
    let key = house.json("key issue alice", "");
    let key = key["key"].as_str().unwrap();
    assert_eq!(status(&address, key), "HTTP/1.1 200 OK");

    let page = get(&health, "/metrics");
    assert!(page.starts_with("HTTP/1.1 200 OK"), "{page}");
    assert!(
        page.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{page}"
    );
    assert!(
        page.contains("\ncloakroom_store_watch{state=\"up\"} 1\n"),
        "{page}"
    );
    assert!(
        page.contains("\ncloakroom_store_watch{state=\"blind\"} 0\n"),
        "{page}"
    );
    assert!(
        page.contains("\ncloakroom_stale_answers_total 0\n"),
        "{page}"
    );
    let (_, reads) = page.split_once("\ncloakroom_store_reads_total ").unwrap();
    assert_ne!(reads.lines().next(), Some("0"));
    assert!(!page.contains("alice") && !page.contains("clk_"), "{page}");
    assert!(get(&health, "/github/mcp").starts_with("HTTP/1.1 404"));
    assert!(!get(&address, "/metrics").contains("cloakroom_"));
}

#[test]
fn it_serves_beside_the_commands_and_ends_well_when_told() {
    let house = House::with_alice();
    let (mut serving, address) = serve(&house);
    assert_eq!(status(&address, "clk_x"), "HTTP/1.1 401 Unauthorized");
    let key = house.json("key issue alice", "");
    let text = key["key"].as_str().unwrap();
    // No secret yet: said in a result, since clients hide the text of a 4xx.
    assert_eq!(status(&address, text), "HTTP/1.1 200 OK");
    house.ok("secret set alice github GITHUB_TOKEN", "t");
    house.ok(&format!("key revoke {}", key["id"].as_str().unwrap()), "");
    let revoked = (0..50).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        status(&address, text) == "HTTP/1.1 401 Unauthorized"
    });
    assert!(revoked, "a second later it is still accepted");
    let pid = Pid::from_child(&serving.0);
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(serving.0.wait().unwrap().code(), Some(0));
}

#[test]
fn it_does_not_start_when_every_request_would_fail() {
    let house = House::bare();
    house.fails("serve", "", 1, &["cloakroom keyring init"]);
    house.ok("keyring init", "");
    house.ok("user add alice", "");
    fs::remove_file(house.path("master.keys")).unwrap();
    house.ok("keyring init", "");
    house.fails("serve", "", 1, &["the right file in [keyring] file"]);
    fs::write(house.path("empty.toml"), "").unwrap();
    house.fails("serve --config empty.toml", "", 64, &["servers"]);
}

#[test]
fn a_taken_port_is_said() {
    let house = House::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = format!("listen = \"{address}\"\n{CONFIG}");
    fs::write(house.path("cloakroom.toml"), config).unwrap();
    house.fails("serve", "", 1, &[&address.to_string()]);
}
