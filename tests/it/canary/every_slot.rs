//! Secrets as arguments, mirrored arguments, in the query, in streams of HTTP+SSE and in profiles, in
//! front of a backend that repeats them wherever it can.

use std::fmt::Write as _;
use std::time::Duration;

use http::Request;
use memchr::memmem;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::forms::Canary;
use super::leaky::{self, MANNERS, STREAMS};
use super::{SECRET, command, nowhere};
use crate::support::client::{Answer, post};
use crate::support::proxy::{Lines, Place, Proxy};
use crate::support::redis::Server;
use crate::support::sse::Sse;

/// In another profile.
const AT_WORK: &str = "other/+\"canary\\9z%Qj&v=5 gU~y";
/// Of the tool `drop`, which not everybody has.
const ADMIN: &str = "third/+\"canary\\5k%Xm&r=8 hV~z";
/// No header can carry it.
const UNFIT: &str = "fourth/+\"canary\\2p%Ln&s=1\niW~q";

const PROFILES: [&str; 3] = ["default", "work", "unfit"];

const SLOTS: &str = r#"headers.X-Token = "${TOKEN}"
query.token = "${TOKEN}"
query."and again" = "a-${base64(TOKEN:TOKEN)}"
arguments.token = "${TOKEN}"
arguments.admin = { value = "${ADMIN}", tools = ["drop"] }
"#;

fn tables(address: &str) -> String {
    let mut tables = String::new();
    let streams = STREAMS.iter().map(|name| ("sse_url", name));
    for (key, name) in MANNERS.iter().map(|name| ("url", name)).chain(streams) {
        writeln!(
            tables,
            "[servers.{name}]\n{key} = \"http://{address}/{name}\"\n{SLOTS}"
        )
        .unwrap();
    }
    tables + &format!("[servers.down]\nurl = \"http://127.0.0.1:1/x\"\n{SLOTS}")
}

// Each of these makes it fail; all were tried: `judge` in `layer/answer.rs` names the `Location` in its
// text, or `head_for_client` keeps the backend's extensions (the reason phrase); `TO_CLIENT` in
// `mcp/headers.rs` lets one more header pass; a trace of the target or of the bytes sent in
// `layer/ready.rs`, of `reference` in `layer/rules.rs`, of the opened path in `layer/way.rs`, of the
// header that mirrors in `layer/mirror.rs`; a path for messages that is encoded and not sealed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_slot_leaves_anything_of_a_secret_anywhere_on_sqlite() {
    no_slot_leaves_anything(&Place::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_slot_leaves_anything_of_a_secret_anywhere_on_redis() {
    let redis = Server::plain();
    no_slot_leaves_anything(&Place::Redis(&redis)).await;
}

async fn no_slot_leaves_anything(place: &Place<'_>) {
    let address = leaky::start().await;
    let lines = Lines {
        root: "log = \"trace\"\nsetup_url = \"https://setup.example/{server}\"",
        ..Lines::default()
    };
    let proxy = Proxy::configured(place, &lines, &tables(&address)).await;
    let servers = [&MANNERS[..], &["down"]].concat();
    let (alice, carol) = people(&proxy, &[&servers[..], &STREAMS].concat()).await;
    let (mut answers, mut loud) = (Vec::new(), Vec::new());
    for server in &servers {
        for profile in PROFILES {
            let path = format!("{server}/@{profile}");
            let mut here = requests(&proxy, &path, &alice).await;
            // A user without any secret has no profiles.
            here.extend(requests(&proxy, server, &carol).await);
            // What a backend writes into a body is passed on, whatever it is.
            match *server {
                "loud" => loud.extend(here.concat()),
                _ => answers.extend(here),
            }
        }
    }
    let mut opened = 0;
    for server in STREAMS {
        for profile in PROFILES {
            let path = format!("{server}/@{profile}");
            let seen = stream(&proxy, &path, &alice).await;
            opened += usize::from(seen.len() > 1);
            answers.extend(seen);
        }
        answers.extend(stream(&proxy, server, &carol).await);
    }
    assert_eq!(opened, 4, "two profiles on the streams that can be opened");
    let shown = shown(&proxy, &servers);
    let canaries = [SECRET, AT_WORK, ADMIN, UNFIT].map(|value| Canary::new("a secret", value));
    assert!(memmem::find(&loud, SECRET.as_bytes()).is_some());
    everything_happened(&answers.concat(), &proxy).await;
    nowhere(&proxy, place, &canaries, answers, &shown).await;
}

/// Whether the requests met all that could go wrong.
async fn everything_happened(answers: &[u8], proxy: &Proxy) {
    for part in [
        "wants a secret mirrored in a header",
        "the server redirects",
        "refuses the user's credential",
        "the server compressed an answer",
        "no answer from the server",
        "an answer of the server is cut",
        "wants messages sent to another origin",
        "refused, on the stream",
    ] {
        proxy.log_with(part).await;
    }
    for part in [
        "input_required",
        "-32042",
        "\"isError\":true",
        "holds characters the",
        "secret set alice fine ADMIN",
        "secret set carol repeats TOKEN",
        "event: endpoint",
        "event: message\ndata: ",
    ] {
        let found = memmem::find(answers, part.as_bytes());
        assert!(found.is_some(), "not in the answers: {part}");
    }
}

/// Alice has secrets for all servers, in three profiles; carol has none. Their keys.
async fn people(proxy: &Proxy, servers: &[&str]) -> (String, String) {
    proxy.add_user("alice").await;
    proxy.add_user("carol").await;
    for server in servers {
        for (profile, value) in PROFILES.into_iter().zip([SECRET, AT_WORK, UNFIT]) {
            proxy
                .set_named("alice", (server, profile), "TOKEN", value)
                .await;
        }
        proxy
            .set_named("alice", (server, "work"), "ADMIN", ADMIN)
            .await;
    }
    let alice = proxy.issue_key("alice", None).await.key;
    let carol = proxy.issue_key("carol", None).await.key;
    (alice.reveal().to_owned(), carol.reveal().to_owned())
}

fn message(method: &str, tool: &str, more: &Value) -> Value {
    let mut params = json!({"name": tool, "arguments": {"n": 1, "token": "mine"}});
    for (name, value) in more.as_object().into_iter().flatten() {
        params[name] = value.clone();
    }
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
}

/// The metadata of a client of 2026-07-28.
fn modern() -> Value {
    json!({"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}},
    }})
}

/// All that is seen of the answers to requests of every kind.
async fn requests(proxy: &Proxy, path: &str, key: &str) -> Vec<Vec<u8>> {
    let mut client = proxy.client();
    let mut seen = Vec::new();
    let bodies = [
        message(
            "initialize",
            "",
            &json!({"capabilities": {"elicitation": {"url": {}}}}),
        ),
        message("tools/list", "", &json!({})),
        message("tools/call", "echo", &json!({})),
        message("tools/call", "drop", &json!({})),
        message("prompts/get", "echo", &json!({})),
        json!([
            message("tools/call", "echo", &json!({})),
            message("tools/call", "drop", &json!({})),
        ]),
    ];
    let mut session = None;
    for body in bodies {
        let mut request = post(path, key, body.to_string());
        if let Some(session) = &session {
            request
                .headers_mut()
                .insert("mcp-session-id", http::HeaderValue::clone(session));
        }
        let answer = client.exchange(request).await;
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        session = session.or(answer.headers.get("mcp-session-id").cloned());
        seen.extend(answer.into_bytes());
    }
    for (tool, header) in [
        ("echo", "mcp-method"),
        ("drop", "x-token"),
        ("echo", "x-other"),
    ] {
        let body = message("tools/call", tool, &modern());
        let mut request = post(path, key, body.to_string());
        let headers = request.headers_mut();
        headers.insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
        headers.insert(header, "tools/call".parse().unwrap());
        let answer = client.exchange(request).await;
        seen.extend(answer.unwrap().into_bytes());
    }
    let listen = Request::get(format!("/{path}/mcp"))
        .header("host", "127.0.0.1")
        .header("authorization", format!("Bearer {key}"))
        .header("accept", "text/event-stream")
        .body(http_body_util::Full::default());
    // It may be cut.
    let listened = client.exchange(listen.unwrap()).await;
    seen.extend(listened.into_iter().flat_map(Answer::into_bytes));
    seen
}

/// All that is seen of a stream and of messages to it; only the refusal when there is none.
async fn stream(proxy: &Proxy, path: &str, key: &str) -> Vec<Vec<u8>> {
    let opening = Sse::open(proxy.client(), path, key);
    let mut stream = match timeout(Duration::from_secs(10), opening).await.unwrap() {
        Ok(Ok(stream)) => stream,
        Ok(Err(refused)) => return vec![refused.into_bytes().concat()],
        Err(error) => return vec![error.into_bytes()],
    };
    let mut seen = vec![stream.path.clone().into_bytes()];
    let sealed = stream.path.split_once("session_id=").unwrap().1;
    let decoded = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, sealed);
    seen.push(decoded.unwrap());
    let mut client = proxy.client();
    for body in [
        message(
            "initialize",
            "",
            &json!({"capabilities": {"elicitation": {"url": {}}}}),
        ),
        message("tools/call", "echo", &json!({})),
        message("tools/call", "drop", &json!({})),
        message("tools/call", "drop", &modern()),
        message("prompts/get", "echo", &json!({})),
    ] {
        let answer = client.exchange(stream.post(key, body.to_string())).await;
        seen.extend(answer.unwrap().into_bytes());
    }
    let all = async { while stream.next().await.is_some() {} };
    let _ = timeout(Duration::from_millis(300), all).await;
    seen.push(stream.received);
    seen
}

/// What `explain` and others print.
fn shown(proxy: &Proxy, servers: &[&str]) -> Vec<u8> {
    let mut shown = Vec::new();
    for user in ["alice", "carol"] {
        for profile in PROFILES {
            for more in ["", " --json", " --tool drop", " --tool drop --json"] {
                for server in [servers[0], STREAMS[0]] {
                    let line = format!(
                        "explain --user {user} --server {server} --profile {profile}{more}"
                    );
                    shown.extend(command(proxy.folder.path(), &line, ""));
                }
            }
        }
    }
    let text = String::from_utf8_lossy(&shown).into_owned();
    assert!(
        text.contains("\"slots\"") && text.contains("missing"),
        "{text}"
    );
    for line in [
        "secret list alice",
        "secret list alice --json",
        "check",
        "user show alice --json",
    ] {
        shown.extend(command(proxy.folder.path(), line, ""));
    }
    let set = "secret set alice fine TOKEN --profile unfit";
    shown.extend(command(proxy.folder.path(), set, UNFIT));
    shown
}
