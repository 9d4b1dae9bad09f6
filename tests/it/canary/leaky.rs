//! A backend that writes the secrets it was given wherever a client or a log might show them: into its
//! status line, its headers, the addresses it names, and errors of every kind.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::support::backend::{request, value};

/// Ways to fail over Streamable HTTP, each at a path of its own.
pub(super) const MANNERS: [&str; 15] = [
    "fine",
    "events",
    "moved",
    "found",
    "bad",
    "refused",
    "forbidden",
    "missing",
    "broken",
    "unavailable",
    "compressed",
    "garbage",
    "cut",
    "mirrors",
    "loud",
];

/// Ways to begin a stream of HTTP+SSE.
pub(super) const STREAMS: [&str; 11] = [
    "repeats",
    "elsewhere",
    "known-by-name",
    "moved-stream",
    "refused-stream",
    "broken-stream",
    "no-stream",
    "too-long",
    "twice",
    "never-says",
    "garbage-stream",
];

/// Starts it; its address.
pub(super) async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address.to_string()
}

async fn serve(mut stream: TcpStream) -> Option<()> {
    let mut buffer = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut buffer).await {
        let told = Told::of(&head, &body);
        let answer = told.answer();
        stream.write_all(answer.as_bytes()).await.ok()?;
        if told.ends() {
            return None;
        }
        if answer.contains("text/event-stream\r\n\r\n") {
            if told.manner == "twice" {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                let query = &told.query;
                let second =
                    format!("event: endpoint\ndata: http://elsewhere.example/?{query}\n\n");
                stream.write_all(second.as_bytes()).await.ok()?;
            }
            // A stream stays open until its client goes.
            while request(&mut stream, &mut buffer).await.is_some() {}
            return None;
        }
    }
    None
}

/// What a request told.
struct Told {
    manner: String,
    query: String,
    /// The secret, as the header brought it.
    secret: String,
    argument: String,
    call: Value,
}

impl Told {
    fn of(head: &str, body: &str) -> Self {
        let target = head.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let call: Value = serde_json::from_str(body).unwrap_or_default();
        let argument = call["params"]["arguments"]["token"].as_str().unwrap_or("");
        Self {
            manner: path.trim_matches('/').to_owned(),
            query: query.to_owned(),
            secret: value(head, "x-token").unwrap_or_default().to_owned(),
            argument: argument.to_owned(),
            call,
        }
    }

    fn ends(&self) -> bool {
        ["garbage", "cut", "garbage-stream", "never-says"].contains(&&*self.manner)
    }

    /// Headers that repeat what was told, none of which a client is to see.
    fn headers(&self) -> String {
        let Self { query, secret, .. } = self;
        let session: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
        format!(
            "Location: http://elsewhere.example/x?{query}\r\nLink: </?{query}>; rel=next\r\n\
             X-Request-Url: /{query}\r\nX-Token: {secret}\r\nSet-Cookie: token={session}\r\n\
             WWW-Authenticate: Bearer realm=\"{query}\"\r\nServer-Timing: {session}\r\n\
             Mcp-Session-Id: {session}\r\n"
        )
    }

    fn http(&self, status: &str, more: &str, body: &str) -> String {
        let (query, headers, length) = (&self.query, self.headers(), body.len());
        format!(
            "HTTP/1.1 {status} because of {query}\r\n{headers}{more}Content-Length: {length}\r\n\r\n{body}"
        )
    }

    fn json(&self, status: &str, result: &Value) -> String {
        let answer = json!({"jsonrpc": "2.0", "id": self.call["id"], "result": result});
        let kind = "Content-Type: application/json\r\n";
        self.http(status, kind, &answer.to_string())
    }

    fn stream(&self, beginning: &str) -> String {
        let headers = self.headers();
        format!("HTTP/1.1 200 OK\r\n{headers}Content-Type: text/event-stream\r\n\r\n{beginning}")
    }

    fn endpoint(&self, reference: &str) -> String {
        self.stream(&format!("event: endpoint\ndata: {reference}\n\n"))
    }

    fn answer(&self) -> String {
        let (query, secret) = (&self.query, &self.secret);
        let empty = json!({});
        let html = format!("<a href=\"/?{query}\">{secret}</a>");
        match &*self.manner {
            "fine" => self.json("200", &empty),
            "events" => {
                let event = json!({"jsonrpc": "2.0", "id": self.call["id"], "result": {}});
                let body = format!("data: {event}\n\n");
                self.http("200", "Content-Type: text/event-stream\r\n", &body)
            }
            "moved" | "moved-stream" => self.http("307", "", &html),
            "found" => self.http("302", "Content-Type: text/html\r\n", &html),
            "bad" => self.json("400", &empty),
            "refused" | "refused-stream" => self.http("401", "", &html),
            "forbidden" => self.http("403", "", &html),
            "missing" => self.json("404", &empty),
            "broken" => self.json("500", &empty),
            "broken-stream" => self.json("500", &empty),
            "unavailable" => self.json("503", &empty),
            "compressed" => self.http("200", &format!("Content-Encoding: {secret}\r\n"), "{}"),
            "garbage" | "garbage-stream" => format!("{secret} {query}\r\n\r\n"),
            "cut" => format!("HTTP/1.1 200 OK\r\nX-Token: {secret}\r\nX-Cut: {secret}"),
            "mirrors" => self.mirrors(),
            // A body may say anything: it is not looked into.
            "loud" => self.http("500", "Content-Type: text/html\r\n", &html),
            "repeats" => self.endpoint(&format!("/messages?session_id=1&{query}")),
            "elsewhere" => self.endpoint(&format!("http://elsewhere.example/?{query}")),
            "known-by-name" => self.endpoint(&format!("//user:{query}@localhost/{query}")),
            "no-stream" => self.json("200", &empty),
            "too-long" => self.endpoint(&format!("/{query}{}", "x".repeat(9000))),
            "twice" => self.endpoint(&format!("/messages?{query}")),
            "never-says" => self.stream(&format!(
                ": {query}\nevent: {secret}\ndata: \"{}\n\n",
                self.argument
            )),
            "messages" => self.http("202", "", ""),
            _ => self.http("404", "", ""),
        }
    }

    /// Wants the token mirrored in a header that is named after it, and finds fault with it. Only the
    /// proxy's own question is answered so: what a client is answered is passed on, whatever it is.
    fn mirrors(&self) -> String {
        if self.call["id"] == "cloakroom-tools-list" {
            let hex: String = self.secret.bytes().map(|b| format!("{b:02x}")).collect();
            let token = json!({"type": "string", "x-mcp-header": hex});
            let other = json!({"type": "string", "x-mcp-header": self.secret});
            let schema = json!({"properties": {"token": token, "other": other}});
            let tools = json!([{"name": "echo", "inputSchema": schema}]);
            let page = json!({"tools": tools, "nextCursor": self.secret});
            let last = json!({"tools": []});
            let first = self.call["params"]["cursor"].is_null();
            return self.json("200", if first { &page } else { &last });
        }
        let error = json!({"code": -32020, "message": "a header contradicts the body"});
        let answer = json!({"jsonrpc": "2.0", "id": self.call["id"], "error": error});
        self.http(
            "400",
            "Content-Type: application/json\r\n",
            &answer.to_string(),
        )
    }
}
