//! Where a client of HTTP+SSE posts its messages: the backend's own path, sealed.

use super::{Holder, MAX_SEALED, decode, encode};
use crate::vault::Sealer;

const PURPOSE: &str = "mcp message path";

/// Before the replica of the backend. Without one the plaintext is the path, whose first byte is a
/// slash.
const AT_REPLICA: u8 = 1;

/// Bytes the path and query of a backend's message endpoint may have.
pub const MAX_MESSAGE_PATH: usize = 2048;

/// Where messages to one stream go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePath {
    /// The backend's path and query; begins with a slash.
    pub path: String,
    /// Which replica of the backend has the stream, in the words of whoever reaches them; `None` if
    /// the backend is one.
    pub served_by: Option<u64>,
}

/// The text a client gets in place of the backend's path and query: base64url without padding,
/// another one each time. It does not expire: it is worth nothing once the backend's stream has ended.
///
/// `None` if the path is longer than [`MAX_MESSAGE_PATH`] or begins with no slash.
#[must_use]
pub fn seal_message_path(
    sealer: &Sealer,
    holder: &Holder<'_>,
    target: &MessagePath,
) -> Option<String> {
    let MessagePath { path, served_by } = target;
    if path.len() > MAX_MESSAGE_PATH || !path.starts_with('/') {
        return None;
    }
    let replica = served_by.map(|id| [&[AT_REPLICA][..], &id.to_be_bytes()].concat());
    let plain = [&replica.unwrap_or_default(), path.as_bytes()].concat();
    Some(encode(&sealer.seal(PURPOSE, &holder.context(), &plain)))
}

/// The backend's path and query behind what a client was given.
///
/// `None` (to be answered with 404) if it was given to another user, for another server or profile, or
/// is none of ours.
#[must_use]
pub fn open_message_path(sealer: &Sealer, holder: &Holder<'_>, value: &str) -> Option<MessagePath> {
    if value.len() > MAX_SEALED {
        return None;
    }
    let mut plain = sealer.open(PURPOSE, &holder.context(), &decode(value.as_bytes())?)?;
    let mut served_by = None;
    if plain.first() == Some(&AT_REPLICA) {
        let path = plain.split_off(plain.len().min(9));
        served_by = Some(u64::from_be_bytes(plain[1..].try_into().ok()?));
        plain = path;
    }
    let path = String::from_utf8(plain).ok()?;
    Some(MessagePath { path, served_by })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::ids::test_sealer;
    use crate::names::{ProfileName, ServerName};

    #[test]
    fn a_path_comes_back_for_its_holder_only() {
        let sealer = test_sealer();
        let server = ServerName::parse("github").unwrap();
        let (profile, work) = (
            ProfileName::default_profile(),
            ProfileName::parse("work").unwrap(),
        );
        let holder = Holder {
            user_id: b"u1",
            server: &server,
            profile: &profile,
        };
        let at = |path: &str, served_by| MessagePath {
            path: path.to_owned(),
            served_by,
        };
        let seal = |target: &MessagePath| seal_message_path(&sealer, &holder, target);
        for served_by in [None, Some(0), Some(u64::MAX)] {
            let target = at("/messages/?session_id=0123abc", served_by);
            let sealed = seal(&target).unwrap();
            assert!(!sealed.contains("0123abc") && sealed.is_ascii());
            let opened = open_message_path(&sealer, &holder, &sealed);
            assert_eq!(opened, Some(target));
        }
        let sealed = seal(&at("/messages", Some(7))).unwrap();
        for other in [
            Holder {
                user_id: b"u2",
                ..holder
            },
            Holder {
                profile: &work,
                ..holder
            },
        ] {
            assert_eq!(open_message_path(&sealer, &other, &sealed), None);
        }
        assert_eq!(
            open_message_path(&sealer, &holder, &format!("{sealed}A")),
            None
        );
        assert_eq!(seal(&at(&"/".repeat(MAX_MESSAGE_PATH + 1), None)), None);
        assert_eq!(seal(&at("\u{1}12345678/path", None)), None);
        let longest = at(&"/".repeat(MAX_MESSAGE_PATH), Some(1));
        let sealed = seal(&longest).unwrap();
        assert_eq!(open_message_path(&sealer, &holder, &sealed), Some(longest));
    }
}
