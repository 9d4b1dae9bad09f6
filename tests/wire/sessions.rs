//! Session and event ids leave sealed, come back opened, and are worth nothing to anybody else.

use std::io::Write as _;

use cloakroom::names::{ProfileName, SecretName, ServerName, UserName};
use cloakroom::rejection::Kind;
use cloakroom::vault::{KeyRequest, SecretValue};

use crate::support::{
    Answer, Backend, CALL, House, Next, Request, Server, chunked, plain_answer, stream_head,
};

const OWN_SESSION: &str = "the-backends-own-session.1";
const OWN_EVENT: &str = "stream_3/event 7";
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;

/// Gives a session on `initialize`, and answers with a stream of one event whose id is
/// [`OWN_EVENT`] where a stream is asked for.
fn backend() -> Backend {
    Backend::start(|request, stream| {
        let answer = if request.body == INITIALIZE.as_bytes() {
            let headers = [
                ("content-type", "application/json"),
                ("mcp-session-id", OWN_SESSION),
            ];
            plain_answer("200 OK", &headers, "{}")
        } else if request.method == "DELETE" {
            plain_answer("204 No Content", &[], "")
        } else if request.body.starts_with(br#"{"jsonrpc":"2.0","method""#) {
            plain_answer("202 Accepted", &[], "")
        } else {
            let event = format!("id: {OWN_EVENT}\ndata: {{}}\n\n");
            [stream_head(""), chunked(event), b"0\r\n\r\n".to_vec()].concat()
        };
        stream.write_all(&answer).unwrap();
        Next::Keep
    })
}

/// Begins a session; its id as the client knows it.
#[track_caller]
fn begin(house: &House, server: &str, key: &str) -> String {
    let answer = house.ask(&Request::post(&format!("/{server}/mcp"), INITIALIZE).key(key));
    assert_eq!(answer.status(), 200);
    answer.head.header("mcp-session-id").unwrap().to_owned()
}

/// The event id in an answer, as the client knows it.
fn event_id(answer: &Answer) -> String {
    let line = answer.text().lines().next().unwrap();
    line.strip_prefix("id: ").unwrap().to_owned()
}

#[track_caller]
fn refused(answer: &Answer, kind: Kind) {
    assert_eq!(answer.status(), kind.row().status, "{answer:?}");
    assert_eq!(answer.json()["error"]["code"], kind.row().code);
}

#[test]
fn a_session_comes_back_as_the_backends_own() {
    let backend = backend();
    let house = House::before(&backend);
    let session = begin(&house, "one", &house.alice);
    assert!(!session.contains(OWN_SESSION) && session.bytes().all(|b| b.is_ascii_graphic()));
    assert_eq!(backend.last().header("mcp-session-id"), None);
    let within = |method, body: &str| {
        let request = match method {
            "POST" => house.post(body),
            _ => Request::new(method, "/one/mcp").key(&house.alice),
        };
        let request = request
            .header("Mcp-Session-Id", &session)
            .header("MCP-Protocol-Version", "2025-11-25");
        let answer = house.ask(&request);
        assert_eq!(backend.last().method, method);
        assert_eq!(backend.last().header("mcp-session-id"), Some(OWN_SESSION));
        assert_eq!(
            backend.last().header("mcp-protocol-version"),
            Some("2025-11-25")
        );
        assert!(!format!("{answer:?}").contains(OWN_SESSION));
        answer
    };
    assert_eq!(within("POST", CALL).status(), 200);
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let accepted = within("POST", note);
    assert_eq!((accepted.status(), accepted.text()), (202, ""));
    let stream = within("GET", "");
    assert_eq!(
        stream.head.header("content-type"),
        Some("text/event-stream")
    );
    assert_eq!(within("DELETE", "").status(), 204);
    // Without a session the backend decides.
    assert_eq!(house.ask(&house.post(CALL)).status(), 200);
    assert_eq!(backend.last().header("mcp-session-id"), None);
}

#[test]
fn a_session_is_worth_nothing_to_anybody_else() {
    let backend = backend();
    let servers = ["one", "two"].map(|name| Server(name, backend.url(), ""));
    let house = House::new("", &servers);
    // The same user with other secrets is somebody else to the backend.
    let work = ProfileName::parse("work").unwrap();
    let profile = Some(work.clone());
    let (alice_at_work, _) = house.issue(
        "alice",
        KeyRequest {
            profile,
            ..KeyRequest::default()
        },
    );
    house.in_vault(async |vault| {
        let value = SecretValue::new(b"w".to_vec().into()).ok().unwrap();
        let (user, server) = (
            UserName::parse("alice").unwrap(),
            ServerName::parse("one").unwrap(),
        );
        let name = SecretName::parse("TOKEN").unwrap();
        vault
            .set_secret(&user, &server, &work, &name, &value)
            .await
            .unwrap();
    });
    let session = begin(&house, "one", &house.alice);
    let foreign = begin(&house, "one", &house.bob);
    let before = backend.count();
    let middle = session.len() / 2;
    let other = if &session[middle..=middle] == "A" {
        "B"
    } else {
        "A"
    };
    let tampered = format!("{}{other}{}", &session[..middle], &session[middle + 1..]);
    let cut = &session[..session.len() - 1];
    let long = "A".repeat(10_000);
    let cases = [
        ("one", &house.bob, session.as_str()),
        ("two", &house.alice, &session),
        ("one", &alice_at_work, &session),
        ("one", &house.alice, &foreign),
        ("one", &house.alice, &tampered),
        ("one", &house.alice, cut),
        ("one", &house.alice, OWN_SESSION),
        ("one", &house.alice, "garbage"),
        ("one", &house.alice, ""),
        ("one", &house.alice, &long),
    ];
    for (server, key, session) in cases {
        let path = format!("/{server}/mcp");
        for request in [
            Request::post(&path, CALL),
            Request::new("GET", &path),
            Request::new("DELETE", &path),
        ] {
            let request = request.key(key).header("Mcp-Session-Id", session);
            refused(&house.ask(&request), Kind::UnknownSession);
        }
    }
    let twice = house.post(CALL).header("Mcp-Session-Id", &session);
    let twice = house.ask(&twice.header("Mcp-Session-Id", &session));
    refused(&twice, Kind::HeaderMismatch);
    assert_eq!(backend.count(), before);
    // Another key of the same user is the same user.
    let (other, _) = house.issue("alice", KeyRequest::default());
    let same = Request::post("/one/mcp", CALL)
        .key(&other)
        .header("Mcp-Session-Id", &session);
    assert_eq!(house.ask(&same).status(), 200);
    assert_eq!(backend.last().header("mcp-session-id"), Some(OWN_SESSION));
}

#[test]
fn a_stream_is_resumed_where_it_was_and_by_whom_it_was_opened() {
    let backend = backend();
    let house = House::before(&backend);
    let alices = begin(&house, "one", &house.alice);
    let bobs = begin(&house, "one", &house.bob);
    let within = |key: &str, session: Option<&str>, last: Option<&str>| {
        let mut request = Request::new("GET", "/one/mcp").key(key);
        if let Some(session) = session {
            request = request.header("Mcp-Session-Id", session);
        }
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        house.ask(&request)
    };
    let event = event_id(&within(&house.alice, Some(&alices), None));
    assert_ne!(event, OWN_EVENT);
    let resumed = within(&house.alice, Some(&alices), Some(&event));
    assert_eq!(resumed.status(), 200);
    assert_eq!(backend.last().header("last-event-id"), Some(OWN_EVENT));
    assert_eq!(event_id(&resumed), event, "sealed the same way again");
    let without = event_id(&within(&house.alice, None, None));
    assert_eq!(within(&house.alice, None, Some(&without)).status(), 200);
    assert_eq!(backend.last().header("last-event-id"), Some(OWN_EVENT));
    let before = backend.count();
    let tampered = format!("x{}", &event[1..]);
    for (key, session, last) in [
        (&house.bob, Some(&*bobs), &*event),
        (&house.bob, None, &event),
        (&house.bob, None, &without),
        (&house.alice, None, &event),
        (&house.alice, Some(&alices), &without),
        (&house.alice, Some(&alices), &tampered),
        (&house.alice, Some(&alices), OWN_EVENT),
        (&house.alice, Some(&alices), "garbage"),
        (&house.alice, Some(&alices), ""),
    ] {
        refused(&within(key, session, Some(last)), Kind::UnknownEvent);
    }
    assert_eq!(backend.count(), before);
}

#[test]
fn a_session_id_no_client_could_be_given_is_the_backends_fault() {
    for id in ["with space".to_owned(), "x".repeat(1025)] {
        let backend = Backend::start(move |_, stream| {
            let answer = plain_answer("200 OK", &[("mcp-session-id", &id)], "{}");
            stream.write_all(&answer).unwrap();
            Next::Keep
        });
        let house = House::before(&backend);
        refused(&house.ask(&house.post(INITIALIZE)), Kind::BackendBroken);
    }
}
