//! Ids of tasks: sealed wherever they leave, opened wherever they come back, worth nothing to others.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::support::{Backend, House, Next, Request, chunked, json_answer, stream_head};

/// Answers every request with what a server of either kind of tasks sends, and names the task it was
/// asked about.
fn backend() -> Backend {
    Backend::start(|request, stream| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let method = body["method"].as_str().unwrap_or_default();
        let answer = match method {
            "initialize" => {
                let tasks = json!({"list": {}, "cancel": {}});
                json!({"result": {"capabilities": {"tasks": tasks}}})
            }
            "tools/call" => json!({"result": {"task": {"taskId": "task-1", "status": "working"}}}),
            _ => {
                json!({"result": {"taskId": body["params"]["taskId"], "name": request.header("mcp-name")}})
            }
        };
        let mut message = json!({"jsonrpc": "2.0", "id": body["id"]});
        message["result"] = answer["result"].clone();
        if method == "tools/call" {
            let notice = r#"{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"task-1"}}"#;
            let events = format!("data: {notice}\n\ndata: {message}\n\n");
            stream
                .write_all(&[stream_head(""), chunked(events), b"0\r\n\r\n".to_vec()].concat())
                .unwrap();
        } else {
            stream
                .write_all(&json_answer(&message.to_string()))
                .unwrap();
        }
        Next::Keep
    })
}

fn request(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

#[test]
fn a_task_belongs_to_who_made_it() {
    let backend = backend();
    let house = House::before(&backend);
    let made = house.ask(&house.post(request("tools/call", &json!({"name": "t"}))));
    let data = made
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    let messages: Vec<Value> = data
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let id = messages[1]["result"]["task"]["taskId"].as_str().unwrap();
    assert_ne!(id, "task-1");
    assert_eq!(messages[0]["params"]["taskId"], id, "one task, one id");

    let get = request("tasks/get", &json!({"taskId": id}));
    let answer = house.ask(&house.post(get.clone()).header("Mcp-Name", id));
    let seen: Value = serde_json::from_slice(&backend.last().body).unwrap();
    assert_eq!(seen["params"]["taskId"], "task-1");
    assert_eq!(
        answer.json()["result"],
        json!({"taskId": id, "name": "task-1"})
    );

    // Anybody else's id reaches the backend as one that nobody has.
    for (key, id) in [
        (&house.bob, json!(id)),
        (&house.alice, json!("task-1")),
        (&house.alice, json!(1)),
    ] {
        for method in ["tasks/get", "tasks/result", "tasks/cancel", "tasks/update"] {
            let body = request(method, &json!({"taskId": id}));
            let name = id.as_str().unwrap_or("1");
            let request = Request::post("/one/mcp", body).key(key);
            let request = if id.is_string() {
                request.header("Mcp-Name", name)
            } else {
                request
            };
            house.ask(&request);
            let seen: Value = serde_json::from_slice(&backend.last().body).unwrap();
            let given = seen["params"]["taskId"].as_str().unwrap();
            assert!(!given.contains("task-1") && given != "1", "{given}");
            let mirrored = backend.last().header("mcp-name").map(str::to_owned);
            assert_eq!(mirrored.as_deref(), id.is_string().then_some(given));
        }
    }
}

#[test]
fn tasks_are_not_listed() {
    let backend = backend();
    let house = House::before(&backend);
    let answer = house.ask(&house.post(request("initialize", &json!({}))));
    assert_eq!(
        answer.json()["result"]["capabilities"],
        json!({"tasks": {"cancel": {}}})
    );
    let before = backend.count();
    let answer = house.ask(&house.post(request("tasks/list", &json!({}))));
    assert_eq!(answer.json()["error"]["code"], -32601);
    let batch = format!(
        "[{},{}]",
        request("tasks/list", &json!({})),
        request("ping", &json!({}))
    );
    let answer = house.ask(&house.post(batch));
    assert_eq!(answer.json().as_array().unwrap().len(), 2);
    assert_eq!(backend.count(), before);
}
