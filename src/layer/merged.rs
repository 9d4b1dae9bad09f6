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

/// Entries whose answers have all ended are looked for when there are so many, and twice as many as
/// were left the last time: the requests of many open streams must not each go through all of them.
const SWEEP: usize = 1024;

type Holder = (UserId, ServerName, ProfileName);

/// The names, by whose they are.
#[derive(Default)]
pub(super) struct Merged(Mutex<All>);

#[derive(Default)]
struct All {
    held: HashMap<Holder, Weak<Names>>,
    /// How many there were after the last sweep.
    swept: usize,
}

/// The names of one user, server and profile.
#[derive(Default)]
pub(super) struct Names(Mutex<Vec<String>>);

impl Merged {
    /// The names as they are now, to be shared with the answers under way.
    pub(super) fn now(&self, holding: &Holding, server: &ServerName, now: &[String]) -> Arc<Names> {
        let holder = (holding.user, server.clone(), holding.profile.clone());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.held.get(&holder).and_then(Weak::upgrade);
        let names = known.unwrap_or_else(|| all.add(holder));
        *names.0.lock().unwrap_or_else(PoisonError::into_inner) = now.to_vec();
        names
    }
}

impl All {
    fn add(&mut self, holder: Holder) -> Arc<Names> {
        if self.held.len() >= SWEEP.max(2 * self.swept) {
            self.held.retain(|_, names| names.strong_count() > 0);
            self.swept = self.held.len();
        }
        let names = Arc::new(Names::default());
        self.held.insert(holder, Arc::downgrade(&names));
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
