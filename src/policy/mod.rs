//! Which requests a known key may make. Pure: records in, a verdict out.
//!
//! Today: whether key and user stand. Access to servers and tools, rates and quotas will be judged
//! here too.

use crate::vault::KeyRecord;

/// Why a known key is refused. Its holder is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Its time is over.
    KeyExpired,
    /// It was revoked.
    KeyRevoked,
    /// Its user is disabled.
    UserDisabled,
}

/// Whether a key stands at `now` (unix seconds).
///
/// # Errors
/// Why it does not.
pub fn standing(key: &KeyRecord, user_disabled: bool, now: u64) -> Result<(), Denied> {
    if key.revoked.is_some() {
        return Err(Denied::KeyRevoked);
    }
    if user_disabled {
        return Err(Denied::UserDisabled);
    }
    match key.expires {
        Some(expires) if now >= expires => Err(Denied::KeyExpired),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(expires: Option<u64>, revoked: Option<u64>) -> KeyRecord {
        let json = serde_json::json!({"user": "0".repeat(32), "created": 0, "expires": expires, "revoked": revoked});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_key_stands_until_it_expires_is_revoked_or_its_user_is_disabled() {
        assert_eq!(standing(&key(None, None), false, u64::MAX), Ok(()));
        assert_eq!(standing(&key(Some(10), None), false, 9), Ok(()));
        assert_eq!(
            standing(&key(Some(10), None), false, 10),
            Err(Denied::KeyExpired)
        );
        assert_eq!(
            standing(&key(None, Some(5)), false, 0),
            Err(Denied::KeyRevoked)
        );
        assert_eq!(
            standing(&key(None, None), true, 0),
            Err(Denied::UserDisabled)
        );
    }
}
