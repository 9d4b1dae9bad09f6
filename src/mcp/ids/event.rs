//! Event ids: the backend's own, readable, bound to the session too: a client resumes a stream of its
//! own session or none.

use super::{Holder, tagged};
use crate::vault::Sealer;

const PURPOSE: &str = "mcp event id";

/// The event id for the client: the backend's, `.`, and a tag over it, the holder and the
/// backend's session id (empty if there is none). Visible ASCII, some 35 bytes more than `id`, or
/// 4/3 of it if it has bytes unfit for a header.
#[must_use]
pub fn seal_event(sealer: &Sealer, holder: &Holder<'_>, session: &[u8], id: &[u8]) -> Vec<u8> {
    tagged::seal(sealer, PURPOSE, &context(holder, session), id)
}

/// The backend's event id behind a client's `Last-Event-ID`, byte for byte.
///
/// `None` (to be answered with 400) if it was given to another user, for another server, profile or
/// session, or is no event id of ours.
#[must_use]
pub fn open_event(
    sealer: &Sealer,
    holder: &Holder<'_>,
    session: &[u8],
    value: &[u8],
) -> Option<Vec<u8>> {
    tagged::open(sealer, PURPOSE, &context(holder, session), value)
}

fn context<'a>(holder: &Holder<'a>, session: &'a [u8]) -> [&'a [u8]; 4] {
    let [user, server, profile] = holder.context();
    [user, server, profile, session]
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::mcp::answer::MAX_EVENT_ID;
    use crate::mcp::ids::{MAX_SEALED, test_sealer};
    use crate::names::{ProfileName, ServerName};

    fn with_holder<T>(user_id: &[u8], run: impl FnOnce(&Holder<'_>) -> T) -> T {
        let (server, profile) = (
            ServerName::parse("github").unwrap(),
            ProfileName::default_profile(),
        );
        run(&Holder {
            user_id,
            server: &server,
            profile: &profile,
        })
    }

    #[test]
    fn an_event_id_opens_for_its_holder_and_session_only() {
        let sealer = test_sealer();
        let sealed = with_holder(b"u1", |holder| {
            seal_event(&sealer, holder, b"s1", b"stream_7")
        });
        assert!(sealed.starts_with(b"stream_7."));
        let open = |user, session: &[u8], value: &[u8]| {
            with_holder(user, |holder| open_event(&sealer, holder, session, value))
        };
        assert_eq!(
            open(b"u1", b"s1", &sealed).as_deref(),
            Some(&b"stream_7"[..])
        );
        assert_eq!(open(b"u2", b"s1", &sealed), None);
        assert_eq!(open(b"u1", b"s2", &sealed), None);
        assert_eq!(open(b"u1", b"", &sealed), None);
        assert_eq!(open(b"u1", b"s1", b"stream_7"), None);
        assert_eq!(open(b"u1", b"s1", &sealed[1..]), None);
        let respelled = [b"=c3RyZWFtXzc", &sealed[8..]].concat();
        assert_eq!(open(b"u1", b"s1", &respelled), None);
        assert_eq!(open(b"u1", b"s1", &[b'a'; MAX_SEALED + 1]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_id_comes_back_and_fits_a_header(
            id in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..=MAX_EVENT_ID),
                "[ -~]{0,40}".prop_map(String::into_bytes),
            ]
        ) {
            let sealer = test_sealer();
            with_holder(b"u1", |holder| {
                let sealed = seal_event(&sealer, holder, b"", &id);
                assert!(sealed.len() <= MAX_SEALED && sealed.iter().all(u8::is_ascii_graphic));
                assert!(HeaderValue::from_bytes(&sealed).unwrap().to_str().is_ok());
                assert_eq!(open_event(&sealer, holder, b"", &sealed), Some(id));
            });
        }

        #[test]
        fn arbitrary_values_are_refused(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let sealer = test_sealer();
            assert_eq!(with_holder(b"u1", |holder| open_event(&sealer, holder, b"", &value)), None);
        }
    }
}
