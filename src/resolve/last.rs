//! Whose a key was when it came last, and whether that still is so: for who asks with the same key again and again.
//!
//! An identity is what some records say. It is right for as long as each of them is in the cache, as it was read, and
//! may be served as it is; and whatever leaves the cache, changed or not, is outdated from then on ([`Entry`]). So
//! nothing has to be looked up to tell that nothing changed, and no change is heard of later than by looking.
//!
//! [`Entry`]: super::entry::Entry

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::freshness::Verdict;
use super::identity::Credential;
use super::inner::Inner;
use super::{Identity, ResolveError, Resolver};
use crate::identity::KeyDigest;
use crate::sys::recently;

/// How long it counts: after that the records are looked up again, or the cache would take them for unused and make
/// room in their place.
const COUNTS: Duration = Duration::from_secs(1);

/// Whose a key was when it came last, if it came. No `Debug`: a user is in it.
#[derive(Default)]
pub struct Last(Mutex<Option<Known>>);

struct Known {
    identity: Identity,
    /// Who said so: another resolver has other records.
    by: Weak<Inner>,
    since: Instant,
}

impl Resolver {
    /// As [`Resolver::identify`], where `last` is what that said last, or of another key.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn identify_again(
        &self,
        digest: KeyDigest,
        wants: Option<(&str, &str)>,
        last: &Last,
    ) -> Result<Identity, ResolveError> {
        if let Some(identity) = self.known(&digest, last) {
            return Ok(identity);
        }
        let since = recently();
        let identity = self.identify(digest, wants).await?;
        let known = Known {
            identity: identity.clone(),
            by: Arc::downgrade(&self.0),
            since,
        };
        *last.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(identity)
    }

    /// Whose a key was last, if nothing changed since.
    pub(super) fn known(&self, digest: &KeyDigest, last: &Last) -> Option<Identity> {
        let inner = &self.0;
        let last = last.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Known {
            identity,
            by,
            since,
        } = last.as_ref()?;
        let same = matches!(identity.credential(), Credential::Issued(known) if known == digest)
            && std::ptr::eq(by.as_ptr(), &raw const **inner);
        let young = recently().saturating_duration_since(*since) < COUNTS;
        if !same || !young || !inner.still_so(identity) {
            return None;
        }
        Some(identity.clone())
    }
}

impl Inner {
    /// Whether all that an identity is made of may still be served as it is.
    pub(super) fn still_so(&self, identity: &Identity) -> bool {
        let entries = identity.entries();
        let may_be = |entry: &super::entry::Entry| {
            !entry.is_outdated() && self.freshness.judge(entry.stamp) == Verdict::Fresh
        };
        let still = entries.iter().all(|held| may_be(&held.entry));
        if still {
            entries.iter().for_each(|_| self.counts.hits.add());
        }
        still
    }
}
