//! The ids a backend hands out, as they leave the house: sealed, and bound to whom they were given.
//!
//! None of these is ever authentication: every request is judged by the key it carries. The binding
//! only makes an id worthless to anybody else (MCP 2025-11-25, security best practices "Session
//! Hijacking").

mod event;
mod message;
mod session;
mod setup;
mod tagged;
mod task;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use event::{open_event, seal_event};
pub use message::{MAX_MESSAGE_PATH, MessagePath, open_message_path, seal_message_path};
pub use session::{Session, open_session, seal_session};
pub use setup::{is_setup, seal_setup};
pub use task::{nobodys_task, open_task, seal_task};

use crate::names::{ProfileName, ServerName};

/// Bytes a sealed id from a client may have; a longer one is refused before it is decoded.
pub const MAX_SEALED: usize = 4096;

/// Bytes of visible ASCII a backend's own session id may have.
pub const MAX_BACKEND_SESSION: usize = 1024;

/// Seconds a session lives, 24 h, counted from its last sealing.
pub const SESSION_TTL: u64 = 24 * 60 * 60;

/// Whom an id is given to.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    /// The random id of the user's record (not the name, which may be given to another person).
    pub user_id: &'a [u8],
    /// The server the id belongs to.
    pub server: &'a ServerName,
    /// The profile whose secrets the backend was given.
    pub profile: &'a ProfileName,
}

impl<'a> Holder<'a> {
    fn context(&self) -> [&'a [u8]; 3] {
        [
            self.user_id,
            self.server.as_str().as_bytes(),
            self.profile.as_str().as_bytes(),
        ]
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Refuses padding and stray bits, so that one id has one spelling.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
fn test_sealer() -> crate::vault::Sealer {
    let server = ServerName::parse("github").unwrap();
    crate::vault::Sealer::new(&crate::vault::Keyring::generate(), &server).unwrap()
}
