//! What the origin answers, and the check that the right user's secret came with the request.

use memchr::memmem;

use cloakroom_peers::clock;
use cloakroom_peers::head::{Credential, Request};
use cloakroom_peers::text::{number_after, write_number};

/// The bytes of an ordinary answer's body.
const BODY: usize = 300;

/// An answer's body: all of it in `text`, or `text`, so many bytes of filling, and `CLOSING`.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// How many bytes of `FILLING` stand between the text and `CLOSING`.
    pub filling: Option<u64>,
}

/// The end of a large answer.
pub const CLOSING: &[u8] = b"\"}],\"isError\":false}}";

/// Writes the answer to a request after its head's place in `text`.
pub fn answer(request: &Request, body: &[u8], text: &mut Vec<u8>) -> Answer {
    text.clear();
    let id = number_after(body, b"\"id\":");
    let refusal = match (id, refusal(request, body)) {
        (None, _) => Some("no id"),
        (_, refusal) => refusal,
    };
    if let Some(refusal) = refusal {
        text.extend_from_slice(refusal.as_bytes());
        return Answer {
            status: 500,
            filling: None,
        };
    }
    let mut digits = [0; 10];
    write_number(&mut digits, id.unwrap_or_default());
    text.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    text.extend_from_slice(&digits);
    text.extend_from_slice(b",\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"");
    let filling = number_after(body, b"\"answer_size\":");
    if filling.is_none() {
        text.resize(BODY - CLOSING.len(), b'.');
        text.extend_from_slice(CLOSING);
    }
    Answer {
        status: 200,
        filling,
    }
}

/// Why the request is wrong: a proxy that injects nothing must not be measured, nor one that takes one user
/// for another.
fn refusal(request: &Request, body: &[u8]) -> Option<&'static str> {
    let Some(user) = number_after(body, b"\"user\":") else {
        return Some("no user in the body");
    };
    let injected = if request.in_arguments {
        const TOKEN: &[u8] = b"\"token\":\"";
        memmem::find(body, TOKEN).map_or(Credential::None, |at| {
            Credential::parse(&body[at + TOKEN.len()..])
        })
    } else {
        request.credential
    };
    match injected {
        _ if request.leaks_key => Some("the client's key came through"),
        Credential::None => Some("no secret was injected"),
        secret if secret.suits(user) => None,
        _ => Some("the secret of another user"),
    }
}

/// Writes one event of some 100 bytes, as a chunk.
pub fn event(chunk: &mut Vec<u8>) {
    const BEFORE: &[u8] =
        b"event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"at\":";
    const AFTER: &[u8] = b"}\n\n";
    const DIGITS: usize = 19;
    let mut at = [0; DIGITS];
    write_number(&mut at, clock::now());
    let length = BEFORE.len() + DIGITS + AFTER.len();
    chunk.clear();
    chunk.extend_from_slice(format!("{length:x}\r\n").as_bytes());
    for part in [BEFORE, &at, AFTER, b"\r\n"] {
        chunk.extend_from_slice(part);
    }
}
