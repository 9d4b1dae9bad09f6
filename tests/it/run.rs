//! `cloakroom run`, as somebody meets it who has a stdio server and no configuration.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::cli::{Done, cloakroom, run_in};
use crate::packages::only;
use crate::support::client::{Client, post};
use crate::support::redis::free_port;

/// A run that serves, until dropped.
struct Run {
    child: Child,
    printed: String,
}

impl Run {
    /// Starts `cloakroom run ARGS` and reads what it prints, down to the last line.
    fn start(home: &Path, args: &[&str]) -> Self {
        Self::start_by(cloakroom().env("HOME", home), args)
    }

    fn start_by(command: &mut Command, args: &[&str]) -> Self {
        let mut child = command
            .env_remove("XDG_DATA_HOME")
            .arg("run")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut printed = String::new();
        while !printed.contains(" client-config ") {
            if lines.read_line(&mut printed).unwrap() == 0 {
                panic!("it ended: {}", said(&mut child));
            }
        }
        Self { child, printed }
    }

    fn line(&self, part: &str) -> &str {
        let found = self.printed.lines().find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("no {part}: {}", self.printed))
    }

    /// The lines to paste.
    fn next(&self) -> Vec<&str> {
        let lines = self.printed.lines();
        lines.filter(|line| line.contains(" --config ")).collect()
    }

    /// Ends it; what it said on standard error.
    fn end(mut self) -> String {
        self.child.kill().unwrap();
        said(&mut self.child)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(child: &mut Child) -> String {
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    said
}

/// Pastes a line in a shell that knows nothing, with `input` typed after it.
fn paste(line: &str, input: &str) -> String {
    let mut child = Command::new("sh")
        .args(["-c", line])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let done = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{line}: {err}");
    String::from_utf8(done.stdout).unwrap()
}

fn run(home: &Path, args: &[&str]) -> Done {
    let all = ["run"].iter().chain(args);
    run_in(home, all, b"")
}

#[test]
fn the_lines_it_prints_let_the_first_user_in() {
    let home = tempfile::tempdir().unwrap();
    let server = [
        "--env",
        "WEATHER_KEY",
        "--",
        "sh",
        "/opt/weather/server.sh",
        "--stdio",
    ];
    let first = Run::start(home.path(), &server);
    let dir = home.path().join(".local/share/cloakroom/run/weather");
    let url = first.line("Cloakroom serves weather at http://127.0.0.1:");
    assert!(url.contains("/weather/mcp"), "{url}");
    let [add, secret, key, client] = first.next()[..] else {
        panic!("four lines: {}", first.printed)
    };
    paste(add, "");
    paste(secret, "s3cret\n");
    let key = paste(key, "");
    assert!(key.starts_with("clk_"), "{key}");
    assert!(paste(client, "").contains("/weather/mcp"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let keyring = dir.join("master.keys");
    assert_eq!((mode(&dir), mode(&keyring)), (0o700, 0o600));
    let config = dir.join("cloakroom.toml");
    let explained = format!(
        "explain --user ada --server weather --config {}",
        config.display()
    );
    let shown = run_in(home.path(), explained.split(' '), b"").out;
    assert!(shown.contains("variable `WEATHER_KEY`"), "{shown}");
    assert!(
        !shown.contains("MISSING") && !shown.contains("s3cret"),
        "{shown}"
    );

    // Once more while it runs: refused, and nothing is written.
    let before = fs::read_to_string(&config).unwrap();
    let twice = run(
        home.path(),
        &[
            &["--dir", dir.to_str().unwrap()],
            &server[..2],
            &["--", "sh", "/opt/weather/server.py"],
        ]
        .concat(),
    );
    assert!(
        twice.code == 1 && twice.err.contains("--listen"),
        "{}",
        twice.err
    );
    assert_eq!(fs::read_to_string(&config).unwrap(), before);

    // And when it goes on: the same address, users, secrets and keyring.
    let address = url.split(" at ").nth(1).unwrap().to_owned();
    let said = first.end();
    assert!(said.contains("keep a copy of the keyring"), "{said}");
    let kept = fs::read(&keyring).unwrap();
    let again = Run::start(
        home.path(),
        &["--env", "OTHER", "--", "sh", "/opt/weather/server.sh"],
    );
    assert!(
        again.line("Cloakroom serves").ends_with(&address),
        "{}",
        again.printed
    );
    again.line("another user (there is one)");
    assert_eq!(again.next().len(), 4, "{}", again.printed);
    let said = again.end();
    for part in [
        "--stdio; it is now: sh",
        "gets OTHER now",
        "no longer gets WEATHER_KEY",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(fs::read(&keyring).unwrap(), kept);
}

#[test]
fn a_package_is_installed_before_it_serves_and_started_without_network_later() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("a run");
    let listen = format!("127.0.0.1:{}", free_port());
    let args = [
        "--json",
        "--dir",
        dir.to_str().unwrap(),
        // While it installs, another test would choose the same port.
        "--listen",
        &listen,
        "npx",
        "-y",
        "semver@7.7.1",
    ];
    let document = |run: &Run| -> Value { serde_json::from_str(&run.printed).unwrap() };
    let first = Run::start(home.path(), &args);
    let shown = document(&first);
    assert_eq!(shown["server"], "semver");
    assert_eq!(shown["package"]["version"], "7.7.1");
    assert_eq!(shown["next"].as_array().unwrap().len(), 3);
    let said = first.end();
    assert!(said.contains("installing semver@7.7.1"), "{said}");

    let node = only("node");
    let mut offline = cloakroom();
    offline
        .env("HOME", home.path())
        .env("PATH", node.path())
        .env("npm_config_registry", "http://127.0.0.1:9");
    let again = Run::start_by(&mut offline, &args);
    assert_eq!(document(&again)["package"], shown["package"]);
    let said = again.end();
    assert!(!said.contains("installing"), "{said}");
}

/// Every user's own process of a real server, whose tool `get-env` tells its whole environment.
#[tokio::test]
async fn everybody_calls_a_real_server_with_a_secret_of_their_own() {
    let home = tempfile::tempdir().unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let args = [
        "--env",
        "SOME_TOKEN",
        "--listen",
        &listen,
        "--",
        "npx",
        "-y",
        "@modelcontextprotocol/server-everything@2026.8.31",
    ];
    let run = Run::start(home.path(), &args);
    let url = run
        .line("Cloakroom serves everything")
        .split("http://")
        .nth(1)
        .unwrap();
    let address = url.split('/').next().unwrap().parse().unwrap();
    let mut told = Vec::new();
    for user in ["ada", "bob"] {
        let lines: Vec<_> = run
            .next()
            .iter()
            .map(|line| line.replace(" ada ", &format!(" {user} ")))
            .collect();
        paste(&lines[0], "");
        paste(&lines[1], &format!("{user}-s3cret"));
        let key = paste(&lines[2], "");
        told.push(environment_of_child(Client::new(address), key.trim()).await);
    }
    let [ada, bob] = &told[..] else { panic!() };
    assert_eq!(
        (&ada["SOME_TOKEN"], &bob["SOME_TOKEN"]),
        (&json!("ada-s3cret"), &json!("bob-s3cret"))
    );
    assert_ne!(ada["HOME"], bob["HOME"]);
    let mut names: Vec<_> = ada.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["HOME", "LANG", "PATH", "SOME_TOKEN", "TMPDIR"]);
}

async fn environment_of_child(mut client: Client, key: &str) -> Value {
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let answer = client
        .exchange(post("everything", key, initialize.to_string()))
        .await
        .unwrap();
    let session = answer
        .header("mcp-session-id")
        .unwrap_or_else(|| panic!("{answer:?}"))
        .to_owned();
    let mut last = Value::Null;
    for message in [
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "get-env", "arguments": {}}}),
    ] {
        let mut request = post("everything", key, message.to_string());
        let headers = request.headers_mut();
        headers.insert("mcp-session-id", session.parse().unwrap());
        headers.insert("mcp-protocol-version", "2025-11-25".parse().unwrap());
        last = client.exchange(request).await.unwrap().message();
    }
    let text = last["result"]["content"][0]["text"].as_str();
    serde_json::from_str(text.unwrap_or_else(|| panic!("{last}"))).unwrap()
}

#[test]
fn what_it_does_not_do_is_said_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    for (args, code, says) in [
        (
            &["--env", "TOKEN=s3cret", "--", "x"][..],
            2,
            "only the name",
        ),
        (&["--listen", "0.0.0.0:8080", "--", "x"], 2, "allowed_hosts"),
        (&["--", "npx", "-c", "ls"], 2, "shell"),
        (&["--", "npx", "-y", "../x"], 2, "no path"),
        (&["--env", "LD_PRELOAD", "--", "x"], 64, "LD_PRELOAD"),
        (&["--", "x", "${TOKEN}"], 64, "never into arguments"),
        (&["--env", "X"], 2, "COMMAND"),
    ] {
        let dir = home.path().join("run");
        let all = [&["--dir", dir.to_str().unwrap()], args].concat();
        let done = run(home.path(), &all);
        assert_eq!(done.code, code, "{args:?}: {}", done.err);
        assert!(done.err.contains(says), "{args:?}: {}", done.err);
        assert!(
            !done.err.contains("s3cret") && done.out.is_empty(),
            "{}",
            done.err
        );
        assert!(!dir.join("cloakroom.toml").exists() && !dir.join("master.keys").exists());
    }
}
