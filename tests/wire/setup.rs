//! A missing secret, told to each client in the way it can do most with.

use cloakroom::rejection::{Kind, SETUP_REQUEST};
use serde_json::{Value, json};

use crate::support::{Answer, Backend, House, Next, Request, json_answer, plain_answer};
use std::io::Write as _;

const URL: &str = "https://setup.example/one?p=default";

fn house(backend: &Backend, more: &str) -> House {
    let url = backend.url();
    let page = "https://setup.example/{server}?p={profile}";
    House::configured(
        &format!(
            "setup_url = \"{page}\"\n[servers.one]\nurl = \"{url}\"\n{more}\n[servers.one.headers]\nX-Token = \"${{TOKEN}}\"\n"
        ),
        &["one"],
    )
}

fn call(elicitation: &Value, more: &Value) -> Value {
    let mut params = json!({"name": "t", "arguments": {"n": 1}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": elicitation},
    }});
    for (key, value) in more.as_object().unwrap() {
        params[key] = value.clone();
    }
    json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params})
}

fn ask(house: &House, key: &str, body: &Value) -> Answer {
    let request = Request::post("/one/mcp", body.to_string()).key(key);
    house.ask(&request.header("MCP-Protocol-Version", "2026-07-28"))
}

#[test]
fn a_client_that_asks_again_is_asked_and_answered_once_the_secret_is_there() {
    let backend = Backend::simple();
    let house = house(&backend, "");
    let answer = ask(&house, &house.carol, &call(&json!({"url": {}}), &json!({})));
    assert_eq!(answer.status(), 200);
    let result = &answer.json()["result"];
    assert_eq!(result["resultType"], "input_required");
    let page = &result["inputRequests"][SETUP_REQUEST];
    assert_eq!(
        (&page["method"], &page["params"]["url"]),
        (&json!("elicitation/create"), &json!(URL))
    );
    let again = |action: &str, state: &Value| {
        let responses = json!({SETUP_REQUEST: {"action": action}});
        call(
            &json!({"url": {}}),
            &json!({"inputResponses": responses, "requestState": state}),
        )
    };
    let state = &result["requestState"];
    let declined = ask(&house, &house.carol, &again("decline", state)).json();
    assert_eq!(declined["result"]["isError"], true, "{declined}");
    // The secret is set while the client's second request waits for it.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&house, &house.carol, &again("accept", state)));
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(!waiting.is_finished(), "it waits");
        house.set_secret("carol", "default", "TOKEN", "carol's");
        assert_eq!(waiting.join().unwrap().status(), 200);
    });
    assert_eq!(backend.count(), 1);
    let sent = backend.last();
    assert_eq!(sent.header("x-token"), Some("carol's"));
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(
        body,
        call(&json!({"url": {}}), &json!({})),
        "what was ours is taken out"
    );

    // The state is worth nothing to another, whose backend is to refuse it.
    ask(&house, &house.alice, &again("accept", state));
    let body: Value = serde_json::from_slice(&backend.last().body).unwrap();
    assert_eq!(body["params"]["requestState"], *state);
}

#[test]
fn the_backends_own_state_passes_byte_for_byte() {
    let backend = Backend::simple();
    let house = house(&backend, "");
    let body = r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"t", "requestState" : "\u0061/b=","inputResponses":{"x":{"n":1e0}}}}"#;
    house.ask(&house.post(body));
    assert_eq!(backend.last().body, body.as_bytes());
}

#[test]
fn a_session_that_can_send_its_user_to_a_page_is_told_the_page() {
    let backend = Backend::start(|_, stream| {
        let headers = [
            ("content-type", "application/json"),
            ("mcp-session-id", "s1"),
        ];
        stream
            .write_all(&plain_answer("200 OK", &headers, "{}"))
            .unwrap();
        Next::Keep
    });
    let house = house(&backend, "discovery = \"omit\"");
    let begin = |elicitation: Value| {
        let capabilities =
            json!({"capabilities": {"elicitation": elicitation}, "protocolVersion": "2025-11-25"});
        let body =
            json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": capabilities});
        let answer = house.ask(&Request::post("/one/mcp", body.to_string()).key(&house.carol));
        assert_eq!(answer.status(), 200);
        answer.head.header("mcp-session-id").unwrap().to_owned()
    };
    let within = |session: &str, method: &str| {
        let body = json!({"jsonrpc": "2.0", "id": "x", "method": method, "params": {"name": "t"}});
        let request = Request::post("/one/mcp", body.to_string()).key(&house.carol);
        house.ask(&request.header("Mcp-Session-Id", session)).json()
    };
    let able = begin(json!({"form": {}, "url": {}}));
    let before = backend.count();
    for method in ["tools/call", "prompts/get"] {
        let told = within(&able, method);
        assert_eq!(
            (&told["id"], &told["error"]["code"]),
            (&json!("x"), &json!(-32042)),
            "{told}"
        );
        let page = &told["error"]["data"]["elicitations"][0];
        assert_eq!((&page["mode"], &page["url"]), (&json!("url"), &json!(URL)));
        assert!(page["elicitationId"].as_str().unwrap().len() > 8);
    }
    let plain = begin(json!({}));
    let told = within(&plain, "tools/call");
    let text = told["result"]["content"][0]["text"].as_str().unwrap();
    assert!(
        told["result"]["isError"] == true && text.contains(URL) && text.contains("TOKEN"),
        "{told}"
    );
    let told = within(&plain, "prompts/get");
    assert_eq!(told["error"]["code"], Kind::SecretMissing.row().code);
    assert!(
        told["error"]["message"].as_str().unwrap().contains(URL),
        "{told}"
    );
    assert_eq!(
        backend.count(),
        before + 1,
        "but for the second session nothing got through"
    );
}

/// Who opens a stream or sends a batch can be sent to no page, but be told of it.
#[test]
fn who_sends_no_single_message_is_told_the_page_too() {
    let backend = Backend::simple();
    let house = house(&backend, "");
    let call =
        json!([{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "t"}}]);
    for request in [
        Request::new("GET", "/one/mcp"),
        Request::post("/one/mcp", call.to_string()),
    ] {
        let told = house.ask(&request.key(&house.carol));
        let told = told.text();
        assert!(told.contains(URL) && told.contains("TOKEN"), "{told}");
    }
    assert_eq!(backend.count(), 0);
}

#[test]
fn looking_around_needs_no_secret_where_the_operator_says_so() {
    let backend = Backend::start(|_, stream| {
        stream.write_all(&json_answer("{}")).unwrap();
        Next::Keep
    });
    let message = |method: &str| {
        let id = if method.starts_with("notifications/") {
            Value::Null
        } else {
            json!(1)
        };
        let mut message = json!({"jsonrpc": "2.0", "method": method, "params": {"name": "t"}});
        if !id.is_null() {
            message["id"] = id;
        }
        message.to_string()
    };
    let discovers = [
        "initialize",
        "server/discover",
        "ping",
        "notifications/initialized",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
    ];
    let others = [
        "tools/call",
        "prompts/get",
        "resources/read",
        "logging/setLevel",
        "tasks/get",
        "x/list",
    ];
    for (more, omits) in [("discovery = \"omit\"", true), ("", false)] {
        let house = house(&backend, more);
        let gets_through = |body: String| {
            let before = backend.count();
            house.ask(&Request::post("/one/mcp", body).key(&house.carol));
            let through = backend.count() > before;
            assert!(!through || backend.last().header("x-token").is_none());
            through
        };
        for method in discovers {
            assert_eq!(gets_through(message(method)), omits, "{method}");
        }
        for method in others {
            assert!(!gets_through(message(method)), "{method}");
        }
        let mixed = format!("[{},{}]", message("tools/list"), message("tools/call"));
        assert!(!gets_through(mixed));
        assert_eq!(
            gets_through(format!("[{},{}]", message("tools/list"), message("ping"))),
            omits
        );
        // Who has the secret sends it with everything.
        house.ask(&house.post(message("tools/list")));
        assert_eq!(backend.last().header("x-token"), Some("token of alice"));
    }
}
