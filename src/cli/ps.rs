//! `ps`: the children of all processes that serve by this configuration.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::open::Source;
use super::output::{row, table};
use super::{Failure, Output};

/// How long a process may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(from: &Source, out: &Output) -> Result<(), Failure> {
    let config = from.load()?;
    let mut children = Vec::new();
    for socket in config.data_dir.controls() {
        match timeout(PATIENCE, ask(&socket)).await {
            Ok(Ok(told)) => children.extend(told),
            // What a process left that was killed.
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let _ = std::fs::remove_file(&socket);
            }
            Ok(Err(error)) => out.note(&format!("{} cannot be asked: {error}", socket.display())),
            Err(_) => out.note(&format!("{} does not answer", socket.display())),
        }
    }
    let mut rows = vec![row([
        "USER", "SERVER", "PROFILE", "STATE", "PID", "AGE", "IDLE", "MEMORY", "RESTARTS",
    ])];
    rows.extend(children.iter().map(line));
    out.answer(&json!({ "children": children }), &table(&rows))
}

async fn ask(socket: &Path) -> io::Result<Vec<Value>> {
    let mut stream = UnixStream::connect(socket).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let document: Value = serde_json::from_str(&text)?;
    let children = document["children"].as_array();
    Ok(children.cloned().unwrap_or_default())
}

fn line(child: &Value) -> Vec<String> {
    let text = |key: &str| child[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| child[key].as_u64();
    let duration = |key| {
        let seconds = Duration::from_secs(number(key).unwrap_or_default());
        humantime::format_duration(seconds).to_string()
    };
    let or_none = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    vec![
        text("user"),
        text("server"),
        text("profile"),
        text("state"),
        or_none(number("pid").map(|pid| pid.to_string())),
        duration("age"),
        duration("idle"),
        or_none(number("memory").map(|bytes| format!("{} MiB", bytes >> 20))),
        or_none(number("restarts").map(|count| count.to_string())),
    ]
}
