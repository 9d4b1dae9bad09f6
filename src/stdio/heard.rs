//! What a child says on its standard output: one message a line (MCP 2025-11-25, basic/transports
//! "stdio").
//!
//! A child is as untrusted as any backend: what is no message, or could be read in two ways, goes to
//! nobody.

use std::borrow::Cow;
use std::ops::Range;

use crate::mcp::edit::{self, Member, members, unquoted};

/// One message of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard<'t> {
    /// The message, a whole JSON object.
    pub(super) text: &'t str,
    /// What it is.
    pub(super) shape: Shape<'t>,
}

/// What a message of a child is. Ranges are of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape<'t> {
    /// The answer to a request of ours.
    Answer {
        /// The request's id, as it was written.
        id: Range<usize>,
        /// The subscription it ends.
        subscription: Option<Range<usize>>,
        /// The code, if it is an error.
        code: Option<i64>,
    },
    /// A question to the client.
    Request {
        /// Its id, as it was written.
        id: Range<usize>,
        /// What is asked.
        method: Cow<'t, str>,
    },
    /// Something said by the way.
    Notification {
        /// What about.
        method: Cow<'t, str>,
        /// The progress token (`params.progressToken`).
        token: Option<Range<usize>>,
        /// The subscription it belongs to.
        subscription: Option<Range<usize>>,
        /// The request that is taken back (`params.requestId`).
        cancelled: Option<Range<usize>>,
    },
}

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// The messages of a line: one, or those of a batch (MCP 2025-03-26). `None` where any of it is no
/// message.
pub(super) fn hear(line: &str) -> Option<Vec<Heard<'_>>> {
    let line = line.trim_ascii();
    if line.starts_with('[') {
        let elements = edit::elements(line, &(0..line.len()))?;
        return elements.into_iter().map(|at| one(&line[at])).collect();
    }
    one(line).map(|heard| vec![heard])
}

fn one(text: &str) -> Option<Heard<'_>> {
    let all = members(text, &(0..text.len()))?;
    let id = only(&all, "id")?;
    let method = only(&all, "method")?;
    let params = only(&all, "params")?;
    let result = only(&all, "result")?;
    let error = only(&all, "error")?;
    let shape = match (method, id) {
        (Some(method), id) => {
            let method = unquoted(&text[method])?;
            match id {
                Some(id) if is_id(&text[id.clone()]) => Shape::Request { id, method },
                Some(_) => return None,
                None => notification(text, method, params)?,
            }
        }
        (None, Some(id)) if result.is_some() != error.is_some() => Shape::Answer {
            id,
            subscription: result.and_then(|at| subscription(text, &at)),
            code: error.and_then(|at| code(text, &at)),
        },
        (None, _) => return None,
    };
    Some(Heard { text, shape })
}

fn notification<'t>(
    text: &'t str,
    method: Cow<'t, str>,
    params: Option<Range<usize>>,
) -> Option<Shape<'t>> {
    let fields = match &params {
        // `params` of another type than an object has nothing of ours.
        Some(params) => members(text, params).unwrap_or_default(),
        None => Vec::new(),
    };
    Some(Shape::Notification {
        method,
        token: only(&fields, "progressToken")?,
        subscription: params.and_then(|params| subscription(text, &params)),
        cancelled: only(&fields, "requestId")?,
    })
}

/// The value of `key`; the outer `None` where it stands twice, and a reader may take either.
fn only(all: &[Member<'_>], key: &str) -> Option<Option<Range<usize>>> {
    let mut found = all.iter().filter(|member| member.key == key);
    let first = found.next().map(|member| member.value.clone());
    found.next().is_none().then_some(first)
}

fn subscription(text: &str, object: &Range<usize>) -> Option<Range<usize>> {
    let meta = edit::member(text, object, "_meta")?;
    edit::member(text, &meta, SUBSCRIPTION)
}

fn code(text: &str, error: &Range<usize>) -> Option<i64> {
    text[edit::member(text, error, "code")?].parse().ok()
}

fn is_id(literal: &str) -> bool {
    // Remembered until it is answered: a child is not to fill our memory with one.
    literal.len() <= 1024
        && literal.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(line: &str) -> Option<Shape<'_>> {
        hear(line)?.into_iter().next().map(|heard| heard.shape)
    }

    #[test]
    fn messages_are_told_apart() {
        let line = r#" {"jsonrpc":"2.0","id":7,"result":{}} "#;
        let Some(Shape::Answer { id, code: None, .. }) = shape(line) else {
            panic!()
        };
        assert_eq!(&line.trim()[id], "7");
        let line = r#"{"id":"a","error":{"code":-32601,"message":"x"}}"#;
        let Some(Shape::Answer { code, .. }) = shape(line) else {
            panic!()
        };
        assert_eq!(code, Some(-32601));
        assert!(matches!(
            shape(r#"{"id":1,"method":"roots/list"}"#),
            Some(Shape::Request { .. })
        ));
        let line = r#"{"method":"notifications/progress","params":{"progressToken":5}}"#;
        let Some(Shape::Notification { token, .. }) = shape(line) else {
            panic!()
        };
        assert_eq!(&line[token.unwrap()], "5");
        let line =
            r#"{"method":"n","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":9}}}"#;
        let Some(Shape::Notification { subscription, .. }) = shape(line) else {
            panic!()
        };
        assert_eq!(&line[subscription.unwrap()], "9");
        let batch = r#"[{"id":1,"result":1},{"method":"x"}]"#;
        assert_eq!(hear(batch).unwrap().len(), 2);
    }

    // Mutation: let `only` take the last of two.
    #[test]
    fn what_is_no_message_or_has_two_readings_is_none() {
        for line in [
            "",
            "Server started on stdio",
            "null",
            "{}",
            "[1]",
            r#"{"id":1}"#,
            r#"{"id":1,"result":1,"error":{}}"#,
            r#"{"id":null,"method":"x"}"#,
            r#"{"id":1,"id":2,"result":{}}"#,
            r#"{"id":1,"\u0069d":2,"result":{}}"#,
            r#"{"method":"a","method":"b"}"#,
            r#"{"method":"n","params":{"progressToken":1,"progressToken":2}}"#,
            r#"[{"id":1,"result":1},{}]"#,
            r#"{"id":1,"result":{}} {"id":2,"result":{}}"#,
        ] {
            assert_eq!(hear(line), None, "{line}");
        }
    }
}
