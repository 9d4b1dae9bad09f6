//! Servers that were written for one person, on standard input and output: every user talks to a child
//! process of his own.
//!
//! ```text
//! service    a request of HTTP: which tenant it is for, and how its answer goes back
//! session    one of Streamable HTTP begins; `sse` the same of HTTP+SSE, `modern` requests without any
//! tenant     one MCP session, or all requests of a user who speaks MCP 2026-07-28; its child may sleep
//! agreed     what a session agreed on, said again to its next child
//! tenants    who is known
//! pool       all of them: who sleeps, and whose key has fallen
//! running    how many there may be
//! child      one process: what is said to it and by it
//! talk       ids made unique on the way in, and given back on the way out
//! spares     children that were started ahead
//! crashes    who fails again and again rests
//! folders    where each is at home
//! heard      one line of a child, read
//! listening  the pipes of a child
//! mailbox    what a child said, until its clients have read it
//! waiting    what it has not read yet
//! words      its standard error, masked
//! ```
//!
//! Towards the layer this is a server of Streamable HTTP, and of HTTP+SSE, like any other behind a URL:
//! the layer seals its session and event ids, and asks for the key on every request.
//!
//! 1. A child belongs to a user, server and profile, to the version of the secrets it was started with, and
//!    to one session (or none); it never serves another.
//! 2. What is read or written for one child is done by two tasks on the runtime of the background; no
//!    thread belongs to a child, and one that says nothing holds no buffer.
//! 3. A child ends when its session does, and when no key is left that it was used with.

mod agreed;
mod answer;
mod child;
mod crashes;
mod folders;
mod heard;
mod listening;
mod mailbox;
mod mask;
mod modern;
mod pool;
mod running;
mod served;
mod service;
mod session;
mod settings;
mod spares;
mod sse;
mod talk;
mod tenant;
mod tenants;
mod waiting;
mod words;

use bytes::Bytes;

pub use answer::Answer;
pub use mask::Mask;
pub use pool::{Children, Figures, Listed};
pub use served::Served;
pub use settings::{Limits, Settings};
pub use words::{CHILD, Lines, Said};

use crate::layer::{Caller, Failure};
use crate::names::{ProfileName, ServerName};
use crate::rejection::{Ids, Kind, Rejection};
use crate::vault::UserId;

/// Whose a child is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Owner {
    user: UserId,
    server: ServerName,
    profile: ProfileName,
}

impl Owner {
    /// What is told of it in the log.
    fn whose(&self, pid: u32) -> words::Whose {
        words::Whose {
            server: self.server.clone(),
            user: self.user,
            profile: self.profile.clone(),
            pid,
        }
    }

    fn of(caller: &Caller) -> Self {
        Self {
            user: caller.identity.user_id(),
            server: caller.server.clone(),
            profile: caller.profile.clone(),
        }
    }
}

/// A failure the client is told of as it is.
fn told(kind: Kind, text: String) -> Failure {
    Failure::Told(kind, text)
}

/// The message that refuses the request with this id.
fn refused(kind: Kind, text: String, id: &str) -> Bytes {
    Rejection::with_text(kind, text)
        .for_ids(&Ids::One(id.into()))
        .body()
}

/// The id of a session: 128 random bits.
fn random_id() -> Box<str> {
    crate::vault::random_id().into()
}
