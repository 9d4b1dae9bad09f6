//! Rule 10: no secret and no key is anywhere it could be read, in any of the forms in which bytes
//! are usually written.

mod every_slot;
mod forms;
mod leaky;

use std::path::Path;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use memchr::memmem;

use crate::cli::cloakroom;
use crate::support::backend::Recorder;
use crate::support::client::{Answer, Client, call, listen, post};
use crate::support::collector::Collector;
use crate::support::echo::{Manner, echo};
use crate::support::proxy::{Lines, Place, Proxy};
use crate::support::redis::{Server, free_port};
use forms::Canary;

/// Characters that look different in every form: some are escaped in URLs and JSON.
const SECRET: &str = "canary/+\"secret\\7q%Zk&w=3 fT~x";
const SLOTS: &str = "Authorization = \"Basic ${base64(TOKEN:TOKEN)}\"\nX-Token = \"${TOKEN}\"";

// Fails when a line such as `tracing::trace!(headers = ?parts.headers)` is added to `layer/service.rs`.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_secret_or_key_is_left_anywhere_on_sqlite() {
    nothing_is_left(&Place::Sqlite, "text").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_secret_or_key_is_left_anywhere_on_redis() {
    let redis = Server::plain();
    nothing_is_left(&Place::Redis(&redis), "json").await;
}

async fn nothing_is_left(place: &Place<'_>, log_format: &str) {
    let (redirects, refuses) = (Recorder::start().await, Recorder::start().await);
    redirects.answers("302 Found", "Location: http://elsewhere/\r\n", "");
    refuses.answers("401 Unauthorized", "WWW-Authenticate: Basic\r\n", "no");
    let servers = [
        ("json", echo(Manner::Json).await),
        ("events", echo(Manner::Events).await),
        ("redirects", redirects.url.clone()),
        ("refuses", refuses.url.clone()),
        ("down", "http://127.0.0.1:1/mcp".to_owned()),
        ("unset", echo(Manner::Json).await),
    ];
    let (collector, health) = (Collector::start().await, free_port());
    let lines = Lines {
        root: &format!(
            "log = \"trace\"\nlog_format = \"{log_format}\"\nhealth_listen = \"127.0.0.1:{health}\""
        ),
        store: &format!("[telemetry]\notlp_endpoint = \"{}\"", collector.url),
        slots: Some(SLOTS),
    };
    let proxy = Proxy::start(place, &lines, &servers).await;
    proxy.add_user("alice").await;
    for (server, _) in servers.iter().filter(|(name, _)| *name != "unset") {
        proxy.set_secret("alice", server, SECRET).await;
    }
    let key = proxy.issue_key("alice", None).await;
    let revoked = proxy.issue_key("alice", None).await;
    proxy.vault.revoke_key(&revoked.id).await.unwrap();
    let wrong = {
        // A key nobody has, but for its last character.
        let mut wrong = key.key.reveal().to_owned();
        let last = if wrong.ends_with('x') { 'y' } else { 'x' };
        wrong.pop();
        wrong.push(last);
        wrong
    };
    let unknown = cloakroom::identity::ApiKey::generate();
    let keys = [
        key.key.reveal(),
        revoked.key.reveal(),
        &wrong,
        unknown.reveal(),
    ];
    let mut canaries = vec![Canary::new("the secret", SECRET)];
    canaries.extend(keys.map(|key| Canary::new("a key", key)));

    let answers = traffic(&proxy, &servers.map(|(name, _)| name), keys).await;
    let shown = commands(proxy.folder.path(), keys);
    let requests = answers.len();
    let page = http::Request::get("/metrics")
        .body(Full::default())
        .unwrap();
    let page = Client::new(([127, 0, 0, 1], health).into())
        .exchange(page)
        .await;
    let page = page.unwrap();
    assert!(page.text().contains("cloakroom_requests_total"), "{page:?}");
    let answers = answers.into_iter().chain([page]);
    let mut answers: Vec<_> = answers.flat_map(Answer::into_bytes).collect();
    // A span for each request, and one more for each that reached a server.
    collector.spans(requests + 1).await;
    answers.extend(collector.messages().iter().map(|message| message.to_vec()));
    proxy.log_with("cloakroom::access").await;
    nowhere(&proxy, place, &canaries, answers, &shown).await;
}

/// Nothing of the canaries is in what was answered or shown, in the log, in the process or in the
/// store.
async fn nowhere(
    proxy: &Proxy,
    place: &Place<'_>,
    canaries: &[Canary],
    answers: Vec<Vec<u8>>,
    shown: &[u8],
) {
    // What was logged is printed a little later.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let printed = proxy.printed();
    let said = String::from_utf8_lossy(&printed).into_owned();
    assert!(said.contains("DEBUG") && said.contains("refused"), "{said}");
    let process = format!("/proc/{}", proxy.serving.child.id());
    let cmdline = std::fs::read(format!("{process}/cmdline")).unwrap();
    assert!(!cmdline.is_empty());
    let environ = std::fs::read(format!("{process}/environ")).unwrap();
    let mut places = vec![
        ("what the proxy printed".to_owned(), printed),
        ("its command line".to_owned(), cmdline),
        ("its environment".to_owned(), environ),
        ("what commands printed".to_owned(), shown.to_vec()),
    ];
    places.extend(
        answers
            .into_iter()
            .map(|bytes| ("an answer".to_owned(), bytes)),
    );
    let mut folders = vec![proxy.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                places.push((path.display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    let trail = places
        .iter()
        .find(|(path, _)| path.ends_with("audit.jsonl"));
    let (_, trail) = trail.expect("the audit trail was searched");
    assert!(memmem::find(trail, b"\"event\":\"start\"").is_some());
    match place {
        Place::Sqlite => {
            for file in ["store.db", "store.db-wal", "store.db-shm"] {
                let searched = places.iter().any(|(path, _)| path.ends_with(file));
                assert!(searched, "{file} was not searched");
            }
        }
        Place::Redis(redis) | Place::Relayed(redis, _) => {
            let dump = dump(redis);
            assert!(memmem::find(&dump, b"cloakroom:u/").is_some());
            places.push(("the dump".to_owned(), dump));
        }
        Place::Sentinels(_) | Place::Cluster(_) => unreachable!("not searched here"),
    }
    for (place, bytes) in &places {
        canaries
            .iter()
            .for_each(|canary| canary.absent(place, bytes));
    }
}

/// Requests of every kind, good and bad, and all answers to them.
async fn traffic(proxy: &Proxy, servers: &[&str], keys: [&str; 4]) -> Vec<Answer> {
    let mut client = proxy.client();
    let mut answers = Vec::new();
    let mut requests: Vec<Request<Full<Bytes>>> = Vec::new();
    for key in keys {
        requests.extend(servers.iter().map(|server| call(server, key, 1, "canary")));
        requests.push(call("nosuchserver", key, 1, "canary"));
        // Bodies that hold the key, and are refused for many reasons.
        for body in [
            format!(r#"{{"jsonrpc":"2.0","id":"{key}","method":"{key}"#),
            format!(r#"{{"{key}":1,"{key}":2}}"#),
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"{key}":1,"{key}":2}}}}"#),
            key.to_owned(),
            format!("\"{key}\""),
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"{key}","params":{{"name":"{key}","_meta":{{"traceparent":"{key}","tracestate":"{key}=1"}}}}}}"#
            ),
            format!("[{}\"{key}\"{}]", "[".repeat(99), "]".repeat(99)),
        ] {
            let mut request = post("json", keys[0], body);
            request
                .headers_mut()
                .insert("mcp-method", key.parse().unwrap());
            requests.push(request);
        }
        let path = |path: String| {
            let mut request = call("json", key, 1, "canary");
            *request.uri_mut() = path.parse().unwrap();
            request
        };
        requests.extend([
            path(format!("/{key}/mcp")),
            path(format!("/json/mcp?key={key}")),
        ]);
        for header in [
            "mcp-session-id",
            "last-event-id",
            "origin",
            "host",
            "mcp-name",
            "traceparent",
            "tracestate",
            "x-token",
        ] {
            let mut request = call("events", key, 1, "canary");
            request.headers_mut().insert(header, key.parse().unwrap());
            requests.push(request);
        }
        for method in ["PUT", "DELETE", "OPTIONS"] {
            let mut request = listen("json", key);
            *request.method_mut() = method.parse().unwrap();
            requests.push(request);
        }
        let mut twice = call("json", key, 1, "canary");
        twice
            .headers_mut()
            .insert("x-api-key", key.parse().unwrap());
        requests.push(twice);
    }
    for request in requests {
        let answer = client.exchange(request).await.unwrap();
        // An id, a method or an argument of the client's own may come back to him: it is his.
        let own = answer.text();
        assert!(!own.contains("canary/+"), "{own}");
        answers.push(answer);
    }
    assert!(
        answers
            .iter()
            .any(|answer| answer.status == 200 && answer.text().contains("nonce"))
    );
    answers
}

/// What an operator may do, and what he is shown.
fn commands(folder: &Path, keys: [&str; 4]) -> Vec<u8> {
    let lines = [
        ("secret set alice json TOKEN", SECRET),
        ("secret set alice nosuch TOKEN", SECRET),
        ("secret set nobody json TOKEN", SECRET),
        ("secret list alice", ""),
        ("secret list alice --json", ""),
        ("key list alice", ""),
        ("key list alice --json", ""),
        ("key revoke -", keys[1]),
        ("key revoke -", keys[2]),
        ("key revoke -", keys[3]),
        ("user show alice", ""),
        ("user list --json", ""),
        ("client-config json --url http://127.0.0.1:1", ""),
        ("check", ""),
    ];
    let shown = lines.map(|(line, input)| command(folder, line, input));
    shown.concat()
}

/// All a command prints.
fn command(folder: &Path, line: &str, input: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = cloakroom()
        .current_dir(folder)
        .args(line.split_whitespace())
        .args(["--config", "direct.toml"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let done = child.wait_with_output().unwrap();
    [done.stdout, done.stderr].concat()
}

/// All keys and values Redis holds, and the file it saves.
fn dump(redis: &Server) -> Vec<u8> {
    let mut connection = redis.raw();
    // Compressed, it could not be searched.
    let mut plain = redis::cmd("CONFIG");
    plain.arg("SET").arg("rdbcompression").arg("no");
    plain.exec(&mut connection).unwrap();
    let mut dump = Vec::new();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    for key in keys {
        let value: Vec<u8> = redis::cmd("DUMP").arg(&key).query(&mut connection).unwrap();
        dump.extend(key);
        dump.extend(value);
    }
    redis::cmd("SAVE").exec(&mut connection).unwrap();
    let folder: Vec<String> = redis::cmd("CONFIG")
        .arg("GET")
        .arg("dir")
        .query(&mut connection)
        .unwrap();
    dump.extend(std::fs::read(Path::new(&folder[1]).join("dump.rdb")).unwrap());
    dump
}
