//! Denials stick: an older state of a record takes back nothing that a newer one denied.
//!
//! After a fail-over to a copy that missed a revocation, the store itself has lost it. Whoever once
//! read the newer state still has it in the cache, and believes that: [`believed`]. A state newer
//! than a revocation always counts, so a user who is enabled again is. What an older state lost besides
//! (a secret, say) is not made up for: nobody who was allowed is stopped.
//!
//! Gone stays gone, whatever the version. Ids of users and digests of keys are random and never used
//! again, so a record that was seen and then was not comes back only from an earlier state; and there
//! its version tells nothing, since whatever writes it again (a rotation of keys does so to all) makes it
//! newer than all that was ever seen. Who puts an earlier state back on purpose (`store restore` after
//! a loss) restarts the proxies. A user deleted and added again has another id, and other keys.
//!
//! A denial is known for as long as its entry is cached, and not after a restart. Also a record that
//! is gone has its place among those that are there, so that guesses push out no denial.

use super::entry::{Content, Entry};

/// What is to be believed of a record that was `known` when it was read again.
pub(super) fn believed(mut read: Entry, known: Option<&Entry>) -> Entry {
    let Some(known) = known else {
        return read;
    };
    read.seen = read.seen.max(known.seen);
    if sticks(&read, known) {
        read.content = known.content.clone();
        read.version = known.version;
        read.kept = true;
    }
    read
}

fn sticks(read: &Entry, known: &Entry) -> bool {
    match (&read.content, &known.content) {
        _ if !denies(known) => false,
        // That denies as well.
        (Content::Absent, _) => false,
        // Nobody vouches for the version of what does not open.
        (Content::Unreadable(_), _) => true,
        // Nobody is ever given this id again.
        (_, Content::Absent) => true,
        _ => read.version < known.version,
    }
}

/// Whether this state of a record lets nobody in, whatever the time.
fn denies(known: &Entry) -> bool {
    match &known.content {
        Content::Key(key) => key.revoked.is_some(),
        Content::User(user) => user.record.disabled,
        Content::Absent => known.seen.is_some(),
        Content::Group(_) | Content::Name(_) | Content::Secrets(_) | Content::Unreadable(_) => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::freshness::Stamp;
    use super::*;
    use crate::vault::OpenError;

    const STAMP: Stamp = Stamp {
        epoch: 1,
        checked: Duration::ZERO,
    };

    fn key(version: u64, revoked: bool) -> Entry {
        let revoked = revoked.then_some(7);
        let json = serde_json::json!({"user": "0".repeat(32), "created": 0, "revoked": revoked});
        let record: crate::vault::KeyRecord = serde_json::from_value(json).unwrap();
        Entry::new(Content::Key(record.into()), Some(version), STAMP)
    }

    fn absent() -> Entry {
        Entry::new(Content::Absent, None, STAMP)
    }

    fn unreadable() -> Entry {
        Entry::new(Content::Unreadable(OpenError::Form), None, STAMP)
    }

    /// What is believed after all these were read, one after the other.
    fn after(read: impl IntoIterator<Item = Entry>) -> Entry {
        let mut read = read.into_iter();
        let first = read.next().unwrap();
        read.fold(first, |known, read| believed(read, Some(&known)))
    }

    fn stands(entry: &Entry) -> bool {
        matches!(&entry.content, Content::Key(key) if key.revoked.is_none())
    }

    // Fails when `sticks` is always false, or when a later version brings back what is gone.
    #[test]
    fn an_older_state_takes_back_no_denial() {
        for read in [
            vec![key(5, true), key(4, false)],
            vec![key(5, true), key(4, false), key(3, false)],
            vec![key(5, true), unreadable(), key(4, false)],
            vec![key(5, true), absent(), key(5, false)],
            vec![key(5, false), absent(), key(5, false)],
            // Sealed again, as by a rotation after the deletion was lost.
            vec![key(5, false), absent(), key(6, false)],
            vec![key(5, true), absent(), key(6, false)],
            vec![key(5, false), absent(), key(6, false), key(7, false)],
            vec![key(5, false), absent(), unreadable(), key(6, false)],
            vec![key(5, false), key(4, false), absent(), key(5, false)],
            vec![key(5, false), unreadable(), absent(), key(4, false)],
            vec![
                key(5, false),
                absent(),
                unreadable(),
                absent(),
                key(4, false),
            ],
        ] {
            let told = after(read);
            assert!(!stands(&told));
        }
    }

    // Fails when `sticks` is always true for what denies, or what was never seen counts as gone.
    #[test]
    fn a_newer_state_always_counts_and_so_does_an_older_one_of_who_was_allowed() {
        for read in [
            vec![key(5, true), key(6, false)],
            vec![key(5, false), key(4, false)],
            vec![absent(), key(1, false)],
            vec![unreadable(), key(1, false)],
            // Allowed again where the later state was lost: newer than what denied is enough.
            vec![key(9, false), key(5, true), key(6, false)],
        ] {
            assert!(stands(&after(read)));
        }
    }

    #[test]
    fn what_denies_as_well_is_believed() {
        assert!(matches!(
            after([key(5, true), absent()]).content,
            Content::Absent
        ));
        let older = after([key(5, false), key(4, true)]);
        assert!(matches!(&older.content, Content::Key(key) if key.revoked.is_some()));
        assert!(!older.kept && after([key(5, true), key(4, false)]).kept);
    }
}
