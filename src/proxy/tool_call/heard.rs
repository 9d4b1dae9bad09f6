//! What a server says in answer: as JSON, or as events.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Answer;
use crate::layer::{AnswerBody, Aside, is_stream};
use crate::mcp::events::{Event, Events};
use crate::proxy::body::BackendBody;
use crate::rejection::Rejection;

/// Bytes that may come until a call is answered: as many as a list of tools may have by default. All of an
/// answer is held here, where a client of MCP would read it as it comes.
pub(super) const MOST: usize = 8 << 20;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its result, as the server wrote it.
    Result(String),
    /// The server's error.
    Error { code: i64, message: String },
}

/// Something a server said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The answer that is waited for.
    Answer(Outcome),
    /// A request of its own: its id as it was written, and whether it only asks if anybody is there.
    Request { id: String, ping: bool },
}

/// An answer as it comes.
pub(super) struct Coming {
    body: Pin<Box<AnswerBody<BackendBody>>>,
    reading: Reading,
    read: usize,
    found: VecDeque<Event>,
}

enum Reading {
    Json(BytesMut),
    Events(Events),
    Ended(Option<Resumption>),
}

/// Where a stream may be gone on with that ended too soon.
#[derive(Clone)]
pub(super) struct Resumption {
    /// The last event's id.
    pub(super) after: String,
    /// How long the server wants to be left alone first.
    pub(super) wait: Option<Duration>,
}

/// Why nothing more is read.
pub(super) enum Stopped {
    /// More than [`MOST`] came.
    TooLong,
    /// It is too much for its sender, or for all.
    Refused(Rejection),
}

impl Coming {
    pub(super) fn new(answer: Answer) -> Self {
        let reading = match is_stream(answer.headers()) {
            true => Reading::Events(Events::new(MOST)),
            false => Reading::Json(BytesMut::new()),
        };
        Self {
            body: Box::pin(answer.into_body()),
            reading,
            read: 0,
            found: VecDeque::new(),
        }
    }

    /// The next event, or the whole of a body of JSON as one; `None` when nothing more comes. What comes is
    /// counted as held by `aside`.
    pub(super) async fn next(&mut self, aside: &mut Aside) -> Result<Option<Event>, Stopped> {
        loop {
            if let Some(event) = self.found.pop_front() {
                return Ok(Some(event));
            }
            if matches!(self.reading, Reading::Ended(_)) {
                return Ok(None);
            }
            // An answer that is cut off is over, too.
            let data = match self.body.frame().await {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(_)) | None => {
                    self.end();
                    continue;
                }
            };
            self.read += data.len();
            if self.read > MOST {
                return Err(Stopped::TooLong);
            }
            aside.hold(data.len()).map_err(Stopped::Refused)?;
            self.push(&data)?;
        }
    }

    /// Where to go on, if this ended and was a stream that can be gone on with.
    pub(super) fn resumption(&self) -> Option<Resumption> {
        match &self.reading {
            Reading::Ended(resumption) => resumption.clone(),
            _ => None,
        }
    }

    fn push(&mut self, data: &Bytes) -> Result<(), Stopped> {
        match &mut self.reading {
            Reading::Json(text) => text.extend_from_slice(data),
            Reading::Events(events) => {
                let mut found = Vec::new();
                let pushed = events.push(data, &mut found);
                self.found.extend(found);
                pushed.map_err(|_| Stopped::TooLong)?;
            }
            Reading::Ended(_) => {}
        }
        Ok(())
    }

    fn end(&mut self) {
        let ended = std::mem::replace(&mut self.reading, Reading::Ended(None));
        match ended {
            Reading::Json(text) => self.found.push_back(Event {
                kind: String::new(),
                data: text.freeze(),
            }),
            Reading::Events(events) => {
                let resumption = events.last_id().map(|id| Resumption {
                    after: id.to_owned(),
                    wait: events.retry().map(Duration::from_millis),
                });
                self.reading = Reading::Ended(resumption);
            }
            Reading::Ended(_) => {}
        }
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<Error>,
}

#[derive(Deserialize)]
struct Error {
    code: i64,
    message: String,
}

/// What `text` says to whoever waits for the answer to `id`: one message, or several. What is no message,
/// and what is of no interest, is left out.
pub(super) fn heard(text: &[u8], id: u64) -> Vec<Heard> {
    let several: Result<Vec<&RawValue>, _> = serde_json::from_slice(text);
    match several {
        Ok(several) => {
            let each = several.into_iter().map(|one| one.get().as_bytes());
            each.filter_map(|one| one_heard(one, id)).collect()
        }
        Err(_) => one_heard(text, id).into_iter().collect(),
    }
}

fn one_heard(text: &[u8], id: u64) -> Option<Heard> {
    let message: Message<'_> = serde_json::from_slice(text).ok()?;
    let own = message.id.map(RawValue::get);
    if let Some(method) = message.method {
        let ping = method == "ping";
        return own.map(|id| Heard::Request {
            id: id.to_owned(),
            ping,
        });
    }
    let is_ours = own.is_some_and(|own| own == id.to_string());
    let outcome = match (message.result, message.error) {
        (Some(result), None) if is_ours => Outcome::Result(result.get().to_owned()),
        // One about a request that could not be read has no id (JSON-RPC 2.0, section 5).
        (None, Some(Error { code, message })) if is_ours || own.is_none() => {
            Outcome::Error { code, message }
        }
        _ => return None,
    };
    Some(Heard::Answer(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when an answer to another request is taken for ours, or numbers are read and written again.
    #[test]
    fn our_answer_is_found_among_others() {
        let result = |text: &str| Heard::Answer(Outcome::Result(text.to_owned()));
        let error = |code, message: &str| {
            let message = message.to_owned();
            Heard::Answer(Outcome::Error { code, message })
        };
        for (text, expected) in [
            (
                r#"{"jsonrpc":"2.0","id":2,"result":{"n": 1.0e400}}"#,
                vec![result(r#"{"n": 1.0e400}"#)],
            ),
            (r#"{"jsonrpc":"2.0","id":20,"result":{}}"#, vec![]),
            (r#"{"jsonrpc":"2.0","id":"2","result":{}}"#, vec![]),
            (r#"{"jsonrpc":"2.0","result":{}}"#, vec![]),
            (
                r#"{"id":2,"error":{"code":-32602,"message":"no"}}"#,
                vec![error(-32602, "no")],
            ),
            (
                r#"{"id":null,"error":{"code":1,"message":"no"}}"#,
                vec![error(1, "no")],
            ),
            (r#"{"id":3,"error":{"code":1,"message":"no"}}"#, vec![]),
            (r#"{"method":"notifications/progress","params":{}}"#, vec![]),
            (
                r#"[{"id":"a\n","method":"ping"},{"id":2,"result":7}]"#,
                vec![
                    Heard::Request {
                        id: r#""a\n""#.to_owned(),
                        ping: true,
                    },
                    result("7"),
                ],
            ),
            (r#"{"id":2,"result":{},"result":{}}"#, vec![]),
            ("", vec![]),
            ("<html>", vec![]),
        ] {
            assert_eq!(heard(text.as_bytes(), 2), expected, "{text}");
        }
    }
}
