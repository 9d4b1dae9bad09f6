//! The key a request's headers carry, as far as they alone tell whose it may be.

use http::HeaderMap;

use crate::identity::{KeyDigest, credential};
use crate::resolve::Reminder;

/// The digest of a key of our own shape that headers carry: what follows from them alone, so that it need not be
/// found out again of headers that come again. Whose it was last stands beside it, to be believed while it is right.
pub(crate) struct Presented {
    own: Option<KeyDigest>,
    last: Reminder,
}

impl Presented {
    /// What these headers carry. That of one key alone: two are for the gate to refuse.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self {
            own: credential(headers).ok().and_then(KeyDigest::of_own),
            last: Reminder::default(),
        }
    }

    /// None of whatever is no single key of our own shape: keys of other shapes, two, or none at all.
    pub(super) fn own(&self) -> Option<KeyDigest> {
        self.own
    }

    /// Whose it was last.
    pub(super) fn last(&self) -> &Reminder {
        &self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{AdminKey, ApiKey};

    #[test]
    fn one_key_of_a_user_and_nothing_else_is_known() {
        let (user, admin) = (ApiKey::generate(), AdminKey::generate());
        let (own, bearer) = (user.reveal(), format!("Bearer {}", user.reveal()));
        let admins = format!("Bearer {}", admin.reveal());
        let mistyped = format!("Bearer {}!", user.reveal());
        for (list, is_known) in [
            (&[("authorization", &*bearer)][..], true),
            (&[("x-api-key", own)], true),
            (&[("authorization", &bearer), ("x-api-key", own)], false),
            (
                &[("authorization", &bearer), ("authorization", &bearer)],
                false,
            ),
            (&[("authorization", &admins)], false),
            (&[("authorization", &mistyped)], false),
            (&[("authorization", "Bearer sk-former-system")], false),
            (&[("authorization", own)], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in list {
                headers.append(*name, value.parse().unwrap());
            }
            let expected = is_known.then(|| user.digest());
            assert_eq!(Presented::of(&headers).own(), expected);
        }
    }
}
