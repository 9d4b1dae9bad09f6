//! The lines of the log.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client::post;
use crate::support::echo::{Manner, echo};
use crate::support::proxy::{Lines, Place, Proxy};

async fn start(root: &str) -> Proxy {
    let lines = Lines {
        root,
        ..Lines::default()
    };
    Proxy::start(
        &Place::Sqlite,
        &lines,
        &[("json", echo(Manner::Json).await)],
    )
    .await
}

/// All lines, once there are so many that hold `text`.
async fn lines_with(proxy: &Proxy, text: &str, count: usize) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let printed = String::from_utf8(proxy.printed()).unwrap();
        let lines: Vec<_> = printed.lines().map(str::to_owned).collect();
        let found: Vec<_> = lines
            .into_iter()
            .filter(|line| line.contains(text))
            .collect();
        if found.len() >= count {
            return found;
        }
        assert!(Instant::now() < until, "{printed}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

// Fails when a field is nested, and when the access line is written before its request ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_lines_are_objects_and_requests_have_one_each() {
    let proxy = start("log = \"info,cloakroom::access=debug\"\nlog_format = \"json\"").await;
    let key = proxy.settle_in("alice", &["json"]).await;
    let mut client = proxy.client();
    let answer = client.call("json", &key, "n").await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"of/my own"}"#;
    client
        .exchange(post("json", &key, body.to_owned()))
        .await
        .unwrap();
    client.call("json", "clk_wrong", "n").await;
    let lines = lines_with(&proxy, "\"cloakroom::access\"", 3).await;
    assert_eq!(lines.len(), 3);
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [called, own, refused] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(called["level"], "DEBUG");
    assert_eq!(called["message"], "request");
    let at = called["timestamp"].as_str().unwrap();
    assert!(
        humantime::parse_rfc3339(at).is_ok() && at.ends_with('Z'),
        "{at}"
    );
    assert_eq!(
        (&called["server"], &called["status"]),
        (&"json".into(), &200.into())
    );
    assert_eq!(
        (&called["method"], &called["http_method"]),
        (&"tools/call".into(), &"POST".into())
    );
    assert_eq!(called["bytes_out"], answer.body.len());
    assert!(called["bytes_in"].as_u64() > Some(50) && called["duration_ms"].as_f64() > Some(0.0));
    assert_eq!(called["user"].as_str().unwrap().len(), 32);
    assert!(key.len() > 20 && called["key"].as_str().unwrap().len() >= 8);
    assert_eq!(own["method"], "other");
    assert_eq!(
        (&refused["status"], &refused["rejection"]),
        (&401.into(), &"unauthenticated".into())
    );
    assert_eq!((refused.get("user"), refused.get("key")), (None, None));
    let printed = String::from_utf8(proxy.printed()).unwrap();
    let others = printed.lines().filter(|line| line.starts_with('{'));
    for line in others {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
    for absent in ["alice", "of/my own", "echo", key.as_str()] {
        assert!(!printed.contains(absent), "{absent}: {printed}");
    }
}

// Fails when the access line is above debug.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_have_no_line_unless_it_is_asked_for() {
    let proxy = start("log = \"info\"").await;
    let key = proxy.settle_in("alice", &["json"]).await;
    assert_eq!(proxy.client().call("json", &key, "n").await.status, 200);
    lines_with(&proxy, "pushed", 1).await;
    let printed = String::from_utf8(proxy.printed()).unwrap();
    assert!(!printed.contains("access"), "{printed}");
}
