//! Who fails again and again is started less and less often.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::child::{Child, End};
use super::{Owner, told};
use crate::layer::Failure;
use crate::rejection::Kind;

/// A child that lived so long did not fail at its start.
const LIVED: Duration = Duration::from_secs(60);

/// The longest rest.
const LONGEST: Duration = Duration::from_secs(60);

/// The failures of late.
#[derive(Default)]
pub(super) struct Crashes(HashMap<Owner, Fails>);

struct Fails {
    /// With other secrets it may do better.
    version: u64,
    count: u32,
    last: Instant,
    until: Instant,
    why: String,
}

impl Crashes {
    /// Whether a child of `owner` may be started now.
    ///
    /// # Errors
    /// It failed too often, and rests.
    pub(super) fn may_start(
        &self,
        owner: &Owner,
        version: u64,
        now: Instant,
    ) -> Result<(), Failure> {
        let fails = self.0.get(owner).filter(|fails| fails.version == version);
        let Some(fails) = fails.filter(|fails| now < fails.until) else {
            return Ok(());
        };
        let text = format!(
            "the process of the server `{}` failed {} times and is started again in {} s: {}",
            owner.server,
            fails.count,
            (fails.until - now).as_secs() + 1,
            fails.why
        );
        Err(told(Kind::ChildRests, text))
    }

    /// A child ended by itself: the first time it may be started again at once, then after 1 s, 2 s, 4 s
    /// and so on.
    pub(super) fn note(&mut self, child: &Child, end: &End, now: Instant) {
        let lived = now.duration_since(child.begun);
        self.count(&child.owner, child.version, &end.text, lived, now);
    }

    fn count(&mut self, owner: &Owner, version: u64, why: &str, lived: Duration, now: Instant) {
        let before = self.0.remove(owner).filter(|f| f.version == version);
        let before = before
            .filter(|_| lived < LIVED)
            .map_or(0, |fails| fails.count);
        let rest = match before {
            0 => Duration::ZERO,
            n => LONGEST.min(Duration::from_secs(1 << (n - 1).min(6))),
        };
        let fails = Fails {
            version,
            count: before + 1,
            last: now,
            until: now + rest,
            why: why.to_owned(),
        };
        self.0.insert(owner.clone(), fails);
    }

    /// Forgets those that were long ago.
    pub(super) fn forget(&mut self, now: Instant) {
        self.0
            .retain(|_, fails| now.duration_since(fails.last) < 2 * LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{ProfileName, ServerName};
    use crate::vault::UserId;

    #[test]
    fn who_fails_again_rests_longer_unless_something_changed() {
        let owner = Owner {
            user: UserId::from_hex(&crate::vault::random_id()).unwrap(),
            server: ServerName::parse("a").unwrap(),
            profile: ProfileName::default_profile(),
        };
        let mut crashes = Crashes::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        for rest in [0, 1, 2, 4, 8, 16, 32, 60, 60] {
            crashes.count(&owner, 1, "why", Duration::ZERO, now);
            let until = now + rest * second;
            assert!(crashes.may_start(&owner, 1, until).is_ok());
            if rest > 0 {
                let refused = crashes.may_start(&owner, 1, until - second / 2);
                assert!(
                    matches!(refused, Err(Failure::Told(Kind::ChildRests, text)) if text.contains("why"))
                );
            }
        }
        assert!(crashes.may_start(&owner, 2, now).is_ok(), "another secret");
        crashes.count(&owner, 1, "why", LIVED, now);
        assert!(crashes.may_start(&owner, 1, now).is_ok(), "it had lived");
        crashes.forget(now + 3 * LONGEST);
        assert!(crashes.0.is_empty());
    }
}
