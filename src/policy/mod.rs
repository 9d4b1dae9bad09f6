//! Which requests a known key may make. Pure: records in, a verdict out.
//!
//! `access` judges servers and tools; here is whether key and user stand, and who may act for whom.

mod access;

pub use access::{DefaultAccess, limits_tools, server_allowed, tool_allowed};

use crate::vault::{KeyRecord, UserRecord};

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

/// Whether `actor` may call in the name of the user `name`.
#[must_use]
pub fn acts_for(actor: &UserRecord, name: &str) -> bool {
    !actor.disabled && actor.acts_for.iter().any(|pattern| pattern.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(expires: Option<u64>, revoked: Option<u64>) -> KeyRecord {
        let json = serde_json::json!({"user": "0".repeat(32), "created": 0, "expires": expires, "revoked": revoked});
        serde_json::from_value(json).unwrap()
    }

    // Fails when a disabled actor, or a pattern that does not match, is let through.
    #[test]
    fn only_who_is_enabled_acts_and_only_for_whom_a_pattern_names() {
        let actor = |disabled: bool, acts_for: &[&str]| -> UserRecord {
            let json = serde_json::json!({
                "name": "bot", "created": 0, "disabled": disabled, "acts_for": acts_for
            });
            serde_json::from_value(json).unwrap()
        };
        assert!(acts_for(&actor(false, &["al*"]), "alice"));
        assert!(!acts_for(&actor(false, &["al*"]), "bob"));
        assert!(!acts_for(&actor(false, &[]), "bot"));
        assert!(!acts_for(&actor(true, &["*"]), "alice"));
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
