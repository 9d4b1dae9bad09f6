//! An MCP server as they are: written for one user, whose credential it expects in `Authorization`.
//!
//! It stands for any server one does not want to change, so it knows nothing of Cloakroom. It speaks
//! Streamable HTTP of 2025-03-26 to 2025-11-25 and keeps no sessions. Its one tool, `whoami`, says a
//! fingerprint of the credential and never the credential.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use aws_lc_rs::digest;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Revisions it speaks, the one it prefers last.
const REVISIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];
/// The largest request it reads.
const BODY_MAX: usize = 1 << 20;
/// How long it rests when the system has no more file descriptors.
const REST: std::time::Duration = std::time::Duration::from_millis(50);

type Answer = Response<Full<Bytes>>;

/// Starts it on a free port of loopback, on a thread that lives as long as the process.
pub(super) fn start() -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener)?
    };
    std::thread::Builder::new()
        .name("demo-server".to_owned())
        .spawn(move || runtime.block_on(accept(listener)))?;
    Ok(address)
}

async fn accept(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(REST).await;
            continue;
        };
        // A client that goes away mid-answer is no concern of a demo.
        tokio::spawn(
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(serve)),
        );
    }
}

async fn serve(request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    if head.uri.path() != "/mcp" {
        return Ok(empty(StatusCode::NOT_FOUND));
    }
    if head.method != Method::POST {
        return Ok(empty(StatusCode::METHOD_NOT_ALLOWED));
    }
    let Some(credential) = head
        .headers
        .get(AUTHORIZATION)
        .and_then(|v| bearer(v.as_bytes()))
    else {
        return Ok(unauthorized());
    };
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
        return Ok(empty(StatusCode::PAYLOAD_TOO_LARGE));
    };
    Ok(answer(&body.to_bytes(), &fingerprint(credential)))
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

/// The first 12 hexadecimal digits of SHA-256.
fn fingerprint(credential: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, credential);
    digest.as_ref()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn answer(body: &[u8], fingerprint: &str) -> Answer {
    let Ok(message) = serde_json::from_slice::<Value>(body) else {
        return json_answer(
            StatusCode::BAD_REQUEST,
            &error(&Value::Null, -32700, "not JSON"),
        );
    };
    // What newer clients ask first; 400 and a code of no later revision sends them to `initialize`.
    if message["method"] == "server/discover" {
        let text = "Bad Request: this server speaks 2025-11-25 and earlier; send initialize";
        return json_answer(
            StatusCode::BAD_REQUEST,
            &error(&message["id"], -32000, text),
        );
    }
    let reply = match &message {
        // Batches are part of 2025-03-26.
        Value::Array(batch) => {
            let replies: Vec<_> = batch
                .iter()
                .filter_map(|one| reply(one, fingerprint))
                .collect();
            (!replies.is_empty()).then_some(Value::Array(replies))
        }
        one => reply(one, fingerprint),
    };
    reply.map_or_else(
        || empty(StatusCode::ACCEPTED),
        |reply| json_answer(StatusCode::OK, &reply),
    )
}

/// The answer to one message; `None` to a notification or an answer.
fn reply(message: &Value, fingerprint: &str) -> Option<Value> {
    let id = message.get("id").filter(|id| !id.is_null())?;
    let method = message.get("method")?.as_str()?;
    let params = &message["params"];
    Some(match method {
        "initialize" => result(id, initialized(params)),
        "ping" => result(id, json!({})),
        "tools/list" => result(id, json!({ "tools": [whoami()] })),
        "tools/call" if params["name"] == "whoami" => {
            let text = format!("The credential I got has the fingerprint {fingerprint}.");
            let content = json!([{ "type": "text", "text": text }]);
            result(id, json!({ "content": content, "isError": false }))
        }
        "tools/call" => error(id, -32602, "unknown tool; the only one is whoami"),
        _ => error(id, -32601, "method not found"),
    })
}

fn initialized(params: &Value) -> Value {
    let asked = params["protocolVersion"].as_str().unwrap_or_default();
    let latest = REVISIONS[REVISIONS.len() - 1];
    let revision = REVISIONS
        .into_iter()
        .find(|known| *known == asked)
        .unwrap_or(latest);
    json!({
        "protocolVersion": revision,
        "capabilities": { "tools": {} },
        "serverInfo": { "name": "demo-server", "version": "1.0.0" },
    })
}

fn whoami() -> Value {
    json!({
        "name": "whoami",
        "description": "Says a fingerprint of the credential this server was called with.",
        "inputSchema": { "type": "object", "properties": {} },
    })
}

fn result(id: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

fn error(id: &Value, code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::from(body.to_string()));
    *answer.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}

fn unauthorized() -> Answer {
    let text = "this server wants its user's credential: Authorization: Bearer …";
    let mut answer = json_answer(StatusCode::UNAUTHORIZED, &error(&Value::Null, -32000, text));
    answer
        .headers_mut()
        .insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
    answer
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn exchange(address: SocketAddr, head: &str, body: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let len = body.len();
        let head = format!("{head}Host: h\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n");
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_answers_as_a_server_of_its_revisions_does() {
        let address = start().unwrap();
        let post = |body: &str| {
            exchange(
                address,
                "POST /mcp HTTP/1.1\r\nAuthorization: Bearer hunter2\r\n",
                body,
            )
        };
        for (body, status, part) in [
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#,
                200,
                r#""protocolVersion":"2025-06-18""#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2099-01-01"}}"#,
                200,
                r#""protocolVersion":"2025-11-25""#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
                202,
                "",
            ),
            (
                r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#,
                200,
                r#""id":"a","result":{}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
                200,
                r#""name":"whoami""#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}"#,
                200,
                "fingerprint f52fbd32b2b3",
            ),
            (
                r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
                200,
                r#"[{"jsonrpc""#,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"no"}"#, 200, "-32601"),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#,
                400,
                "-32000",
            ),
            ("{", 400, "-32700"),
        ] {
            let answer = post(body);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{body}: {answer}"
            );
            assert!(
                answer.contains(part) && !answer.contains("hunter2"),
                "{body}: {answer}"
            );
        }
    }

    #[test]
    fn it_wants_a_credential_and_offers_no_stream() {
        let address = start().unwrap();
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        for head in [
            "",
            "Authorization: Bearer \r\n",
            "Authorization: Basic YTpi\r\n",
        ] {
            let answer = exchange(address, &format!("POST /mcp HTTP/1.1\r\n{head}"), ping);
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        }
        assert!(exchange(address, "GET /mcp HTTP/1.1\r\n", "").starts_with("HTTP/1.1 405 "));
        assert!(exchange(address, "POST / HTTP/1.1\r\n", ping).starts_with("HTTP/1.1 404 "));
    }
}
