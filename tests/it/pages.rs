//! Web pages: which may call, what their browsers are told first, and what they may read of an answer.

use tokio::io::AsyncWriteExt as _;

use crate::support::backend::Recorder;
use crate::support::proxy::{Lines, Place, Proxy};
use crate::support::raw::{Connection, Raw};

const PAGE: &str = "http://localhost:6274";
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// As Chromium asks for a page that is about to call a tool.
fn preflight(origin: &str) -> String {
    format!(
        "OPTIONS /one/mcp HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\nAccept: */*\r\n\
         Access-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: authorization,content-type,mcp-param-user_id,mcp-protocol-version,x-other\r\n\
         Origin: {origin}\r\nUser-Agent: Mozilla/5.0\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-site\r\n\
         Sec-Fetch-Dest: empty\r\nReferer: {origin}/\r\n\r\n"
    )
}

fn post(key: &str, origin: Option<&str>) -> String {
    let origin = origin.map_or(String::new(), |origin| format!("Origin: {origin}\r\n"));
    let length = PING.len();
    format!(
        "POST /one/mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n{origin}\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{PING}"
    )
}

async fn ask(proxy: &Proxy, bytes: &str) -> Raw {
    let mut connection = Connection::open(proxy.serving.address).await;
    connection.stream.write_all(bytes.as_bytes()).await.unwrap();
    connection.answer(false).await.unwrap()
}

/// The CORS headers of an answer, in order.
fn told(answer: &Raw) -> Vec<&str> {
    let cors = |line: &&str| line.starts_with("access-control-") || line.starts_with("vary: ");
    let mut told: Vec<_> = answer.head.lines().filter(cors).collect();
    told.sort_unstable();
    told
}

// Fails when a pre-flight needs a key or reaches the layer, when `*` or credentials are allowed, or when an
// origin that is not listed is told anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_listed_origins_may_call_and_no_others() {
    let recorder = Recorder::start().await;
    let servers = [("one", recorder.url.clone())];
    let proxy = Proxy::start(&Place::Sqlite, &Lines::default(), &servers).await;
    let key = proxy.settle_in("alice", &["one"]).await;

    let answer = ask(&proxy, &preflight(PAGE)).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert_eq!(
        told(&answer),
        [
            "access-control-allow-headers: authorization, x-api-key, content-type, accept, \
             mcp-protocol-version, mcp-session-id, mcp-method, mcp-name, last-event-id, traceparent, \
             tracestate, mcp-param-user_id",
            "access-control-allow-methods: POST, GET, DELETE",
            "access-control-allow-origin: http://localhost:6274",
            "access-control-max-age: 600",
            "vary: Origin, Access-Control-Request-Headers",
        ]
    );

    let shared = [
        "access-control-allow-origin: http://localhost:6274",
        "access-control-expose-headers: Mcp-Session-Id, WWW-Authenticate, MCP-Protocol-Version, Retry-After",
        "vary: Origin",
    ];
    let answer = ask(&proxy, &post(&key, Some(PAGE))).await;
    assert_eq!((answer.status, &told(&answer)[..]), (200, &shared[..]));
    // A page must be able to read why it was refused, too.
    let answer = ask(&proxy, &post("none", Some(PAGE))).await;
    assert_eq!((answer.status, &told(&answer)[..]), (401, &shared[..]));
    let answer = ask(&proxy, &post(&key, None)).await;
    assert_eq!((answer.status, told(&answer).len()), (200, 0));
    assert_eq!(recorder.received().len(), 2);

    for origin in [
        "http://evil.example",
        "null",
        "http://localhost.evil.example",
    ] {
        for bytes in [preflight(origin), post(&key, Some(origin))] {
            let answer = ask(&proxy, &bytes).await;
            assert_eq!((answer.status, told(&answer).len()), (403, 0), "{origin}");
        }
    }
    // Without the question it is a method like any other.
    let bare = preflight(PAGE).replace("Access-Control-Request-Method: POST\r\n", "");
    assert_eq!(ask(&proxy, &bare).await.status, 401);
    assert!(recorder.received().is_empty());
}
