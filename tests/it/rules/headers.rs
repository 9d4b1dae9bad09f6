//! Rules 3 and 4: what of a request and of an answer passes.

use std::collections::BTreeSet;

use http::HeaderValue;

use super::start;
use crate::support::backend::Recorder;
use crate::support::client::{Answer, call};

/// The names of the headers in a raw head, each as often as it is there.
fn names(head: &str) -> Vec<String> {
    let head = head.split("\r\n\r\n").next().unwrap();
    let fields = head.lines().skip(1);
    let mut names: Vec<_> = fields
        .map(|line| line.split(':').next().unwrap().to_ascii_lowercase())
        .collect();
    names.sort();
    names
}

// Fails when `to_backend` answers `AsIs` for one more name, or `aim` keeps the target it is given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_gets_exactly_these_headers() {
    let recorder = Recorder::start().await;
    let url = format!("{}?fixed=1", recorder.url);
    let proxy = start(None, &[("one", url)]).await;
    let key = proxy.settle_in("alice", &["one"]).await;
    let mut request = call("one", &key, 1, "nonce");
    *request.uri_mut() = "/one/mcp?token=stolen&fixed=2".parse().unwrap();
    for (name, value) in [
        ("accept-encoding", "gzip, br"),
        ("accept-language", "de"),
        ("cookie", "session=1"),
        ("forwarded", "for=1.2.3.4"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "echo"),
        ("mcp-protocol-version", "2025-06-18"),
        ("mcp-unheard-of", "yes"),
        ("origin", "http://localhost"),
        ("proxy-authorization", "Basic eDp5"),
        ("referer", "http://localhost/"),
        ("te", "trailers"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("tracestate", "a=b"),
        ("user-agent", "test/1"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-real-ip", "1.2.3.4"),
        ("x-token", "mine"),
        ("x-user-id", "root"),
    ] {
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    let answer = proxy.client().exchange(request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = recorder.received();
    let [head] = &received[..] else {
        panic!("{received:?}")
    };
    assert_eq!(head.lines().next(), Some("POST /mcp?fixed=1 HTTP/1.1"));
    assert_eq!(
        names(head),
        [
            "accept",
            "accept-encoding",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "mcp-method",
            "mcp-name",
            "mcp-param-nonce",
            "mcp-protocol-version",
            "mcp-unheard-of",
            "traceparent",
            "tracestate",
            "user-agent",
        ]
    );
    let host = recorder.url.strip_prefix("http://").unwrap();
    let host = host.strip_suffix("/mcp").unwrap();
    for line in [
        "accept-encoding: identity",
        "authorization: Bearer alice-one-secret",
        &format!("host: {host}"),
        "user-agent: test/1",
    ] {
        assert!(head.contains(&format!("{line}\r\n")), "{line}: {head}");
    }
    assert!(!head.contains(&key) && !head.contains("stolen"), "{head}");
}

// Fails when `to_client` answers `AsIs` for one more name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_gets_exactly_these_headers() {
    let recorder = Recorder::start().await;
    let proxy = start(None, &[("one", recorder.url.clone())]).await;
    let key = proxy.settle_in("alice", &["one"]).await;
    let headers = "Content-Type: application/json\r\nCache-Control: no-store\r\nRetry-After: 7\r\n\
        X-Accel-Buffering: no\r\nMCP-Protocol-Version: 2025-06-18\r\nMcp-Session-Id: backend-id\r\n\
        Set-Cookie: a=b\r\nServer: secret/1\r\nWWW-Authenticate: Basic\r\nAccess-Control-Allow-Origin: *\r\n\
        Location: http://elsewhere/\r\nX-Powered-By: x\r\nMcp-Whatever: x\r\nAlt-Svc: h3\r\n\
        Strict-Transport-Security: max-age=1\r\nLink: </x>\r\nClear-Site-Data: \"*\"\r\n";
    recorder.answers("200 OK", headers, "{}");
    let answer = proxy.client().call("one", &key, "n").await;
    let names = answer.headers.keys().map(|name| name.as_str());
    // Which of these frames it, depends on whether it came in one piece.
    let (framing, names): (BTreeSet<_>, BTreeSet<_>) =
        names.partition(|name| ["content-length", "transfer-encoding"].contains(name));
    let expected = [
        "cache-control",
        "content-type",
        "date",
        "mcp-protocol-version",
        "mcp-session-id",
        "retry-after",
        "x-accel-buffering",
    ];
    assert_eq!(names, BTreeSet::from(expected));
    assert_eq!(framing.len(), 1, "{framing:?}");
    assert_eq!(answer.header("retry-after"), Some("7"));
    let session = answer.header("mcp-session-id").unwrap();
    assert!(!session.contains("backend-id"), "{session}");
}

/// What a client is told, whatever the backend meant: never a challenge, never an address.
#[track_caller]
fn assert_ours(answer: &Answer, status: u16, code: u64, says: &str) {
    let (text, message) = (answer.text(), answer.message());
    assert_eq!(answer.status, status, "{text}");
    assert_eq!(message["error"]["code"], code, "{text}");
    assert!(text.contains(says) && !text.contains("elsewhere"), "{text}");
    for header in [
        "www-authenticate",
        "location",
        "set-cookie",
        "proxy-authenticate",
    ] {
        assert_eq!(answer.header(header), None);
    }
}

// Fails when `judge` in `layer/answer.rs` lets redirects, or 401, 403 and 407, pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed_and_a_refusal_is_not_ours() {
    let recorder = Recorder::start().await;
    let proxy = start(None, &[("one", recorder.url.clone())]).await;
    let key = proxy.settle_in("alice", &["one"]).await;
    let mut client = proxy.client();
    let headers = "Location: http://elsewhere/\r\nWWW-Authenticate: Bearer\r\nSet-Cookie: a=b\r\n\
        Proxy-Authenticate: Basic\r\n";
    for status in ["301 Moved", "302 Found", "303 See", "307 Temp", "308 Perm"] {
        recorder.answers(status, headers, "elsewhere");
        let answer = client.call("one", &key, "n").await;
        assert_ours(&answer, 502, 5021, "servers.one.url");
    }
    for status in ["401 Unauthorized", "403 Forbidden", "407 Proxy"] {
        recorder.answers(status, headers, "elsewhere");
        let answer = client.call("one", &key, "n").await;
        assert_ours(&answer, 200, 4242, "cloakroom secret set");
    }
    // Other errors are the server's own business with its client.
    recorder.answers("418 Teapot", "Content-Type: text/plain\r\n", "no coffee");
    let answer = client.call("one", &key, "n").await;
    assert_eq!((answer.status, answer.text().as_str()), (418, "no coffee"));
}

// Fails when `to_backend` passes every name and `Plan::apply` appends instead of inserting: each
// alone keeps the rule.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_slot_sets_a_client_cannot() {
    let recorder = Recorder::start().await;
    let slots = "X-Token = \"t-${TOKEN}\"\nX-Tenant = \"ours\"\nX-API-Key = \"${TOKEN}\"";
    let proxy = start(Some(slots), &[("one", recorder.url.clone())]).await;
    let key = proxy.settle_in("alice", &["one"]).await;
    let mut request = call("one", &key, 1, "nonce");
    let headers = request.headers_mut();
    // The slot takes even the place where the client's key is.
    headers.remove("authorization");
    headers.insert("x-api-key", HeaderValue::from_str(&key).unwrap());
    for name in ["x-token", "x-tenant"] {
        headers.append(name, HeaderValue::from_static("forged"));
        headers.append(name, HeaderValue::from_static("forged again"));
    }
    let answer = proxy.client().exchange(request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let head = recorder.received().pop().unwrap();
    assert!(!head.contains("forged") && !head.contains(&key), "{head}");
    for line in [
        "x-token: t-alice-one-secret",
        "x-tenant: ours",
        "x-api-key: alice-one-secret",
    ] {
        assert!(head.contains(&format!("{line}\r\n")), "{line}: {head}");
    }
    let unique: BTreeSet<_> = names(&head).into_iter().collect();
    assert_eq!(unique.len(), names(&head).len(), "each header once: {head}");
}
