//! Session ids: everything the proxy must remember of a session, in the id itself.

use http::HeaderValue;

use super::{Holder, MAX_BACKEND_SESSION, MAX_SEALED, SESSION_TTL, decode, encode};
use crate::mcp::scan::Capabilities;
use crate::vault::Sealer;

const PURPOSE: &str = "mcp session id";
/// The first byte of the plaintext. Other forms get other numbers.
const FORMAT: u8 = 1;
/// As [`FORMAT`], with the replica of the backend after the expiry.
const FORMAT_AT_REPLICA: u8 = 2;

/// What a sealed `Mcp-Session-Id` carries. The proxy itself keeps nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    backend_id: Option<HeaderValue>,
    /// The replica that holds what cannot be shared (a child process).
    pub replica: u16,
    /// What the client declared in `initialize`.
    pub capabilities: Capabilities,
    /// The version of the secrets the backend was given.
    pub secret_version: u64,
    /// Which replica of its backend holds it, in the words of whoever reaches them; `None` if the
    /// backend is one.
    pub served_by: Option<u64>,
    /// Unix time in seconds from which on the session is gone.
    expires: u64,
}

impl Session {
    /// A session sealed at `now` (unix time in seconds), good for [`SESSION_TTL`].
    ///
    /// `None` if `backend_id` is not 1 to [`MAX_BACKEND_SESSION`] bytes of visible ASCII, which a
    /// session id must be (MCP 2025-11-25, basic/transports "Session Management").
    #[must_use]
    pub fn new(
        backend_id: Option<&[u8]>,
        replica: u16,
        capabilities: Capabilities,
        secret_version: u64,
        now: u64,
    ) -> Option<Self> {
        let backend_id = match backend_id {
            Some(id) => Some(backend_value(id)?),
            None => None,
        };
        let expires = now.saturating_add(SESSION_TTL);
        Some(Self {
            backend_id,
            replica,
            capabilities,
            secret_version,
            served_by: None,
            expires,
        })
    }

    /// The session id the backend gave, for the header sent to it.
    #[must_use]
    pub fn backend_id(&self) -> Option<&HeaderValue> {
        self.backend_id.as_ref()
    }

    /// Unix time in seconds from which on [`open_session`] refuses it.
    #[must_use]
    pub fn expires(&self) -> u64 {
        self.expires
    }

    /// Format, capabilities, replica, secret version, expiry (big endian), the backend's replica if the
    /// format has one, whether there is a backend id, and the backend id to the end.
    fn to_bytes(&self) -> Vec<u8> {
        let backend = self
            .backend_id
            .as_ref()
            .map_or(&b""[..], HeaderValue::as_bytes);
        let format = match self.served_by {
            None => FORMAT,
            Some(_) => FORMAT_AT_REPLICA,
        };
        let mut bytes = Vec::with_capacity(29 + backend.len());
        bytes.extend([format, self.capabilities.bits()]);
        bytes.extend(self.replica.to_be_bytes());
        bytes.extend(self.secret_version.to_be_bytes());
        bytes.extend(self.expires.to_be_bytes());
        bytes.extend(self.served_by.iter().flat_map(|id| id.to_be_bytes()));
        bytes.push(u8::from(self.backend_id.is_some()));
        bytes.extend_from_slice(backend);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [format, capabilities] = take(&mut rest)?;
        let replica = u16::from_be_bytes(take(&mut rest)?);
        let secret_version = u64::from_be_bytes(take(&mut rest)?);
        let expires = u64::from_be_bytes(take(&mut rest)?);
        let served_by = match format {
            FORMAT => None,
            FORMAT_AT_REPLICA => Some(u64::from_be_bytes(take(&mut rest)?)),
            _ => return None,
        };
        let backend_id = match take(&mut rest)? {
            [0] if rest.is_empty() => None,
            [1] => Some(backend_value(rest)?),
            _ => return None,
        };
        Some(Self {
            backend_id,
            replica,
            capabilities: Capabilities::from_bits(capabilities),
            secret_version,
            served_by,
            expires,
        })
    }
}

/// The `Mcp-Session-Id` for the client: base64url without padding, some 80 bytes plus 4/3 of the
/// backend's id.
pub fn seal_session(sealer: &Sealer, holder: &Holder<'_>, session: &Session) -> HeaderValue {
    let sealed = sealer.seal(PURPOSE, &holder.context(), &session.to_bytes());
    HeaderValue::try_from(encode(&sealed)).expect("base64url is visible ASCII")
}

/// The session behind a client's `Mcp-Session-Id`, at `now` (unix time in seconds).
///
/// `None` (to be answered with 404, so that the client starts anew) if it was given to another
/// user, for another server or profile, has expired, or is no session id of ours.
#[must_use]
pub fn open_session(
    sealer: &Sealer,
    holder: &Holder<'_>,
    value: &[u8],
    now: u64,
) -> Option<Session> {
    if value.len() > MAX_SEALED {
        return None;
    }
    let plaintext = sealer.open(PURPOSE, &holder.context(), &decode(value)?)?;
    Session::from_bytes(&plaintext).filter(|session| now < session.expires)
}

fn backend_value(id: &[u8]) -> Option<HeaderValue> {
    let fits = (1..=MAX_BACKEND_SESSION).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
    if fits {
        HeaderValue::from_bytes(id).ok()
    } else {
        None
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mcp::ids::test_sealer;
    use crate::names::{ProfileName, ServerName};

    const NOW: u64 = 1_790_000_000;

    fn session(backend_id: Option<&[u8]>) -> Session {
        Session::new(
            backend_id,
            513,
            Capabilities::from_bits(1),
            u64::MAX - 1,
            NOW,
        )
        .unwrap()
    }

    #[test]
    fn a_session_comes_back_whole_for_its_holder_only() {
        let (github, jira) = (
            ServerName::parse("github").unwrap(),
            ServerName::parse("jira").unwrap(),
        );
        let (main, work) = (
            ProfileName::default_profile(),
            ProfileName::parse("work").unwrap(),
        );
        let sealer = test_sealer();
        let holder = Holder {
            user_id: b"u1",
            server: &github,
            profile: &main,
        };
        for backend in [None, Some(&b"abc"[..]), Some(&[b'~'; MAX_BACKEND_SESSION])] {
            let mut at_replica = session(backend);
            at_replica.served_by = Some(u64::MAX - 2);
            let value = seal_session(&sealer, &holder, &at_replica);
            assert!(value.len() <= MAX_SEALED);
            let opened = open_session(&sealer, &holder, value.as_bytes(), NOW);
            assert_eq!(opened, Some(at_replica));

            let value = seal_session(&sealer, &holder, &session(backend));
            assert!(value.as_bytes().iter().all(u8::is_ascii_graphic) && value.len() <= MAX_SEALED);
            let open =
                |holder: &Holder<'_>, now| open_session(&sealer, holder, value.as_bytes(), now);
            assert_eq!(open(&holder, NOW), Some(session(backend)));
            assert_eq!(open(&holder, NOW + SESSION_TTL - 1), Some(session(backend)));
            assert_eq!(open(&holder, NOW + SESSION_TTL), None);
            assert_eq!(
                open(
                    &Holder {
                        user_id: b"u2",
                        ..holder
                    },
                    NOW
                ),
                None
            );
            assert_eq!(
                open(
                    &Holder {
                        server: &jira,
                        ..holder
                    },
                    NOW
                ),
                None
            );
            assert_eq!(
                open(
                    &Holder {
                        profile: &work,
                        ..holder
                    },
                    NOW
                ),
                None
            );
        }
    }

    #[test]
    fn what_is_not_a_session_id_is_refused() {
        for bad in [
            &b""[..],
            b"a b",
            b"\x7f",
            "ü".as_bytes(),
            &[b'a'; MAX_BACKEND_SESSION + 1],
        ] {
            assert!(Session::new(Some(bad), 0, Capabilities::default(), 0, NOW).is_none());
        }
        let server = ServerName::parse("github").unwrap();
        let profile = ProfileName::default_profile();
        let sealer = test_sealer();
        let holder = Holder {
            user_id: b"u1",
            server: &server,
            profile: &profile,
        };
        let value = seal_session(&sealer, &holder, &session(None));
        let text = value.to_str().unwrap();
        for bad in [
            format!("{text}="),
            format!("{text}A"),
            text[1..].to_owned(),
            "A".repeat(4097),
        ] {
            assert_eq!(open_session(&sealer, &holder, bad.as_bytes(), NOW), None);
        }
        let mut other_format = session(None).to_bytes();
        other_format[0] = 3;
        assert_eq!(Session::from_bytes(&other_format), None);
        let plain = session(None).to_bytes();
        assert_eq!(Session::from_bytes(&plain[..20]), None);
        assert_eq!(Session::from_bytes(&[&plain[..], b"x"].concat()), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_plaintext_is_a_session_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(session) = Session::from_bytes(&bytes) {
                let again = Session::from_bytes(&session.to_bytes());
                prop_assert_eq!(again, Some(session));
            }
        }
    }
}
