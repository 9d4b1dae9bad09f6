//! What a file holds, counted for the audit trail before any of it is done.

use std::collections::BTreeSet;

use super::{ImportArgs, Kind};
use crate::audit::{Act, Deed};
use crate::moving::Draft;
use crate::names::GroupName;

/// Counts of what is to be done.
#[derive(Default)]
pub(super) struct Planned {
    users: u64,
    keys: u64,
    groups: BTreeSet<GroupName>,
    /// Whether somebody is to call in others' names.
    acts_for: bool,
}

impl Planned {
    pub(super) fn of(drafts: &[Draft]) -> Self {
        let mut planned = Self::default();
        drafts.iter().for_each(|draft| planned.user(draft));
        planned
    }

    pub(super) fn user(&mut self, draft: &Draft) {
        self.users += 1;
        self.keys += draft.keys.len() as u64 + u64::from(draft.issue.is_some());
        self.groups.extend(draft.groups.iter().cloned());
        self.acts_for |= !draft.acts_for.is_empty();
    }

    pub(super) fn group(&mut self, name: &GroupName) {
        self.groups.insert(name.clone());
    }

    /// For the trail: whoever has a key that comes in, or is made, can call as its user.
    pub(super) fn deed(&self, args: &ImportArgs, kind: Kind) -> Deed {
        let file = args.file.file_name().unwrap_or(args.file.as_os_str());
        Deed::new(Act::Import, file.display())
            .with("from", kind.name())
            .with("users", self.users)
            .with("keys", self.keys)
            .with("groups", self.groups.len())
            .with("merge", args.merge)
            .with("overwrite_secrets", args.overwrite_secrets)
            .impersonating(self.keys > 0 || self.acts_for)
    }
}
