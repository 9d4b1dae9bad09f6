//! What goes wrong between here and the server, and what the person at the client can do about it.
//!
//! The codes lie outside -32768..-32000, as those of [`crate::rejection`]: the first three digits are the
//! HTTP status that fits best.

use std::fmt;

use http::StatusCode;

use crate::dial::{Trouble, redirected};

/// Why a message has no answer of the server's.
#[derive(Debug)]
pub(super) enum Problem {
    /// There is no connection.
    Dial(Trouble),
    /// The connection ended after the message was sent, before all of the answer came.
    Cut,
    /// It was answered with this status, perhaps with `Location`, and perhaps with words.
    Status(StatusCode, Option<String>, Option<String>),
    /// It was answered with something else than MCP.
    NotMcp,
    /// A request was taken without an answer.
    Unanswered,
    /// The answer is longer than a message may be.
    TooLong,
    /// The session had to begin anew, and the server is not as it was.
    Changed,
    /// The session had to begin anew, and could not; the server's words, if it had some.
    Gone(String),
    /// A server of HTTP+SSE says where to send messages, and it is not its own origin.
    Elsewhere,
    /// Too many requests are under way.
    TooMany(usize),
}

impl Problem {
    /// The code of the error the client is answered with.
    pub(super) fn code(&self) -> i32 {
        match self {
            Self::Dial(_) => 5020,
            Self::Status(status, ..) => i32::from(status.as_u16()) * 10,
            Self::Cut | Self::NotMcp | Self::Unanswered | Self::TooLong | Self::Elsewhere => 5022,
            Self::Changed | Self::Gone(_) => 4042,
            Self::TooMany(_) => 4290,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(trouble) => trouble.fmt(f),
            Self::Cut => f.write_str(
                "the connection ended before the answer came; whether it was carried out is not known",
            ),
            Self::Status(status, _, Some(words)) => {
                // A terminal may show it.
                let words: String = words.chars().filter(|c| !c.is_control()).collect();
                write!(f, "the server answers {}: {words}", status.as_u16())
            }
            Self::Status(status, location, None) => answered(f, *status, location.as_deref()),
            Self::NotMcp => f.write_str(
                "what answers at this URL does not speak MCP there: write the path of its endpoint, such \
                 as /NAME/mcp",
            ),
            Self::Unanswered => {
                f.write_str("the server took the request, and said that it will not answer")
            }
            Self::TooLong => f.write_str("the server's answer is longer than 64 MiB"),
            Self::Changed => f.write_str(
                "the server lost the session, and the new one is not the same (another revision or other \
                 capabilities): reconnect",
            ),
            Self::Gone(why) => write!(f, "the server lost the session, and opens no new one: {why}"),
            Self::Elsewhere => f.write_str(
                "the server wants messages sent to another address than its own, which the key is not \
                 for: write the URL it is reached at",
            ),
            Self::TooMany(most) => {
                write!(f, "{most} requests are under way: wait for an answer before sending more")
            }
        }
    }
}

fn answered(f: &mut fmt::Formatter<'_>, status: StatusCode, location: Option<&str>) -> fmt::Result {
    let number = status.as_u16();
    if status.is_redirection() {
        return write!(f, "the server {}", redirected(number, location));
    }
    write!(f, "the server answers {number}")?;
    match number {
        401 => f.write_str(
            ": the key is not valid there; put one that is into CLOAKROOM_KEY or the file of --key-file \
             (a new one: cloakroom key issue USER), and start this anew",
        ),
        403 => f.write_str(": the key is not allowed to do this; ask whoever runs the server"),
        404 => f.write_str(": write the path of its endpoint, such as /NAME/mcp"),
        405 => f.write_str(
            ": write the path of its endpoint, such as /NAME/mcp, or the URL that ends in /sse if it speaks \
             HTTP+SSE",
        ),
        421 => f.write_str(
            ": it does not go by the host of this URL; its operator can add that to `allowed_hosts`",
        ),
        429 => f.write_str(": too much is under way; try again in a moment"),
        _ if status.is_server_error() => {
            f.write_str(": try again in a moment, or look at what it logs")
        }
        _ => f.write_str(" and does not say why"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_to_do() {
        for (number, says) in [
            (401, "key issue USER"),
            (403, "ask whoever"),
            (404, "/NAME/mcp"),
            (405, "/sse"),
            (421, "allowed_hosts"),
            (503, "try again"),
            (307, "to https://h/mcp,"),
        ] {
            let status = StatusCode::from_u16(number).unwrap();
            let location = Some("https://u:p@h/mcp?k=secret".to_owned());
            let problem = Problem::Status(status, location, None);
            let text = problem.to_string();
            assert!(text.contains(says) && !text.contains("secret"), "{text}");
            assert_eq!(problem.code(), i32::from(number) * 10);
        }
        let words = Some("its\u{1b}[2J own\n words".to_owned());
        let problem = Problem::Status(StatusCode::UNAUTHORIZED, None, words);
        assert_eq!(
            problem.to_string(),
            "the server answers 401: its[2J own words"
        );
    }
}
