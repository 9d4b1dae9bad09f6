//! HTTP+SSE of MCP 2024-11-05: a stream, and a path of its own for the messages to it.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use cloakroom::rejection::Kind;
use serde_json::{Value, json};

use crate::support::{
    Backend, Client, House, Next, Request, chunked, json_answer, plain_answer, stream_head,
    wait_until,
};

/// What a server does on the one stream it has: events are written by the test.
struct Server {
    backend: Backend,
    events: Sender<Vec<u8>>,
}

impl Server {
    /// Begins its stream with `beginning`.
    fn new(beginning: &'static str) -> Self {
        let (events, written): (Sender<Vec<u8>>, Receiver<Vec<u8>>) = channel();
        let written = Arc::new(Mutex::new(written));
        let backend = Backend::start(move |request, stream: &mut TcpStream| {
            if request.method == "POST" {
                let accepted = plain_answer(
                    "202 Accepted",
                    &[("content-type", "text/plain")],
                    "Accepted",
                );
                stream.write_all(&accepted).unwrap();
                return Next::Keep;
            }
            stream.write_all(&stream_head("")).unwrap();
            stream.write_all(&chunked(beginning)).unwrap();
            let written = written.lock().unwrap();
            while let Ok(event) = written.recv() {
                if stream.write_all(&chunked(event)).is_err() {
                    break;
                }
            }
            Next::Close
        });
        Self { backend, events }
    }

    fn house(&self, more: &str) -> House {
        let address = self.backend.address;
        House::configured(
            &format!(
                "setup_url = \"https://setup.example/{{server}}\"\n[servers.one]\nsse_url = \"http://{address}/sse\"\n{more}"
            ),
            &["one"],
        )
    }
}

const ENDPOINT: &str = "event: endpoint\ndata: /messages/?session_id=own\n\n";
const HEADER: &str = "[servers.one.headers]\nX-Token = \"${TOKEN}\"\n";

/// Opens a stream; the path for messages.
#[track_caller]
fn open(house: &House, path: &str, key: &str) -> (Client, String) {
    let mut client = house.connect();
    client.send(&Request::new("GET", path).header("X-API-Key", key));
    let head = client.head().unwrap();
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, Some("text/event-stream"))
    );
    let event = event(&mut client);
    let path = event
        .strip_prefix("event: endpoint\ndata: ")
        .unwrap()
        .trim_end();
    (client, path.to_owned())
}

/// The next whole event.
fn event(client: &mut Client) -> String {
    let mut event = String::new();
    while !event.ends_with("\n\n") {
        let chunk = client.chunk().unwrap().expect("the stream goes on");
        event.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    event
}

#[track_caller]
fn message(event: &str) -> Value {
    let data = event
        .strip_prefix("event: message\ndata: ")
        .unwrap_or_else(|| panic!("{event}"));
    serde_json::from_str(data).unwrap()
}

fn request(id: u32, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

/// Some servers answer on the stream before they accept the message.
#[test]
fn a_list_that_comes_before_its_message_is_accepted_hides_a_secret_set_since() {
    let (events, written): (Sender<String>, Receiver<String>) = channel();
    let (events, written) = (Mutex::new(events), Mutex::new(written));
    let backend = Backend::start(move |request, stream: &mut TcpStream| {
        if request.method == "POST" {
            let list = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"t","inputSchema":{"properties":{"LATER":{},"city":{}}}}]}}"#;
            let event = format!("event: message\ndata: {list}\n\n");
            events.lock().unwrap().send(event).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(500));
            let accepted = plain_answer("202 Accepted", &[], "");
            stream.write_all(&accepted).unwrap();
            return Next::Keep;
        }
        stream.write_all(&stream_head("")).unwrap();
        stream.write_all(&chunked(ENDPOINT)).unwrap();
        while let Ok(event) = written.lock().unwrap().recv() {
            if stream.write_all(&chunked(event)).is_err() {
                break;
            }
        }
        Next::Close
    });
    let address = backend.address;
    let config = format!("[servers.one]\nsse_url = \"http://{address}/sse\"\narguments = \"*\"\n");
    let house = House::configured(&config, &["one"]);
    let (mut stream, path) = open(&house, "/one/sse", &house.alice);
    house.set_secret("alice", "default", "LATER", "x");
    std::thread::sleep(std::time::Duration::from_secs(1));
    let list = request(1, "tools/list", &json!({}));
    assert_eq!(
        house
            .ask(&Request::post(&path, list).key(&house.alice))
            .status(),
        202
    );
    let listed = event(&mut stream);
    assert!(
        listed.contains("city") && !listed.contains("LATER"),
        "{listed}"
    );
}

#[test]
fn a_stream_and_its_messages_are_one_session_with_its_users_secrets() {
    let server = Server::new(ENDPOINT);
    let slots = format!("{HEADER}[servers.one.arguments]\ntoken = \"${{TOKEN}}\"\n");
    let house = server.house(&slots);
    let (mut stream, path) = open(&house, "/one/sse", &house.alice);
    assert_eq!(server.backend.last().target, "/sse");
    assert_eq!(
        server.backend.last().header("x-token"),
        Some("token of alice")
    );
    assert!(
        path.starts_with("/one/message?session_id=") && !path.contains("own"),
        "{path}"
    );

    let call = request(7, "tools/call", &json!({"name": "t", "arguments": {}}));
    let answer = house.ask(&Request::post(&path, call).header("X-API-Key", &house.alice));
    assert_eq!((answer.status(), answer.text()), (202, "Accepted"));
    let sent = server.backend.last();
    assert_eq!(sent.target, "/messages/?session_id=own");
    assert_eq!(sent.header("x-token"), Some("token of alice"));
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(
        body["params"]["arguments"],
        json!({"token": "token of alice"})
    );

    let tools = r#"{"jsonrpc":"2.0","id":8,"result":{"tools":[{"name":"t","inputSchema":{"properties":{"token":{},"n":{}},"required":["token"]}}]}}"#;
    server
        .events
        .send(format!("event: message\ndata: {tools}\n\n").into())
        .unwrap();
    let list = message(&event(&mut stream));
    let schema = &list["result"]["tools"][0]["inputSchema"];
    assert_eq!(*schema, json!({"properties": {"n": {}}, "required": []}));
}

#[test]
fn a_message_path_is_nobody_elses_and_authenticates_nobody() {
    let server = Server::new(ENDPOINT);
    let house = server.house(HEADER);
    house.set_secret("alice", "work", "TOKEN", "at work");
    let (_stream, path) = open(&house, "/one/sse", &house.alice);
    let (_other, work) = open(&house, "/one/@work/sse", &house.alice);
    assert!(work.starts_with("/one/@work/message?session_id="), "{work}");
    assert_eq!(server.backend.last().header("x-token"), Some("at work"));
    let before = server.backend.count();
    let ping = || request(1, "ping", &json!({}));
    let stolen = work.replace("/@work", "");
    for (path, key, status, kind) in [
        (&path, Some(&house.bob), 404, Kind::UnknownStream),
        (&stolen, Some(&house.alice), 404, Kind::UnknownStream),
        (
            &path.replace("session_id=", "session_id=A"),
            Some(&house.alice),
            404,
            Kind::UnknownStream,
        ),
        (
            &"/one/message".to_owned(),
            Some(&house.alice),
            404,
            Kind::UnknownStream,
        ),
        (
            &"/one/message?session_id=own".to_owned(),
            Some(&house.alice),
            404,
            Kind::UnknownStream,
        ),
        (&path, None, 401, Kind::Unauthenticated),
    ] {
        let mut request = Request::post(path, ping());
        if let Some(key) = key {
            request = request.key(key);
        }
        let answer = house.ask(&request);
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.json()["error"]["code"], kind.row().code);
    }
    assert_eq!(server.backend.count(), before);
}

#[test]
fn a_stream_that_leads_elsewhere_or_nowhere_is_refused() {
    for beginning in [
        "event: endpoint\ndata: http://127.0.0.1:1/messages\n\n",
        "event: endpoint\ndata: //evil.example/messages\n\n",
        "data: https://evil.example/\nevent: endpoint\n\n",
    ] {
        let server = Server::new(beginning);
        let house = server.house(HEADER);
        let answer = house.ask(&Request::new("GET", "/one/sse").key(&house.alice));
        assert_eq!(answer.status(), 502, "{beginning}");
        assert!(
            answer.text().contains("another origin"),
            "{}",
            answer.text()
        );
    }
    let no_stream = Backend::simple();
    let address = no_stream.address;
    let house = House::configured(
        &format!("[servers.one]\nsse_url = \"http://{address}/sse\"\n"),
        &["one"],
    );
    let answer = house.ask(&Request::new("GET", "/one/sse").key(&house.alice));
    assert_eq!(
        (answer.status(), answer.json()["error"]["code"].clone()),
        (502, Kind::BackendBroken.row().code.into())
    );
    assert!(
        answer.text().contains("servers.one.sse_url"),
        "{}",
        answer.text()
    );
}

#[test]
fn a_refused_message_is_answered_where_its_sender_listens() {
    let server = Server::new(ENDPOINT);
    let slots = "[servers.one.arguments]\nadmin = { value = \"${ADMIN}\", tools = [\"drop\"] }\n";
    let house = server.house(slots);
    let (mut stream, path) = open(&house, "/one/sse", &house.alice);
    let (mut bobs, bobs_path) = open(&house, "/one/sse", &house.bob);
    let post = |body: String| house.ask(&Request::post(&path, body).key(&house.alice));
    let call = |id| request(id, "tools/call", &json!({"name": "drop"}));

    assert_eq!(post(call(1)).status(), 202);
    let told = message(&event(&mut stream));
    assert_eq!(
        (&told["id"], &told["result"]["isError"]),
        (&json!(1), &json!(true))
    );
    assert!(
        told.to_string().contains("https://setup.example/one"),
        "{told}"
    );

    let capabilities = json!({"capabilities": {"elicitation": {"url": {}}}});
    assert_eq!(post(request(2, "initialize", &capabilities)).status(), 202);
    assert_eq!(post(call(3)).status(), 202);
    let told = message(&event(&mut stream));
    assert_eq!(
        (&told["id"], &told["error"]["code"]),
        (&json!(3), &json!(-32042))
    );
    assert_eq!(
        told["error"]["data"]["elicitations"][0]["url"],
        "https://setup.example/one"
    );

    // What is no request has no answer on the stream.
    assert_eq!(post("{\"jsonrpc\"".into()).status(), 400);
    server.events.send(b": still here\n\n".to_vec()).unwrap();
    assert_eq!(event(&mut stream), ": still here\n\n");
    drop(stream);
    wait_until("the stream is forgotten", || post(call(4)).status() != 202);
    assert_eq!(
        post(call(5)).json()["id"],
        5,
        "told to the sender, when nobody listens"
    );
    // The first that Bob hears is about a message of his own.
    house.ask(&Request::post(&bobs_path, call(6)).key(&house.bob));
    assert_eq!(message(&event(&mut bobs))["id"], 6);
}

#[test]
fn every_server_says_which_way_it_is_reached() {
    let server = Server::new(ENDPOINT);
    let house = server.house("");
    let refused = |request: Request| {
        let answer = house.ask(&request.key(&house.alice));
        assert_eq!(
            (answer.status(), answer.json()["error"]["code"].clone()),
            (404, Kind::WrongTransport.row().code.into())
        );
        answer.text().to_owned()
    };
    let text = refused(Request::post(
        "/one/mcp",
        request(1, "initialize", &json!({})),
    ));
    assert!(text.contains("/one/sse"), "{text}");
    // The way of clients that try the newer transport first: the same path, by GET.
    let (_stream, path) = open(&house, "/one/mcp", &house.alice);
    assert!(path.starts_with("/one/message?"), "{path}");
    let answer = house.ask(&Request::post("/one/sse", "{}").key(&house.alice));
    assert_eq!(answer.status(), 405);

    let backend = Backend::start(|_, stream| {
        stream.write_all(&json_answer("{}")).unwrap();
        Next::Keep
    });
    let house = House::before(&backend);
    for request in [
        Request::new("GET", "/one/sse"),
        Request::post("/one/message", "{}"),
    ] {
        let answer = house.ask(&request.key(&house.alice));
        assert_eq!(answer.status(), 404);
        assert!(answer.text().contains("/one/mcp"), "{}", answer.text());
    }
    assert_eq!(backend.count(), 0);
}
