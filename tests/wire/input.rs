//! Bad input, row by row of the table in `src/rejection/kind.rs`. Nothing of it reaches the backend.

use std::time::Duration;

use cloakroom::names::UserName;
use cloakroom::rejection::Kind;
use cloakroom::vault::KeyRequest;
use serde_json::{Value, json};

use crate::support::{Answer, Backend, CALL, House, Request};

/// The answer is what the table says of `kind`, to a request whose id was not read.
#[track_caller]
fn refused(answer: &Answer, kind: Kind) {
    refused_for(answer, kind, &Value::Null);
}

#[track_caller]
fn refused_for(answer: &Answer, kind: Kind, id: &Value) {
    let row = kind.row();
    assert_eq!(answer.status(), row.status_without_id, "{answer:?}");
    let document = answer.json();
    assert_eq!(document["error"]["code"], row.code, "{document}");
    assert_eq!(&document["id"], id, "{document}");
    assert_eq!(answer.head.header("content-type"), Some("application/json"));
    let challenge = (row.status == 401).then_some("Bearer");
    assert_eq!(answer.head.header("www-authenticate"), challenge);
}

/// Another last character, so that only the checksum is wrong.
fn misspelt(key: &str) -> String {
    let (head, last) = key.split_at(key.len() - 1);
    format!("{head}{}", if last == "a" { "b" } else { "a" })
}

#[test]
fn without_a_valid_key_there_is_one_answer_and_no_more_to_learn() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    let key = &house.alice;
    let bare = Request::post("/one/mcp", CALL);
    let stranger = cloakroom::identity::ApiKey::generate();
    let cases = [
        bare.clone(),
        bare.clone().key(""),
        bare.clone().key("clk_short"),
        bare.clone().key(&misspelt(key)),
        bare.clone().key(stranger.reveal()),
        bare.clone().key(&format!("{key} x")),
        bare.clone().key(key).key(key),
        bare.clone().key(key).header("X-API-Key", key),
        bare.clone()
            .header("X-API-Key", key)
            .header("X-API-Key", key),
        bare.clone().header("Authorization", key),
        bare.clone()
            .header("Authorization", &format!("Basic {key}")),
        bare.clone()
            .header("Authorization", &format!("Token {key}")),
        bare.clone()
            .header("Cookie", &format!("Authorization=Bearer {key}")),
        Request::post(&format!("/one/mcp?key={key}"), CALL),
        Request::post("/nowhere/mcp", CALL),
        Request::post("/one/mcp", "not json"),
        Request::new("GET", "/one/mcp"),
        Request::new("DELETE", "/one/mcp"),
        Request::new("PUT", "/one/mcp"),
    ];
    let first = house.ask(&cases[0]);
    refused(&first, Kind::Unauthenticated);
    for case in &cases {
        let answer = house.ask(case);
        refused(&answer, Kind::Unauthenticated);
        assert_eq!(answer.body, first.body, "{case:?}");
    }
    assert_eq!(backend.count(), 0);
    for good in [bare.clone().key(key), bare.header("X-API-Key", key)] {
        assert_eq!(house.ask(&good).status(), 200);
    }
}

#[test]
fn the_holder_of_a_key_is_told_why_it_does_not_stand() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    let ask = |key: &str| house.ask(&Request::post("/one/mcp", CALL).key(key));
    let ttl = Some(Duration::ZERO);
    let (expired, _) = house.issue(
        "alice",
        KeyRequest {
            ttl,
            ..KeyRequest::default()
        },
    );
    refused(&ask(&expired), Kind::KeyExpired);
    let (revoked, id) = house.issue("alice", KeyRequest::default());
    house.revoke(&id);
    refused(&ask(&revoked), Kind::KeyRevoked);
    let bob = UserName::parse("bob").unwrap();
    house.in_vault(async |vault| vault.set_disabled(&bob, true).await.unwrap());
    refused(&ask(&house.bob), Kind::UserDisabled);
    assert_eq!(backend.count(), 0);
}

#[test]
fn servers_and_paths_that_are_not_there() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    let unknown = house.ask(&Request::post("/nowhere/mcp", CALL).key(&house.alice));
    refused(&unknown, Kind::UnknownServer);
    for path in [
        "/",
        "/mcp",
        "/one",
        "/one/mcp/",
        "/one/MCP",
        "/one/../one/mcp",
        "/%6fne/mcp",
        "//one/mcp",
        "/one//mcp",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/one/mcp",
        "/.well-known/oauth-authorization-server",
        "/.well-known/mcp",
        "/authorize",
        "/register",
    ] {
        for request in [
            Request::new("GET", path),
            Request::post(path, CALL).key(&house.alice),
        ] {
            let answer = house.ask(&request);
            assert_eq!(answer.status(), 404, "{path}");
            assert_eq!(
                answer.head.header("content-type"),
                Some("text/plain"),
                "{path}"
            );
            assert_eq!(answer.head.header("www-authenticate"), None);
        }
    }
    assert_eq!(backend.count(), 0);
    // The query is nobody's business: dropped, not matched.
    let queried = Request::post("/one/mcp?token=x", CALL).key(&house.alice);
    assert_eq!(house.ask(&queried).status(), 200);
    assert_eq!(backend.last().target, "/mcp");
}

#[test]
fn bodies_of_the_limit_pass_and_of_one_byte_more_do_not() {
    const LIMIT: usize = 300_000;
    let backend = Backend::simple();
    let root = format!("limits.body = {LIMIT}");
    let house = House::new(&root, &[crate::support::Server("one", backend.url(), "")]);
    let of = |length: usize| {
        let padding = "x".repeat(length - CALL.len());
        let body = CALL.replace("\"t\"", &format!("\"t{padding}\""));
        assert_eq!(body.len(), length);
        house.post(body)
    };
    for request in [of(LIMIT), of(LIMIT).in_chunks()] {
        let before = backend.count();
        assert_eq!(house.ask(&request).status(), 200);
        assert_eq!(backend.count(), before + 1);
        assert_eq!(backend.last().body.len(), LIMIT);
    }
    for request in [of(LIMIT + 1), of(LIMIT + 1).in_chunks()] {
        refused(&house.ask(&request), Kind::BodyTooLarge);
        assert_eq!(backend.count(), 2);
    }
    // One that only says it is larger is refused without a byte of it.
    let mut client = house.connect();
    client.write(
        format!(
            "POST /one/mcp HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
            house.address, house.alice, 1u64 << 40
        )
        .as_bytes(),
    );
    refused(&client.answer().unwrap(), Kind::BodyTooLarge);
    assert_eq!(backend.count(), 2);
}

#[test]
fn bodies_are_judged_whole_or_refused() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    let call = |arguments: &str| CALL.replace("{}", arguments).into_bytes();
    // Three levels lie around the arguments.
    let deep = |levels: usize| {
        let inner = levels - 3;
        call(&format!(
            "{{\"a\":{}{}}}",
            "[".repeat(inner),
            "]".repeat(inner)
        ))
    };
    let cases: [(Kind, Vec<u8>); 21] = [
        (Kind::NotJson, b"".to_vec()),
        (Kind::NotJson, b"hello".to_vec()),
        (Kind::NotJson, CALL[..CALL.len() - 1].into()),
        (Kind::NotJson, call("{'a':1}")),
        (Kind::NotJson, call("{\"a\":01}")),
        (Kind::NotJson, call("{\"a\":NaN}")),
        (Kind::NotJson, call("{\"a\":\"\\ud800\"}")),
        (Kind::NotJson, [b"\xef\xbb\xbf", CALL.as_bytes()].concat()),
        (Kind::NotJson, [CALL.as_bytes(), b"{}"].concat()),
        (Kind::NotJson, [CALL.as_bytes(), b"\0"].concat()),
        (
            Kind::NotUtf8,
            call("{\"a\":\"?\"}")
                .iter()
                .map(|&b| if b == b'?' { 0xff } else { b })
                .collect(),
        ),
        (Kind::DuplicateKey, call("{\"a\":1,\"a\":1}")),
        (Kind::DuplicateKey, call("{\"a\":1,\"\\u0061\":1}")),
        (
            Kind::DuplicateKey,
            CALL.replace("\"id\":7", "\"id\":7,\"id\":8").into(),
        ),
        (
            Kind::DuplicateKey,
            CALL.replace("{}", "{},\"arguments\":{}").into(),
        ),
        (Kind::TooDeep, deep(65)),
        (Kind::NotAMessage, b"{}".to_vec()),
        (Kind::NotAMessage, b"[]".to_vec()),
        (Kind::NotAMessage, b"7".to_vec()),
        (
            Kind::NotAMessage,
            CALL.replace("\"id\":7", "\"id\":7,\"ID\":8").into(),
        ),
        (Kind::NotAMessage, format!("[{CALL},{{}}]").into()),
    ];
    for (kind, body) in cases {
        let shown = String::from_utf8_lossy(&body).into_owned();
        for request in [house.post(body.clone()), house.post(body).in_chunks()] {
            let answer = house.ask(&request);
            assert_eq!(answer.json()["error"]["code"], kind.row().code, "{shown}");
            refused(&answer, kind);
        }
    }
    for coding in ["gzip", "identity", ""] {
        let coded = house.post(CALL).header("Content-Encoding", coding);
        refused(&house.ask(&coded), Kind::BodyEncoded);
    }
    assert_eq!(backend.count(), 0);
    let body = deep(64);
    assert_eq!(house.ask(&house.post(body.clone())).status(), 200);
    assert_eq!(backend.last().body, body, "byte for byte");
}

#[test]
fn hosts_and_origins_are_checked_before_keys() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    for (host, kind) in [
        ("evil.example", Kind::ForeignHost),
        ("127.0.0.1.evil.example", Kind::ForeignHost),
        ("", Kind::MalformedRequest),
        ("localhost@evil", Kind::MalformedRequest),
    ] {
        for request in [Request::post("/one/mcp", CALL), house.post(CALL)] {
            refused(&house.ask(&request.host(host)), kind);
        }
    }
    for origin in ["https://evil.example", "null"] {
        for request in [Request::post("/one/mcp", CALL), house.post(CALL)] {
            refused(
                &house.ask(&request.header("Origin", origin)),
                Kind::ForeignOrigin,
            );
        }
    }
    refused(
        &house.ask(&house.post(CALL).header("Host", "localhost")),
        Kind::MalformedRequest,
    );
    assert_eq!(backend.count(), 0);
    let own = house
        .post(CALL)
        .host("localhost:1")
        .header("Origin", "http://localhost:6274");
    assert_eq!(house.ask(&own).status(), 200);
}

#[test]
fn methods_mcp_does_not_use() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    for method in ["PUT", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let answer = house.ask(&Request::new(method, "/one/mcp").key(&house.alice));
        refused(&answer, Kind::MethodNotAllowed);
        assert_eq!(answer.head.header("allow"), Some("POST, GET, DELETE"));
    }
    assert_eq!(backend.count(), 0);
}

#[test]
fn heads_are_bounded() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    let many = (0..110).fold(house.post(CALL), |r, n| r.header(&format!("X-{n}"), "x"));
    let long = house.post(CALL).header("X-Long", &"x".repeat(100_000));
    for request in [many, long] {
        assert_eq!(house.ask(&request).status(), 431);
    }
    let path = format!("/{}/mcp", "x".repeat(100_000));
    let status = house.ask(&Request::post(&path, CALL)).status();
    assert!([414, 431].contains(&status), "{status}");
    let mut client = house.connect();
    client.write(b"GET /\x01 HTTP/1.1\r\n\r\n");
    assert_eq!(client.head().unwrap().status, 400);
    assert_eq!(backend.count(), 0);
    let near = house.post(CALL).header("X-Long", &"x".repeat(60_000));
    assert_eq!(house.ask(&near).status(), 200);
}

#[test]
fn trailers_and_what_the_client_may_not_say_stay_here() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    let mut client = house.connect();
    let head = house
        .post(CALL)
        .header("Cookie", "a=b")
        .header("X-Token", "the client's own")
        .header("X-Forwarded-For", "1.2.3.4")
        .header("Forwarded", "for=1.2.3.4")
        .header("Connection", "keep-alive, X-Token")
        .header("Mcp-Param-Region_1", "north")
        .header("Trailer", "X-Token")
        .header("User-Agent", "wire/1")
        .in_chunks()
        .to_bytes(house.address);
    let trailed = head.strip_suffix(b"\r\n").unwrap();
    let trailer = b"X-Token: trailer\r\nAuthorization: Bearer x\r\n\r\n";
    client.write(&[trailed, trailer].concat());
    refused(&client.answer().unwrap(), Kind::MalformedRequest);
    for name in ["Mcp_Session_Id", "Mcp-Session_Id"] {
        let smuggled = house.post(CALL).header(name, "smuggled");
        refused(&house.ask(&smuggled), Kind::MalformedRequest);
    }
    assert_eq!(backend.count(), 0);
    let mut client = house.connect();
    client.write(&head);
    assert_eq!(client.answer().unwrap().status(), 200);
    let request = backend.last();
    let mut names: Vec<_> = request
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    let passed = [
        "accept",
        "accept-encoding",
        "content-length",
        "content-type",
        "host",
        "mcp-param-region_1",
        "user-agent",
        "x-token",
    ];
    assert_eq!(names, passed);
    assert_eq!(request.header("x-token"), Some("token of alice"));
    assert_eq!(request.header("host"), Some(&*backend.address.to_string()));
    assert_eq!(request.body, CALL.as_bytes());
}

#[test]
fn a_missing_secret_is_said_where_people_see_it() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    let ask = |body: &str| house.ask(&Request::post("/one/mcp", body).key(&house.carol));
    for id in ["7", "\"a\\u0022b\"", "12345678901234567890123", "-0.5e3"] {
        let answer = ask(&CALL.replace("\"id\":7", &format!("\"id\":{id}")));
        assert_eq!(answer.status(), 200);
        assert!(
            answer.text().contains(&format!("\"id\":{id},")),
            "{}",
            answer.text()
        );
        let error = &answer.json()["error"];
        assert_eq!(error["code"], Kind::SecretMissing.row().code);
        let text = error["message"].as_str().unwrap();
        for part in ["`one`", "`TOKEN`", "`cloakroom secret set carol one TOKEN`"] {
            assert!(text.contains(part), "{text}");
        }
    }
    let note = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
    let batch = ask(&format!("[{CALL},{note},{}]", CALL.replace('7', "\"b\"")));
    assert_eq!(batch.status(), 200);
    let batch = batch.json();
    let ids: Vec<_> = batch
        .as_array()
        .unwrap()
        .iter()
        .map(|error| &error["id"])
        .collect();
    assert_eq!(ids, [&json!(7), &json!("b")]);
    refused(&ask(note), Kind::SecretMissing);
    refused(&ask(&format!("[{note}]")), Kind::SecretMissing);
    for method in ["GET", "DELETE"] {
        let answer = house.ask(&Request::new(method, "/one/mcp").key(&house.carol));
        refused(&answer, Kind::SecretMissing);
    }
    assert_eq!(backend.count(), 0);
}

#[test]
fn headers_that_contradict_the_body_are_refused_for_its_id() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    for (name, value) in [("Mcp-Method", "tools/list"), ("Mcp-Name", "other")] {
        let answer = house.ask(&house.post(CALL).header(name, value));
        refused_for(&answer, Kind::HeaderMismatch, &json!(7));
    }
    assert_eq!(backend.count(), 0);
}

// Backends that decode a body by its `charset` (the TypeScript SDK does, by any name iconv knows)
// would see another one than was judged: in UTF-7 `+ACI-` is a quotation mark.
#[test]
fn a_body_that_says_it_is_not_json_in_utf8_is_refused() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    let post = |types: &[&str]| {
        let mut request = Request::new("POST", "/one/mcp").key(&house.alice);
        for kind in types {
            request = request.header("Content-Type", kind);
        }
        house.ask(&request.body(CALL))
    };
    for types in [
        &["application/json; charset=utf-7"][..],
        &["application/json;charset=\"UTF-16LE\""],
        &["application/json; charset=latin1"],
        &["application/json; charset=utf-8; charset=utf-7"],
        &["application/json; x=\"; charset=utf-8\"; charset=utf-7"],
        &["application/json; charset"],
        &["application/json", "application/json; charset=utf-7"],
        &["application/json", "application/json"],
        &["application/json, text/plain"],
        &["application/x-www-form-urlencoded"],
        &["multipart/form-data; boundary=x"],
        &["text/plain"],
        &[""],
    ] {
        refused(&post(types), Kind::BodyEncoded);
    }
    assert_eq!(backend.count(), 0);
    for types in [
        &["application/json"][..],
        &["Application/JSON;charset=UTF-8"],
        &["application/json ; charset=\"utf-8\""],
        // What is missing is the backend's to refuse.
        &[],
    ] {
        assert_eq!(post(types).status(), 200, "{types:?}");
    }
}

#[test]
fn a_body_in_a_transfer_coding_nobody_undoes_is_refused() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    for coding in ["gzip, chunked", "identity, chunked", "chunked, chunked"] {
        let mut client = house.connect();
        let head = format!(
            "POST /one/mcp HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nTransfer-Encoding: {coding}\r\n\r\n",
            house.address, house.alice
        );
        client.write(head.as_bytes());
        client.write(&crate::support::chunked(CALL));
        client.write(b"0\r\n\r\n");
        let answer = client.answer().unwrap();
        assert!(matches!(answer.status(), 400 | 415), "{coding}: {answer:?}");
    }
    assert_eq!(backend.count(), 0);
}
