//! A sealed secret set as it is kept in memory, to be opened with every request.
//!
//! As the store has it, it takes two openings: of its own key, with that of its server, and then of the set. When it
//! is opened a second time, whoever does seals it anew, for the same record and with a key of his own that is nowhere
//! but in his memory; from then on it takes him one. Nothing stays in plain text for it, and who could read that key
//! could read the server's beside it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::envelope::{OpenError, SecretOpener};
use super::secret::SecretSet;
use crate::store::Record;

/// A sealed secret set that is kept.
pub struct KeptSet {
    record: Record,
    again: Mutex<Again>,
}

/// What is known of how often it was opened.
enum Again {
    Never,
    Once,
    /// As whoever opened it last sealed it.
    Sealed(Arc<[u8]>),
}

impl From<Record> for KeptSet {
    fn from(record: Record) -> Self {
        Self {
            record,
            again: Mutex::new(Again::Never),
        }
    }
}

impl KeptSet {
    /// The record, as the store has it.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What whoever opened it last sealed.
    fn sealed(&self) -> Option<Arc<[u8]>> {
        match &*self.again() {
            Again::Sealed(sealed) => Some(sealed.clone()),
            Again::Never | Again::Once => None,
        }
    }

    /// Notes that it was opened, and says whether it was before.
    fn was_opened(&self) -> bool {
        let mut again = self.again();
        let is_first = matches!(*again, Again::Never);
        if is_first {
            *again = Again::Once;
        }
        !is_first
    }

    /// Puts what `seal` makes in the place of `tried`, unless somebody else was sooner. Nobody waits while it is made.
    fn replace(&self, tried: Option<&Arc<[u8]>>, seal: impl FnOnce() -> Arc<[u8]>) {
        let is_there = |again: &Again| match (again, tried) {
            (Again::Sealed(sealed), Some(tried)) => Arc::ptr_eq(sealed, tried),
            (Again::Sealed(_), None) => false,
            (Again::Never | Again::Once, _) => true,
        };
        if !is_there(&self.again()) {
            return;
        }
        let sealed = seal();
        let mut again = self.again();
        if is_there(&again) {
            *again = Again::Sealed(sealed);
        }
    }

    fn again(&self) -> MutexGuard<'_, Again> {
        self.again.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SecretOpener {
    /// As [`SecretOpener::open`], with less work from the third time on.
    ///
    /// # Errors
    /// As [`SecretOpener::open`].
    pub fn open_kept(&self, kept: &KeptSet) -> Result<SecretSet, OpenError> {
        let record = &kept.record;
        let sealed = kept.sealed();
        if let Some(sealed) = &sealed
            && let Some(set) = self.open_own(record, sealed)
        {
            return Ok(set);
        }
        // Sealed by another, if at all: also by who stood in the place of this opener before.
        let set = self.open(record)?;
        if kept.was_opened() {
            kept.replace(sealed.as_ref(), || self.seal_own(record, &set).into());
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::super::envelope::seal_secrets;
    use super::*;
    use crate::names::{SecretName, ServerName};
    use crate::store::RecordId;
    use crate::vault::{Keyring, SecretValue};

    fn server() -> ServerName {
        ServerName::parse("github").unwrap()
    }

    fn kept(ring: &Keyring, id: &str, version: u64, value: &[u8]) -> KeptSet {
        let value = SecretValue::new(Zeroizing::new(value.to_vec()));
        let name = SecretName::parse("TOKEN").unwrap();
        let set = SecretSet::empty().with(&name, value.ok().as_ref());
        let id = RecordId::parse(id).unwrap();
        seal_secrets(ring, &server(), &id, version, &set)
            .unwrap()
            .into()
    }

    fn opened(opener: &SecretOpener, kept: &KeptSet) -> Option<Vec<u8>> {
        let set = opener.open_kept(kept).ok()?;
        set.expose(&SecretName::parse("TOKEN").unwrap())
            .map(<[u8]>::to_vec)
    }

    // Fails when it is sealed anew for nobody, with the key of another, or with every opening.
    #[test]
    fn it_opens_every_time_and_for_everybody_who_may() {
        let ring = Keyring::generate();
        let opener = || SecretOpener::new(&ring, &server()).unwrap();
        let (first, second) = (opener(), opener());
        let kept = kept(&ring, "s/aa/bb", 7, b"alices");
        assert!(first.open_own(kept.record(), &[]).is_none());
        for (time, opener) in [&first, &first, &first, &second, &second, &first]
            .into_iter()
            .enumerate()
        {
            assert_eq!(opened(opener, &kept).as_deref(), Some(&b"alices"[..]));
            let sealed = kept.sealed();
            assert_eq!(sealed.is_some(), time > 0);
            let Some(sealed) = sealed else { continue };
            assert!(opener.open_own(kept.record(), &sealed).is_some());
            assert!(!sealed.windows(6).any(|plain| plain == b"alices"));
            // Once for each in turn, and not again.
            assert_eq!(opened(opener, &kept).as_deref(), Some(&b"alices"[..]));
            let same = kept.sealed().is_some_and(|now| Arc::ptr_eq(&now, &sealed));
            assert!(same);
        }
        let other = SecretOpener::new(&ring, &ServerName::parse("jira").unwrap()).unwrap();
        let foreign = SecretOpener::new(&Keyring::generate(), &server()).unwrap();
        for opener in [other, foreign] {
            assert!(opener.open_kept(&kept).is_err());
        }
        assert!(opened(&first, &kept).is_some());
    }

    // Fails when what is sealed anew is not sealed for its record, or is believed whatever it is.
    #[test]
    fn what_was_sealed_anew_opens_for_its_record_alone() {
        let ring = Keyring::generate();
        let opener = SecretOpener::new(&ring, &server()).unwrap();
        let alices = kept(&ring, "s/aa/bb", 7, b"alices");
        for _ in 0..2 {
            opened(&opener, &alices).unwrap();
        }
        let sealed = alices.sealed().unwrap();
        for (id, version) in [("s/aa/bc", 7), ("s/aa/bb", 8)] {
            let bobs = kept(&ring, id, version, b"bobs");
            *bobs.again() = Again::Sealed(sealed.clone());
            assert_eq!(opened(&opener, &bobs).as_deref(), Some(&b"bobs"[..]));
        }
        let mut damaged = sealed.to_vec();
        damaged[20] ^= 1;
        *alices.again() = Again::Sealed(damaged.into());
        assert_eq!(opened(&opener, &alices).as_deref(), Some(&b"alices"[..]));
        // And sealed anew once more.
        assert_ne!(alices.sealed(), Some(sealed));
    }
}
