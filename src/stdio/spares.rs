//! Children that were started ahead (`prewarm`): one for each user of a server, who finds it ready.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Owner;
use super::child::{Child, Stop};
use super::settings::Settings;

/// How long one waits where children never sleep.
const WAITING: Duration = Duration::from_secs(5 * 60);

/// Children nobody has spoken to yet.
#[derive(Default)]
pub(super) struct Spares(HashMap<Owner, Arc<Child>>);

impl Spares {
    /// The one that was started as it would be now.
    pub(super) fn take(
        &mut self,
        owner: &Owner,
        settings: &Arc<Settings>,
        version: u64,
    ) -> Option<Arc<Child>> {
        let spare = self.0.remove(owner)?;
        let fits = spare.settings == *settings && spare.version == version;
        if fits && spare.is_open() {
            return Some(spare);
        }
        spare.stop(Stop::Gently);
        None
    }

    /// Whether there is one.
    pub(super) fn has(&self, owner: &Owner) -> bool {
        self.0.get(owner).is_some_and(|spare| spare.is_open())
    }

    /// Keeps a child for later.
    pub(super) fn keep(&mut self, spare: Arc<Child>) {
        let before = self.0.insert(spare.owner.clone(), spare);
        if let Some(before) = before {
            before.stop(Stop::Gently);
        }
    }

    /// Stops this one, if it still waits.
    pub(super) fn discard(&mut self, child: &Arc<Child>) {
        let waits = self.0.get(&child.owner);
        if waits.is_some_and(|spare| Arc::ptr_eq(spare, child)) {
            self.0.remove(&child.owner);
            child.stop(Stop::Now);
        }
    }

    /// Stops those that waited as long as a child may be idle.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.stop_where(Stop::Gently, |_, spare| {
            // Nothing is lost with it, also where children are never to sleep.
            let sleep = spare.settings.sleep.unwrap_or(WAITING);
            !spare.is_open() || now.duration_since(spare.begun) >= sleep
        });
    }

    /// Stops those that `which` says.
    pub(super) fn stop_where(&mut self, how: Stop, which: impl Fn(&Owner, &Child) -> bool) {
        for (_, spare) in self.0.extract_if(|owner, spare| which(owner, spare)) {
            spare.stop(how);
        }
    }
}
