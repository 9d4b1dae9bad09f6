//! The examples run, as somebody who copies them would have them: a layer around a service of one's own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::run_in;

const HOST: &str = "localhost";

/// An example that serves, with two users' keys.
struct Example {
    child: Child,
    address: String,
    keys: [String; 2],
    _room: TempDir,
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Example {
    /// Makes a room for alice and bob by the commands, and starts the example on it.
    fn start(name: &str) -> Self {
        let room = tempfile::tempdir().unwrap();
        let run = |line: &str, input: &str| {
            let done = run_in(room.path(), line.split('|'), input.as_bytes());
            assert_eq!(done.code, 0, "{line}: {}", done.err);
            done.out
        };
        let header = "Authorization: Bearer ${DEMO_TOKEN}";
        run(
            &format!("init|--url|http://127.0.0.1:9/mcp|--server|demo|--header|{header}"),
            "",
        );
        let keys = [("alice", "four"), ("bob", "sixsix")].map(|(user, secret)| {
            run(&format!("user|add|{user}"), "");
            run(&format!("secret|set|{user}|demo|DEMO_TOKEN"), secret);
            let issued = run(&format!("key|issue|{user}|--json"), "");
            let issued: Value = serde_json::from_str(&issued).unwrap();
            issued["key"].as_str().unwrap().to_owned()
        });
        // `cargo test` builds examples, and puts them beside the binary.
        let built = Path::new(env!("CARGO_BIN_EXE_cloakroom")).parent().unwrap();
        let program = built.join("examples").join(name);
        assert!(program.exists(), "first: cargo build --examples");
        let mut child = Command::new(program)
            .arg(room.path())
            .arg("127.0.0.1:0")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://");
        let address = address
            .unwrap_or_else(|| panic!("{name}: {line}"))
            .to_owned();
        Self {
            child,
            address,
            keys,
            _room: room,
        }
    }

    /// The status, the session if any, and all of the answer.
    fn post(&self, key: &str, host: &str, session: &str, body: &Value) -> (u16, String, String) {
        let body = body.to_string();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n{session}\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer[9..12].parse().unwrap();
        let sessions = answer.lines().take_while(|line| !line.is_empty());
        let mut sessions =
            sessions.filter(|line| line.to_ascii_lowercase().starts_with("mcp-session-id:"));
        let session = sessions
            .next()
            .map_or(String::new(), |line| format!("{line}\r\n"));
        (status, session, answer)
    }
}

fn call(tool: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

#[test]
fn an_axum_handler_sees_the_caller_and_the_callers_own_credential() {
    let example = Example::start("axum");
    let [alice, bob] = &example.keys;
    for (key, text) in [
        (alice, "alice has a credential of 11 characters"),
        (bob, "bob has a credential of 13 characters"),
    ] {
        let (status, _, answer) = example.post(key, HOST, "", &call("any", &json!({})));
        assert!(status == 200 && answer.contains(text), "{answer}");
    }
    assert_eq!(
        example
            .post("clk_wrong", HOST, "", &call("any", &json!({})))
            .0,
        401
    );
    let foreign = example.post(alice, "evil.example", "", &call("any", &json!({})));
    assert_eq!(foreign.0, 421);
}

#[test]
fn a_tool_of_an_rmcp_server_reads_who_calls() {
    let example = Example::start("rmcp");
    let begin = |key: &str| {
        let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
        let (status, session, answer) = example.post(key, HOST, "", &initialize);
        assert!(status == 200 && !session.is_empty(), "{answer}");
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(example.post(key, HOST, &session, &initialized).0, 202);
        session
    };
    let [alice, bob] = &example.keys;
    let sessions = [begin(alice), begin(bob)];
    let said = |who: usize, tool: &str, arguments: Value| {
        let body = call(tool, &arguments);
        let (status, _, answer) = example.post(&example.keys[who], HOST, &sessions[who], &body);
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let answer = said(0, "whoami", json!({}));
    assert!(
        answer.contains("alice, profile default, with a credential of 11 "),
        "{answer}"
    );
    let answer = said(1, "whoami", json!({}));
    assert!(
        answer.contains("bob, profile default, with a credential of 13 "),
        "{answer}"
    );
    // What one keeps the other does not get. Fails when notes are kept by anything both share.
    assert!(said(0, "keep", json!({"text": "mine"})).contains("nothing"));
    assert!(said(1, "keep", json!({"text": "his"})).contains("nothing"));
    assert!(said(0, "keep", json!({"text": "new"})).contains("mine"));
    // A session is nobody's key.
    let (status, ..) = example.post(bob, HOST, &sessions[0], &call("whoami", &json!({})));
    assert_eq!(status, 404);
}
