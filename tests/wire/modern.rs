//! MCP 2026-07-28: no sessions; headers that mirror the body.

use std::io::Write as _;

use crate::support::{Backend, House, Next, Request, json_answer, plain_answer};

const VERSION: &str = "2026-07-28";

/// A request as a modern client makes it.
fn modern(house: &House, method: &str, params: &str) -> Request {
    let comma = if params.is_empty() { "" } else { "," };
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":"r1","method":"{method}","params":{{{params}{comma}"_meta":{{"io.modelcontextprotocol/protocolVersion":"{VERSION}","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    );
    house.post(body).header("MCP-Protocol-Version", VERSION)
}

#[test]
fn sessions_are_neither_forwarded_nor_minted() {
    let backend = Backend::start(|_, stream| {
        let headers = [
            ("content-type", "application/json"),
            ("mcp-session-id", "own"),
        ];
        stream
            .write_all(&plain_answer("200 OK", &headers, "{}"))
            .unwrap();
        Next::Keep
    });
    let house = House::before(&backend);
    let request = modern(&house, "tools/list", "")
        .header("Mcp-Method", "tools/list")
        .header("Mcp-Session-Id", "anything")
        .header("Last-Event-ID", "anything");
    let answer = house.ask(&request);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.head.header("mcp-session-id"), None);
    let request = backend.last();
    assert_eq!(request.header("mcp-session-id"), None);
    assert_eq!(request.header("last-event-id"), None);
    assert_eq!(request.header("mcp-method"), Some("tools/list"));
    assert_eq!(request.header("mcp-protocol-version"), Some(VERSION));
}

#[test]
fn headers_that_mirror_the_body_must_agree_with_it() {
    let backend = Backend::simple();
    let house = House::before(&backend);
    let call = || {
        modern(
            &house,
            "tools/call",
            r#""name":"wetter_für","arguments":{}"#,
        )
    };
    for (name, value) in [
        ("Mcp-Method", "tools/list"),
        ("Mcp-Method", "TOOLS/CALL"),
        ("Mcp-Name", "other"),
        ("Mcp-Name", "=?base64?b3RoZXI=?="),
        ("Mcp-Name", "=?base64?!?="),
        ("MCP-Protocol-Version", "2026-07-28"),
    ] {
        let answer = house.ask(&call().header(name, value));
        assert_eq!(answer.status(), 400, "{name}: {value}");
        let document = answer.json();
        assert_eq!(document["error"]["code"], -32020);
        assert_eq!(document["id"], "r1");
    }
    let contradicting = Request::post(
        "/one/mcp",
        r#"{"jsonrpc":"2.0","id":"r1","method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
    );
    let contradicting = contradicting
        .key(&house.alice)
        .header("MCP-Protocol-Version", "2025-11-25");
    assert_eq!(house.ask(&contradicting).json()["error"]["code"], -32020);
    assert_eq!(backend.count(), 0);
    let name = "=?base64?d2V0dGVyX2bDvHI=?=";
    let agreeing = call()
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", name)
        .header("Mcp-Param-Region", "north");
    assert_eq!(house.ask(&agreeing).status(), 200);
    let request = backend.last();
    assert_eq!(request.header("mcp-name"), Some(name));
    assert_eq!(
        request.header("mcp-param-region"),
        Some("north"),
        "unknown, so forwarded"
    );
}

#[test]
fn what_a_legacy_backend_says_to_a_probe_passes_unchanged() {
    const REFUSAL: &str = r#"{"jsonrpc": "2.0","error":{"code":-32000,"message":"Bad Request: no session"},"id":null}"#;
    let backend = Backend::start(|_, stream| {
        let headers = [("content-type", "application/json")];
        stream
            .write_all(&plain_answer("400 Bad Request", &headers, REFUSAL))
            .unwrap();
        Next::Keep
    });
    let house = House::before(&backend);
    let answer = house.ask(&modern(&house, "server/discover", ""));
    assert_eq!((answer.status(), answer.text()), (400, REFUSAL));
    assert_eq!(answer.head.header("content-type"), Some("application/json"));
}

#[test]
fn an_unknown_method_is_the_backends_to_refuse() {
    let backend = Backend::start(|request, stream| {
        let unknown = r#"{"jsonrpc":"2.0","id":"r1","error":{"code":-32601,"message":"?"}}"#;
        let answer = match request.method.as_str() {
            "POST" => plain_answer(
                "404 Not Found",
                &[("content-type", "application/json")],
                unknown,
            ),
            "GET" => plain_answer("405 Method Not Allowed", &[("allow", "POST")], ""),
            _ => json_answer("{}"),
        };
        stream.write_all(&answer).unwrap();
        Next::Keep
    });
    let house = House::before(&backend);
    let answer = house.ask(&modern(&house, "vendor/unknown", ""));
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.json()["error"]["code"], -32601);
    let get = Request::new("GET", "/one/mcp").key(&house.alice);
    let answer = house.ask(&get.header("MCP-Protocol-Version", VERSION));
    assert_eq!((answer.status(), answer.text()), (405, ""));
}
