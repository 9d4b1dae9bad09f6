//! Any answer, as JSON or as a stream, cut into pieces of the size its first byte says: as if it had
//! come whole.

use bytes::Bytes;
use cloakroom::mcp::answer::{AnswerError, EventAnswer, JsonAnswer, Rules};

#[derive(Clone, Copy)]
struct Marks;

impl Rules for Marks {
    fn hides_any(&self) -> bool {
        true
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

pub(crate) fn run(input: &[u8]) {
    let Some((&piece, text)) = input.split_first() else {
        return;
    };
    let text = Bytes::copy_from_slice(text);
    let (piece, whole) = (usize::from(piece).max(1), text.len().max(1));
    assert_eq!(as_json(&text, piece), as_json(&text, whole));
    assert_eq!(as_events(&text, piece), as_events(&text, whole));
}
