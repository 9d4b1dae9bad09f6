//! The names of secrets that are arguments under their own name (`arguments = "*"`).
//!
//! They are to be hidden from tool lists, also from those on a stream that was opened before one of
//! them was set. So all answers under way to one user, server and profile share the names, and every
//! request that unseals his secrets brings them up to date.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::call::Holding;
use crate::names::{ProfileName, ServerName};
use crate::vault::UserId;

/// Entries whose answers have all ended are looked for when there are so many.
const SWEEP: usize = 1024;

type Holder = (UserId, ServerName, ProfileName);

/// The names, by whose they are.
#[derive(Default)]
pub(super) struct Merged(Mutex<HashMap<Holder, Weak<Names>>>);

/// The names of one user, server and profile.
#[derive(Default)]
pub(super) struct Names(Mutex<Vec<String>>);

impl Merged {
    /// The names as they are now, to be shared with the answers under way.
    pub(super) fn now(&self, holding: &Holding, server: &ServerName, now: &[String]) -> Arc<Names> {
        let holder = (holding.user, server.clone(), holding.profile.clone());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SWEEP {
            all.retain(|_, names| names.strong_count() > 0);
        }
        let known = all.get(&holder).and_then(Weak::upgrade);
        let names = known.unwrap_or_else(|| {
            let names = Arc::new(Names::default());
            all.insert(holder, Arc::downgrade(&names));
            names
        });
        *names.0.lock().unwrap_or_else(PoisonError::into_inner) = now.to_vec();
        names
    }
}

impl Names {
    /// Whether one of them `is` so.
    pub(super) fn any(&self, is: impl Fn(&str) -> bool) -> bool {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().any(|name| is(name))
    }
}
