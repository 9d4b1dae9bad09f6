//! Whose a key was when it came last, and whether that still is so: for who asks with the same key again and again.
//!
//! An identity is what some records say. It is right for as long as each of them is in the cache, as it was read, and
//! may be served as it is; and whatever was there and leaves the cache, changed or not, is outdated from then on
//! ([`Entry`]). So nothing has to be looked up to tell that nothing changed, and no change is heard of later than by
//! looking.
//!
//! [`Entry`]: super::entry::Entry

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::identity::Credential;
use super::inner::Inner;
use super::{Identity, ResolveError, Resolver};
use crate::identity::KeyDigest;
use crate::sys::Tick;

/// How long it counts: after that the records are looked up again, or the cache would take them for unused and make
/// room in their place.
const COUNTS: Duration = Duration::from_secs(1);

/// What the records may weigh of whom one is reminded: they are held besides the cache, for as long as there is
/// nothing newer.
const LIGHT: u64 = 32 << 10;

/// Whose a key was when it came last, if it came. No `Debug`: a user is in it.
#[derive(Default)]
pub(crate) struct Reminder(Mutex<Option<Known>>);

struct Known {
    identity: Identity,
    /// The number of who said so: another resolver has other records.
    by: u64,
    since: Tick,
}

impl Reminder {
    fn lock(&self) -> MutexGuard<'_, Option<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolver {
    /// As [`Resolver::identify`], where `last` reminds of what that said last, of this key or another.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub(crate) async fn identify_again(
        &self,
        digest: KeyDigest,
        wants: Option<(&str, &str)>,
        last: &Reminder,
    ) -> Result<Identity, ResolveError> {
        if let Some(identity) = self.known(&digest, last) {
            return Ok(identity);
        }
        let since = Tick::last();
        let identity = self.identify(digest, wants).await?;
        let weight = identity.entries().iter().map(|held| held.entry.weight());
        *last.lock() = (weight.sum::<u64>() <= LIGHT).then(|| Known {
            identity: identity.clone(),
            by: self.0.number,
            since,
        });
        Ok(identity)
    }

    /// Whose a key was last, if nothing changed since.
    pub(super) fn known(&self, digest: &KeyDigest, last: &Reminder) -> Option<Identity> {
        let inner = &self.0;
        let last = last.lock();
        let known = last.as_ref()?;
        let of_this =
            matches!(known.identity.credential(), Credential::Issued(other) if other == digest);
        let counts = Tick::last().since(known.since) < COUNTS;
        let is_so =
            of_this && known.by == inner.number && counts && inner.still_so(&known.identity);
        is_so.then(|| known.identity.clone())
    }
}

impl Inner {
    /// Whether all that an identity is made of may still be served as it is.
    pub(super) fn still_so(&self, identity: &Identity) -> bool {
        let entries = identity.entries();
        let still = entries.iter().all(|held| self.is_fresh(&held.entry));
        if still {
            // As many as were looked up otherwise.
            entries.iter().for_each(|_| self.counts.hits.add());
        }
        still
    }
}
