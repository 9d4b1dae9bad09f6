//! The real `cloakroom connect`, as a client starts it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::cli::cloakroom;

/// The key it is given where it does not matter which.
pub(crate) const KEY: &str = "clk_abcdefghijklmnopqrstuvwxyz012345678901";

pub(crate) struct Bridge {
    child: Child,
    input: Option<ChildStdin>,
    lines: UnboundedReceiver<String>,
    /// All it wrote on standard output until now.
    pub(crate) told: String,
}

/// What it left behind.
pub(crate) struct Left {
    pub(crate) code: Option<i32>,
    /// What it wrote on standard output and was not read.
    pub(crate) rest: Vec<Value>,
    pub(crate) errors: String,
}

impl Bridge {
    pub(crate) fn to(url: &str) -> Self {
        Self::start([url], KEY)
    }

    pub(crate) fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, key: &str) -> Self {
        let mut child = cloakroom()
            .arg("connect")
            .args(args)
            .env("CLOAKROOM_KEY", key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = unbounded_channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines() {
                let _ = sender.send(line.unwrap());
            }
        });
        Self {
            input: child.stdin.take(),
            child,
            lines,
            told: String::new(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.input
            .as_mut()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    pub(crate) fn say(&mut self, message: &Value) {
        self.write(&format!("{message}\n"));
    }

    /// Asks for something; the answer is for [`Self::next`].
    pub(crate) fn ask(&mut self, id: u64, method: &str, params: Value) {
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
    }

    pub(crate) fn notify(&mut self, method: &str, params: Value) {
        self.say(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// Opens a session, and reads the answer.
    pub(crate) async fn open(&mut self) -> Value {
        self.ask(
            0,
            "initialize",
            json!({"protocolVersion": "2025-11-25", "capabilities": {}}),
        );
        let answer = self.next().await;
        self.notify("notifications/initialized", json!({}));
        answer
    }

    /// The next line.
    pub(crate) async fn line(&mut self) -> String {
        let line = timeout(Duration::from_secs(20), self.lines.recv()).await;
        let line = line.expect("it says nothing").expect("it ended");
        self.told.push_str(&line);
        self.told.push('\n');
        line
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// So many messages, in the order of their ids.
    pub(crate) async fn several(&mut self, count: usize) -> Vec<Value> {
        let mut found = Vec::new();
        for _ in 0..count {
            found.push(self.next().await);
        }
        found.sort_by_key(|message| message["id"].as_u64());
        found
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// There is no more input.
    pub(crate) fn end(&mut self) {
        self.input = None;
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn left(mut self) -> Left {
        let ended = spawn_blocking(move || {
            let status = self.child.wait().unwrap();
            let mut errors = String::new();
            let mut from = self.child.stderr.take().unwrap();
            from.read_to_string(&mut errors).unwrap();
            (self, status, errors)
        });
        let ended = timeout(Duration::from_secs(30), ended).await;
        let (mut own, status, errors) = ended.expect("it does not end").unwrap();
        let mut rest = Vec::new();
        while let Some(line) = own.lines.recv().await {
            rest.push(serde_json::from_str(&line).unwrap());
        }
        Left {
            code: status.code(),
            rest,
            errors,
        }
    }

    /// Ends the input and waits until it has ended.
    pub(crate) async fn ended(mut self) -> Left {
        self.end();
        self.left().await
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
