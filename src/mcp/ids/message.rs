//! Where a client of HTTP+SSE posts its messages: the backend's own path, sealed.

use super::{Holder, MAX_SEALED, decode, encode};
use crate::vault::Sealer;

const PURPOSE: &str = "mcp message path";

/// Bytes the path and query of a backend's message endpoint may have.
pub const MAX_MESSAGE_PATH: usize = 2048;

/// The text a client gets in place of the backend's path and query: base64url without padding,
/// another one each time. It does not expire: it is worth nothing once the backend's stream has ended.
///
/// `None` if the path is longer than [`MAX_MESSAGE_PATH`].
#[must_use]
pub fn seal_message_path(sealer: &Sealer, holder: &Holder<'_>, path: &str) -> Option<String> {
    let fits = path.len() <= MAX_MESSAGE_PATH;
    fits.then(|| encode(&sealer.seal(PURPOSE, &holder.context(), path.as_bytes())))
}

/// The backend's path and query behind what a client was given.
///
/// `None` (to be answered with 404) if it was given to another user, for another server or profile, or
/// is none of ours.
#[must_use]
pub fn open_message_path(sealer: &Sealer, holder: &Holder<'_>, value: &str) -> Option<String> {
    if value.len() > MAX_SEALED {
        return None;
    }
    let plain = sealer.open(PURPOSE, &holder.context(), &decode(value.as_bytes())?)?;
    String::from_utf8(plain).ok()
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
        let path = "/messages/?session_id=0123abc";
        let sealed = seal_message_path(&sealer, &holder, path).unwrap();
        assert!(!sealed.contains("0123abc") && sealed.is_ascii());
        assert_eq!(
            open_message_path(&sealer, &holder, &sealed).as_deref(),
            Some(path)
        );
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
        assert_eq!(
            seal_message_path(&sealer, &holder, &"a".repeat(MAX_MESSAGE_PATH + 1)),
            None
        );
        let longest = "a".repeat(MAX_MESSAGE_PATH);
        let sealed = seal_message_path(&sealer, &holder, &longest).unwrap();
        assert_eq!(open_message_path(&sealer, &holder, &sealed), Some(longest));
    }
}
