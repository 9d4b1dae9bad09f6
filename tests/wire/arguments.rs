//! Secrets as arguments of tools and in the query: put where the slots say, every other byte as the
//! client wrote it, and nothing of the client's in their place.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cloakroom::rejection::Kind;
use serde_json::{Value, json};

use crate::support::{Backend, House, MODERN, Next, Request, json_answer, plain_answer};

fn house(backend: &Backend, slots: &str) -> House {
    let url = backend.url();
    House::configured(
        &format!("[servers.one]\nurl = \"{url}?x=1\"\n{slots}"),
        &["one"],
    )
}

fn call(tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0", "id":12345678901234567890,"method":"tools/call","params":{{"name":"{tool}"{arguments},"unknown":1.50}}}}"#
    )
}

const TOKEN: &str = r#""api_token":"t-token of alice""#;

#[test]
fn an_argument_is_spliced_in_and_all_else_stays_byte_for_byte() {
    let backend = Backend::simple();
    let house = house(
        &backend,
        "[servers.one.arguments]\napi_token = \"t-${TOKEN}\"\n",
    );
    for (sent, expected) in [
        (
            r#","arguments":{"n": 1e2,"é":"\u00e9"}"#,
            format!(r#","arguments":{{{TOKEN},"n": 1e2,"é":"\u00e9"}}"#),
        ),
        (
            r#","arguments": { }"#,
            format!(r#","arguments": {{{TOKEN} }}"#),
        ),
        (
            r#","arguments":null"#,
            format!(r#","arguments":{{{TOKEN}}}"#),
        ),
        // Whatever the client says in its place goes, however it writes it.
        (
            r#","arguments":{"api_token":"evil","a":1}"#,
            format!(r#","arguments":{{{TOKEN},"a":1}}"#),
        ),
        (
            r#","arguments":{"a":1 , "api\u005ftoken":{"x":[1]}}"#,
            format!(r#","arguments":{{{TOKEN},"a":1}}"#),
        ),
        (
            r#","arguments":{"API_TOKEN":1,"a":1,"api_to\u212aen":2}"#,
            format!(r#","arguments":{{{TOKEN},"a":1}}"#),
        ),
        (
            r#","arguments":{"Api_Token":"evil"}"#,
            format!(r#","arguments":{{{TOKEN}}}"#),
        ),
    ] {
        let answer = house.ask(&house.post(call("t", sent)));
        assert_eq!(answer.status(), 200);
        let got = String::from_utf8(backend.last().body).unwrap();
        assert_eq!(got, call("t", &expected), "{sent}");
        assert_eq!(
            backend.last().header("content-length"),
            Some(&*got.len().to_string())
        );
    }
    // Large ones go in pieces, unless something is set in many places.
    let long = "x".repeat(100_000);
    let sent = format!(r#","arguments":{{"a":"{long}","api_token":"evil","b":1}}"#);
    let expected = format!(r#","arguments":{{{TOKEN},"a":"{long}","b":1}}"#);
    let many =
        |one: &str, arguments: &str| format!("[{}]", vec![call(one, arguments); 20].join(" ,"));
    for (sent, expected) in [
        (call("t", &sent), call("t", &expected)),
        (many("t", &sent), many("t", &expected)),
    ] {
        assert_eq!(house.ask(&house.post(sent)).status(), 200);
        assert!(backend.last().body == expected.as_bytes());
    }
    house.ask(&house.post(call("t", "")));
    let got: Value = serde_json::from_slice(&backend.last().body).unwrap();
    assert_eq!(
        got["params"]["arguments"],
        json!({"api_token": "t-token of alice"})
    );
    // What is no call is not touched.
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"name":"t","arguments":{"api_token":"mine"}}}"#;
    house.ask(&house.post(list));
    assert_eq!(backend.last().body, list.as_bytes());
}

#[test]
fn a_call_that_cannot_be_injected_goes_nowhere() {
    let backend = Backend::simple();
    let house = house(
        &backend,
        "[servers.one.arguments]\napi_token = \"${TOKEN}\"\n",
    );
    for body in [
        call("t", r#","arguments":["api_token"]"#),
        call("t", r#","arguments":"{}""#),
        call("t", r#","arguments":{"a":1,"a":2}"#),
        call("t", r#","arguments":{},"Arguments":{"api_token":"evil"}"#),
        call("t", "").replace(r#""name":"t""#, r#""name":["t"]"#),
    ] {
        let answer = house.ask(&house.post(body.clone()));
        assert_eq!(answer.status(), 400, "{body}");
    }
    assert_eq!(backend.count(), 0);
}

#[test]
fn everybody_and_every_tool_gets_its_own() {
    let backend = Backend::simple();
    let slots = "[servers.one.arguments]\nkey = { value = \"${TOKEN}\", tools = [\"write\", \"drop\"] }\n\
                 admin = { value = \"${ADMIN}\", tools = [\"drop\"] }\n";
    let house = house(&backend, slots);
    let arguments = || {
        let body: Value = serde_json::from_slice(&backend.last().body).unwrap();
        body["params"]["arguments"].clone()
    };
    let ask = |tool: &str, key: &str| {
        house.ask(&Request::post("/one/mcp", call(tool, r#","arguments":{}"#)).key(key))
    };
    ask("read", &house.alice);
    assert_eq!(arguments(), json!({}));
    ask("write", &house.alice);
    assert_eq!(arguments(), json!({"key": "token of alice"}));
    ask("write", &house.bob);
    assert_eq!(arguments(), json!({"key": "token of bob"}));
    // Carol has no secret, and needs none to read.
    assert_eq!(ask("read", &house.carol).status(), 200);
    let before = backend.count();
    let answer = ask("drop", &house.alice);
    let error = &answer.json()["error"];
    assert_eq!(error["code"], Kind::SecretMissing.row().code);
    let text = error["message"].as_str().unwrap();
    assert!(
        text.contains("`ADMIN`") && !text.contains("`TOKEN`"),
        "{text}"
    );
    assert_eq!(backend.count(), before);

    let first = call("write", r#","arguments":{"n":1}"#);
    let batch = format!(
        "[{first},{}]",
        call("read", r#","arguments":{"key":"own"}"#)
    );
    house.ask(&house.post(batch));
    let sent: Value = serde_json::from_slice(&backend.last().body).unwrap();
    assert_eq!(
        sent[0]["params"]["arguments"],
        json!({"key": "token of alice", "n": 1})
    );
    assert_eq!(sent[1]["params"]["arguments"], json!({"key": "own"}));
    let before = backend.count();
    let refused = house.ask(&house.post(format!("[{first},{}]", call("drop", ""))));
    let errors = refused.json();
    assert_eq!(
        errors.as_array().unwrap().len(),
        2,
        "one refusal refuses all"
    );
    assert_eq!(errors[0]["error"]["code"], Kind::SecretMissing.row().code);
    assert_eq!(backend.count(), before);
}

#[test]
fn all_secrets_become_arguments_where_the_operator_says_so() {
    let backend = Backend::start(|request, stream| {
        let body = if String::from_utf8_lossy(&request.body).contains("tools/list") {
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"t","inputSchema":{"properties":{"TOKEN":{},"SECOND":{},"c":{}},"required":["TOKEN","c"]}}]}}"#
        } else {
            "{}"
        };
        stream.write_all(&json_answer(body)).unwrap();
        Next::Keep
    });
    let house = house(&backend, "arguments = \"*\"\n");
    house.set_secret("alice", "default", "SECOND", "\"two\"\n");
    house.ask(&house.post(call("t", r#","arguments":{"token":"x","a":1}"#)));
    let sent: Value = serde_json::from_slice(&backend.last().body).unwrap();
    let all = json!({"TOKEN": "token of alice", "SECOND": "\"two\"\n", "a": 1});
    assert_eq!(sent["params"]["arguments"], all);
    let list = house.ask(&house.post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#));
    let schema = &list.json()["result"]["tools"][0]["inputSchema"];
    assert_eq!(*schema, json!({"properties": {"c": {}}, "required": ["c"]}));
}

#[test]
fn the_query_is_the_slots_and_the_configurations_alone() {
    let backend = Backend::simple();
    let house = house(
        &backend,
        "[servers.one.query]\n\"api key\" = \"${TOKEN}&é\"\n",
    );
    let request = Request::post("/one/mcp?api%20key=evil&y=2", call("t", "")).key(&house.alice);
    assert_eq!(house.ask(&request).status(), 200);
    assert_eq!(
        backend.last().target,
        "/mcp?x=1&api%20key=token%20of%20alice%26%C3%A9"
    );
    let request = Request::post("/one/mcp", call("t", "")).key(&house.carol);
    let answer = house.ask(&request);
    assert_eq!(
        answer.json()["error"]["code"],
        Kind::SecretMissing.row().code
    );
    assert_eq!(backend.count(), 1);
}

#[test]
fn a_profile_comes_from_the_path_or_the_key() {
    let backend = Backend::simple();
    let house = house(&backend, "[servers.one.headers]\nX-Token = \"${TOKEN}\"\n");
    house.set_secret("alice", "work", "TOKEN", "at work");
    let request = cloakroom::vault::KeyRequest {
        profile: Some(cloakroom::names::ProfileName::parse("work").unwrap()),
        ..Default::default()
    };
    let (work_key, _) = house.issue("alice", request);
    for (path, key, token) in [
        ("/one/mcp", &house.alice, "token of alice"),
        ("/one/@work/mcp", &house.alice, "at work"),
        ("/one/mcp", &work_key, "at work"),
        ("/one/@default/mcp", &work_key, "token of alice"),
        ("/one/@work/mcp", &work_key, "at work"),
    ] {
        let answer = house.ask(&Request::post(path, call("t", "")).key(key));
        assert_eq!(answer.status(), 200);
        assert_eq!(backend.last().header("x-token"), Some(token), "{path}");
    }
    let before = backend.count();
    // Another's profile is as unknown as one that nobody has.
    for (path, key) in [
        ("/one/@work/mcp", &house.bob),
        ("/one/@home/mcp", &house.alice),
    ] {
        let answer = house.ask(&Request::post(path, call("t", "")).key(key));
        assert_eq!(answer.status(), 404);
        assert_eq!(
            answer.json()["error"]["code"],
            Kind::UnknownProfile.row().code
        );
    }
    assert_eq!(backend.count(), before);
}

/// A server of 2026-07-28 that wants `token` mirrored in a header, of another name once `renamed`.
fn mirroring(renamed: Arc<AtomicBool>) -> Backend {
    Backend::start(move |request, stream| {
        let name = if renamed.load(Ordering::SeqCst) {
            "Other"
        } else {
            "Token"
        };
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let id = &body["id"];
        let answer = if body["method"] == "tools/list" {
            let second = body["params"]["cursor"] == "2";
            let tool = json!({"name": if second { "t" } else { "other" }, "inputSchema": {"properties": {"token": {"type": "string", "x-mcp-header": name}}}});
            let mut result = json!({"tools": [tool]});
            if !second {
                result["nextCursor"] = "2".into();
            }
            json_answer(&json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string())
        } else {
            let header = request.header(&format!("mcp-param-{}", name.to_lowercase()));
            let argument = body["params"]["arguments"]["token"].as_str();
            if header.is_some() && header == argument {
                json_answer(&json!({"jsonrpc": "2.0", "id": id, "result": {}}).to_string())
            } else {
                let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32020, "message": "mismatch"}});
                plain_answer(
                    "400 Bad Request",
                    &[("content-type", "application/json")],
                    &error.to_string(),
                )
            }
        };
        stream.write_all(&answer).unwrap();
        Next::Keep
    })
}

#[test]
fn an_argument_a_server_wants_mirrored_is_mirrored() {
    let renamed = Arc::new(AtomicBool::new(false));
    let backend = mirroring(renamed.clone());
    let house = house(&backend, "[servers.one.arguments]\ntoken = \"${TOKEN}\"\n");
    let ask = |key: &str| {
        let request = Request::post("/one/mcp", MODERN)
            .key(key)
            .header("MCP-Protocol-Version", "2026-07-28")
            .header("Mcp-Method", "tools/call")
            .header("Mcp-Name", "t")
            .header("Mcp-Param-Token", "evil");
        let answer = house.ask(&request);
        (answer.status(), answer.json()["error"]["code"].clone())
    };
    assert_eq!(ask(&house.alice), (200, Value::Null));
    let list = &backend.received()[0];
    assert_eq!(list.header("mcp-method"), Some("tools/list"));
    assert_eq!(
        (list.header("mcp-name"), list.header("mcp-param-token")),
        (None, None)
    );
    assert_eq!(backend.count(), 3, "two pages, and the call");
    assert_eq!(ask(&house.alice), (200, Value::Null));
    assert_eq!(backend.count(), 4, "listed once");
    assert_eq!(ask(&house.bob), (200, Value::Null));
    assert_eq!(backend.count(), 7, "and once as everybody");
    renamed.store(true, Ordering::SeqCst);
    assert_eq!(ask(&house.alice), (200, Value::Null));
    assert_eq!(backend.count(), 11, "refused, listed again, called again");
    assert_eq!(ask(&house.alice), (200, Value::Null));
    assert_eq!(backend.count(), 12);
}
