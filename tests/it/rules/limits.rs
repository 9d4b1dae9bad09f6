//! Rules 8 and 9: bodies are judged whole or refused, and everything has a bound.

use super::start;
use crate::support::backend::Recorder;
use crate::support::client::post;
use crate::support::proxy::{Lines, Place, Proxy};

// Fails when the scanner does not refuse duplicate keys, or a batch is forwarded although one of its
// elements is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_judged_whole_or_nothing_is_sent() {
    let recorder = Recorder::start().await;
    let proxy = start(None, &[("one", recorder.url.clone())]).await;
    let key = proxy.settle_in("alice", &["one"]).await;
    let mut client = proxy.client();
    let good = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":{}{}}}}}"#,
        "[".repeat(70),
        "]".repeat(70)
    );
    for bad in [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{},"\u0061rguments":{}}}"#.to_owned(),
        format!(r#"[{good},{{"jsonrpc":"2.0","id":2,"method":"x","method":"y"}}]"#),
        format!("{good}{good}"),
        format!("{good} x"),
        good[..good.len() - 1].to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        String::new(),
        deep,
    ] {
        let answer = client.exchange(post("one", &key, bad.clone())).await.unwrap();
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
    }
    assert_eq!(
        recorder.received(),
        Vec::<String>::new(),
        "nothing was sent"
    );

    // What passes, passes to the byte: numbers no float can hold, spaces, unknown fields, order.
    let body = r#" {"zz": 1.00000000000000000000000001e+2, "id" : 12345678901234567890123, "method":"\u0070ing","jsonrpc":"2.0"} "#;
    let answer = client
        .exchange(post("one", &key, body.to_owned()))
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = recorder.received().pop().unwrap();
    assert!(received.ends_with(&format!("\r\n\r\n{body}")), "{received}");
}

// Fails when a limit is off by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_to_the_byte() {
    let recorder = Recorder::start().await;
    let lines = Lines {
        root: "[limits]\nbody = \"1KiB\"\nheaders = \"8KiB\"",
        ..Lines::default()
    };
    let servers = [("one", recorder.url.clone())];
    let proxy = Proxy::start(&Place::Sqlite, &lines, &servers).await;
    let key = proxy.settle_in("alice", &["one"]).await;
    let body = |length: usize| {
        let frame = r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":""}}"#;
        let fill = "x".repeat(length - frame.len());
        frame.replace(r#""""#, &format!("\"{fill}\""))
    };
    for (length, status) in [(1023, 200), (1024, 200), (1025, 413)] {
        let request = post("one", &key, body(length));
        let answer = proxy.client().exchange(request).await.unwrap();
        assert_eq!(answer.status, status, "{length}: {}", answer.text());
        assert_eq!(recorder.received().len(), usize::from(status == 200));
    }
    for (length, status) in [(6 * 1024, 200), (9 * 1024, 431)] {
        let mut request = post("one", &key, body(100));
        let value = "x".repeat(length);
        request
            .headers_mut()
            .insert("x-long", value.parse().unwrap());
        let answer = proxy.client().exchange(request).await.unwrap();
        assert_eq!(answer.status, status, "{length}");
    }
}
