//! Rule 2: a session or event id is never authentication, and of no use to anybody else.

use super::start;
use crate::support::backend::Recorder;
use crate::support::client::{Answer, call, listen};
use crate::support::proxy::Proxy;

async fn with(
    proxy: &Proxy,
    (server, key): (&str, &str),
    session: &str,
    event: Option<&str>,
) -> Answer {
    let mut request = match event {
        None => call(server, key, 1, "n"),
        Some(_) => listen(server, key),
    };
    let headers = request.headers_mut();
    headers.insert("mcp-session-id", session.parse().unwrap());
    if let Some(event) = event {
        headers.insert("last-event-id", event.parse().unwrap());
    }
    proxy.client().exchange(request).await.unwrap()
}

// Fails when `Holder`'s user, or its server, is left out of what ids are sealed with; when the gate
// is not asked if there is a session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_id_gives_nobody_anything() {
    let recorder = Recorder::start().await;
    let servers = [("one", recorder.url.clone()), ("two", recorder.url.clone())];
    let proxy = start(None, &servers).await;
    let alice = proxy.settle_in("alice", &["one", "two"]).await;
    let mallory = proxy.settle_in("mallory", &["one", "two"]).await;
    let headers = "Content-Type: text/event-stream\r\nMcp-Session-Id: backend-session\r\n";
    recorder.answers("200 OK", headers, "id: backend-event\ndata: {}\n\n");
    let answer = proxy.client().call("one", &alice, "n").await;
    let session = answer.header("mcp-session-id").unwrap().to_owned();
    let text = answer.text();
    let event = text.lines().find_map(|line| line.strip_prefix("id: "));
    let event = event.unwrap_or_else(|| panic!("no event id: {text}"));
    recorder.received();

    let none = "clk_nobody";
    let again = proxy.issue_key("alice", None).await;
    for (who, status) in [
        (("one", mallory.as_str()), 404),
        (("two", alice.as_str()), 404),
        (("two", mallory.as_str()), 404),
        (("one", none), 401),
    ] {
        let answer = with(&proxy, who, &session, None).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        let answer = with(&proxy, who, &session, Some(event)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    // With a session of her own, or none, the event is still not hers.
    let own = proxy.client().call("one", &mallory, "n").await;
    let own = own.header("mcp-session-id").unwrap().to_owned();
    recorder.received();
    let answer = with(&proxy, ("one", &mallory), &own, Some(event)).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    for forged in ["backend-session", &session[1..], &session.to_uppercase()] {
        let answer = with(&proxy, ("one", &alice), forged, None).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
    }
    assert_eq!(recorder.received(), Vec::<String>::new(), "nothing passed");

    // To their owner they open, whichever of his keys he comes with.
    let answer = with(&proxy, ("one", again.key.reveal()), &session, Some(event)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let head = recorder.received().pop().unwrap();
    assert!(
        head.contains("mcp-session-id: backend-session\r\n"),
        "{head}"
    );
    assert!(head.contains("last-event-id: backend-event\r\n"), "{head}");
}
