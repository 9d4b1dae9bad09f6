//! Task ids a client sends, opened before a backend sees them.
//!
//! A backend that many people share under one identity cannot know whose task an id names, and MCP
//! binds tasks to who made them (MCP 2025-11-25, basic/utilities/tasks "Security Considerations"; the
//! tasks extension of 2026-07-28, SEP-2663). So ids leave sealed (see [`super::ids::seal_task`]), and
//! here they come back. A list of tasks would show everybody's: `tasks/list` is not offered.
//!
//! An id that is not its sender's is replaced by one that is nobody's, so that the backend refuses it as
//! it refuses any. Ids of tasks that run at the client (sampling or elicitation as a task) are the
//! client's own and pass: they stand in responses and notifications only, where nothing can be fetched
//! by them.

use std::borrow::Cow;
use std::ops::Range;

use super::edit::{Edits, elements, members, quote, same_ignoring_case, unquoted};
use super::scan::{Message, Shape};

/// Under this key of `_meta` a message says which task it belongs to (MCP 2025-11-25).
const RELATED: &str = "io.modelcontextprotocol/related-task";
/// The lists of a subscription that name tasks (SEP-2663).
const SUBSCRIBED: [&str; 2] = ["taskIds", "tasksStatus"];

/// Why a message cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskError {
    /// It asks for the list of tasks.
    Listed,
    /// It names tasks in a way that two readers may read differently: under a key that is the right one
    /// but for its case, or in a list that is none.
    Ambiguous,
}

/// How ids are opened.
pub trait Open {
    /// The backend's id behind one a client gave; `None` if that is not the client's.
    fn open(&self, id: &str) -> Option<String>;
    /// An id that is nobody's, in place of `value`.
    fn nobodys(&self, value: &str) -> String;
}

/// Opens the task ids of a client's message: edits `text`, the body it was scanned from, and gives the
/// backend's id of the task a request is about, which `Mcp-Name` mirrors.
///
/// # Errors
/// See [`TaskError`].
pub fn open_ids(
    text: &str,
    message: &Message<'_>,
    open: &impl Open,
    edits: &mut Edits<'_>,
) -> Result<Option<String>, TaskError> {
    let method = message.method.as_deref().unwrap_or_default();
    if method == "tasks/list" {
        return Err(TaskError::Listed);
    }
    let (about_task, listens) = (
        method.starts_with("tasks/"),
        method == "subscriptions/listen",
    );
    let Some(object) = message.params.as_ref().or(message.result.as_ref()) else {
        return Ok(None);
    };
    // Most have neither of the two members in which one may be named.
    let has_either = message.has_task_id || message.meta.is_some();
    if message.params.is_some() && !has_either && !listens {
        return Ok(None);
    }
    if !about_task && !may_name_task(&text.as_bytes()[object.clone()]) {
        return Ok(None);
    }
    let mut ids = Ids { text, open, edits };
    let mut about = None;
    for found in members(text, object).unwrap_or_default() {
        match &*found.key {
            "taskId" => about = ids.one(&found.value, about_task),
            "_meta" => {
                if let Some(task) = ids.field(&found.value, RELATED)?
                    && let Some(id) = ids.field(&task, "taskId")?
                {
                    ids.one(&id, message.shape == Shape::Request);
                }
            }
            key if listens && same_ignoring_case(key, "notifications") => {
                if key != "notifications" {
                    return Err(TaskError::Ambiguous);
                }
                for key in SUBSCRIBED {
                    if let Some(list) = ids.field(&found.value, key)? {
                        ids.all(&list)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(about)
}

/// Whether the word may stand there, for a reader that ignores case too: a backslash may hide it, and so
/// may the Kelvin sign and the long s.
fn may_name_task(json: &[u8]) -> bool {
    let word = |end: usize| end >= 3 && json[end - 3..=end].eq_ignore_ascii_case(b"task");
    memchr::memchr2_iter(b'k', b'K', json).any(word)
        || memchr::memchr(b'\\', json).is_some()
        || !json.is_ascii()
            && ["\u{212a}", "\u{17f}"]
                .iter()
                .any(|letter| memchr::memmem::find(json, letter.as_bytes()).is_some())
}

struct Ids<'a, 'e, O> {
    text: &'a str,
    open: &'a O,
    edits: &'a mut Edits<'e>,
}

impl<O: Open> Ids<'_, '_, O> {
    /// The value under `key` of an object; none may stand there in another case, which a backend that
    /// ignores case would read too.
    fn field(&self, object: &Range<usize>, key: &str) -> Result<Option<Range<usize>>, TaskError> {
        let found = members(self.text, object).unwrap_or_default();
        let mut same = found.iter().filter(|m| same_ignoring_case(&m.key, key));
        if same.clone().any(|member| member.key != key) {
            return Err(TaskError::Ambiguous);
        }
        Ok(same.next().map(|member| member.value.clone()))
    }

    /// Opens every id of a list; a lenient backend may read one where none is.
    fn all(&mut self, list: &Range<usize>) -> Result<(), TaskError> {
        if &self.text[list.clone()] != "null" {
            for id in elements(self.text, list).ok_or(TaskError::Ambiguous)? {
                self.one(&id, true);
            }
        }
        Ok(())
    }

    /// Opens one id; where the backend would `act` on it, one that is not the sender's becomes
    /// nobody's. So does a value that is no text, for a lenient backend might read it as one.
    fn one(&mut self, range: &Range<usize>, act: bool) -> Option<String> {
        let value = &self.text[range.clone()];
        let opened = unquoted(value).and_then(|sealed| self.open.open(&sealed));
        let id = match opened {
            Some(id) => id,
            None if act => self.open.nobodys(value),
            None => return None,
        };
        let mut literal = Vec::with_capacity(id.len() + 2);
        quote(&id, &mut literal);
        self.edits.replace(range.clone(), [Cow::Owned(literal)]);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::scan::{Body, scan};

    struct Prefix;

    impl Open for Prefix {
        fn open(&self, id: &str) -> Option<String> {
            id.strip_prefix("sealed-").map(str::to_owned)
        }

        fn nobodys(&self, _: &str) -> String {
            "nobody".to_owned()
        }
    }

    fn opened(body: &str) -> Result<(String, Option<String>), TaskError> {
        let Body::One(message) = scan(body.as_bytes()).unwrap() else {
            panic!("one message");
        };
        let mut edits = Edits::default();
        let about = open_ids(body, &message, &Prefix, &mut edits)?;
        let bytes = edits.apply(body.as_bytes());
        Ok((String::from_utf8(bytes.to_vec()).unwrap(), about))
    }

    fn request(method: &str, params: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
    }

    #[test]
    fn ids_are_opened_wherever_a_client_sends_them() {
        for (method, sealed, plain) in [
            ("tasks/get", r#"{"taskId":"sealed-a"}"#, r#"{"taskId":"a"}"#),
            (
                "tasks/cancel",
                r#"{"taskI\u0064": "sealed-\"" }"#,
                r#"{"taskI\u0064": "\"" }"#,
            ),
            (
                "prompts/get",
                r#"{"name":"p","_meta":{"io.modelcontextprotocol\/related-task":{"taskId":"sealed-a"}}}"#,
                r#"{"name":"p","_meta":{"io.modelcontextprotocol\/related-task":{"taskId":"a"}}}"#,
            ),
            (
                "tools/call",
                r#"{"_m\u0065ta":{"io.modelcontextprotocol/related-task":{"taskId":"sealed-a"}}}"#,
                r#"{"_m\u0065ta":{"io.modelcontextprotocol/related-task":{"taskId":"a"}}}"#,
            ),
            (
                "subscriptions/listen",
                r#"{"notifications":{"taskIds":["sealed-a","sealed-b"]}}"#,
                r#"{"notifications":{"taskIds":["a","b"]}}"#,
            ),
        ] {
            let (body, about) = opened(&request(method, sealed)).unwrap();
            assert_eq!(body, request(method, plain));
            assert_eq!(about.is_some(), method.starts_with("tasks/"), "{method}");
        }
        let call = |id: &str| request("tools/call", &format!(r#"{{"task\u0049d":"{id}"}}"#));
        assert_eq!(opened(&call("sealed-a")).unwrap().0, call("a"));
        let response = r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"ID"}}}}"#;
        assert_eq!(
            opened(&response.replace("ID", "sealed-a")).unwrap().0,
            response.replace("ID", "a")
        );
        assert_eq!(
            opened(&response.replace("ID", "own")).unwrap().0,
            response.replace("ID", "own")
        );
    }

    #[test]
    fn an_id_that_is_not_the_senders_is_nobodys() {
        for (method, params, given) in [
            ("tasks/get", r#"{"taskId":"a"}"#, r#"{"taskId":"nobody"}"#),
            ("tasks/result", r#"{"taskId":7}"#, r#"{"taskId":"nobody"}"#),
            (
                "tasks/other",
                r#"{"taskId":null}"#,
                r#"{"taskId":"nobody"}"#,
            ),
            (
                "subscriptions/listen",
                r#"{"notifications":{"tasksStatus":["sealed-a","b"]}}"#,
                r#"{"notifications":{"tasksStatus":["a","nobody"]}}"#,
            ),
            (
                "tools/call",
                r#"{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"a"}}}"#,
                r#"{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"nobody"}}}"#,
            ),
        ] {
            let (body, about) = opened(&request(method, params)).unwrap();
            assert_eq!(body, request(method, given));
            let named = about.as_deref();
            assert_eq!(named, method.starts_with("tasks/").then_some("nobody"));
        }
        assert_eq!(opened(&request("tasks/list", "{}")), Err(TaskError::Listed));
        for params in [
            r#"{"notifications":{"taskIDs":["a"]}}"#,
            r#"{"Notifications":{"taskIds":["a"]}}"#,
            r#"{"notifications":{"taskIds":"a"}}"#,
            r#"{"notifications":{"ta\u017fkIds":["a"]}}"#,
            r#"{"_meta":{"io.modelcontextprotocol/Related-Task":{"taskId":"a"}}}"#,
        ] {
            let listen = request("subscriptions/listen", params);
            assert_eq!(opened(&listen), Err(TaskError::Ambiguous), "{params}");
        }
        let notice =
            r#"{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"own"}}"#;
        assert_eq!(opened(notice).unwrap().0, notice);
    }
}
