//! Any answer, as JSON or as a stream, cut into pieces of the size its first byte says: as if it had
//! come whole. What another parser reads as JSON it still does afterwards, and finds no hidden tool.

use bytes::Bytes;
use cloakroom::mcp::answer::{AnswerError, EventAnswer, JsonAnswer, Rules};
use serde_json::Value;

#[derive(Clone, Copy)]
struct Marks;

impl Rules for Marks {
    fn hides_any(&self) -> bool {
        true
    }

    fn hides_tool(&self, tool: &str) -> bool {
        tool.is_empty() || tool.starts_with('h')
    }

    fn hides(&self, _tool: &str, argument: &str) -> bool {
        argument == "key"
    }

    fn seal_event(&self, id: &[u8]) -> Vec<u8> {
        [b"<", id, b">"].concat()
    }

    fn seal_task(&self, id: &str) -> String {
        format!("<{id}>")
    }

    fn legacy(&self) -> bool {
        true
    }

    fn endpoint(&self, reference: &str) -> Option<String> {
        reference
            .strip_prefix('/')
            .map(|rest| format!("/x/{rest}").replace('\n', ""))
    }
}

type Outcome = Option<Vec<u8>>;
type Push<'a> = &'a mut dyn FnMut(Bytes, &mut Vec<Bytes>) -> Result<(), AnswerError>;

fn pieces(text: &Bytes, piece: usize, push: Push<'_>) -> Outcome {
    let mut out = Vec::new();
    for start in (0..text.len()).step_by(piece) {
        push(text.slice(start..text.len().min(start + piece)), &mut out).ok()?;
    }
    Some(out.concat())
}

fn as_json(text: &Bytes, piece: usize) -> Outcome {
    let mut answer = JsonAnswer::new(Marks, 100);
    let out = pieces(text, piece, &mut |chunk, out| answer.push(chunk, out))?;
    answer.finish().ok().map(|()| out)
}

fn as_events(text: &Bytes, piece: usize) -> Outcome {
    let mut answer = EventAnswer::new(Marks, 100);
    let out = pieces(text, piece, &mut |chunk, out| answer.push(chunk, out))?;
    answer.finish().ok().map(|()| out)
}

fn tool_is_hidden(message: &Value) -> bool {
    let name = |tool: &Value| tool["name"].as_str().unwrap_or_default().to_owned();
    let tools = message["result"]["tools"].as_array();
    tools.is_some_and(|tools| tools.iter().any(|tool| Marks.hides_tool(&name(tool))))
}

fn check(text: &[u8], out: &[u8]) {
    if serde_json::from_slice::<Value>(text).is_ok() {
        let body = serde_json::from_slice(out).expect("what was JSON still is");
        let shows = match &body {
            Value::Array(messages) => messages.iter().any(tool_is_hidden),
            message => tool_is_hidden(message),
        };
        assert!(!shows, "a hidden tool is listed");
    }
}

pub(crate) fn run(input: &[u8]) {
    let Some((&piece, text)) = input.split_first() else {
        return;
    };
    let text = Bytes::copy_from_slice(text);
    let (piece, whole) = (usize::from(piece).max(1), text.len().max(1));
    let json = as_json(&text, whole);
    assert_eq!(as_json(&text, piece), json);
    if let Some(out) = json {
        check(&text, &out);
    }
    assert_eq!(as_events(&text, piece), as_events(&text, whole));
}
