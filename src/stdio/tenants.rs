//! Who is known: all tenants, and those of each user.

use std::collections::HashMap;
use std::sync::Arc;

use super::tenant::{Place, Tenant};
use crate::vault::UserId;

/// Sessions a user may have, asleep or awake; the one unused for longest is forgotten for one more.
const USER_SESSIONS: usize = 128;

/// All tenants.
#[derive(Default)]
pub(super) struct Tenants {
    all: HashMap<Place, Arc<Tenant>>,
    of_users: HashMap<UserId, Vec<Arc<Tenant>>>,
}

impl Tenants {
    /// The one at `place`.
    pub(super) fn get(&self, place: &Place) -> Option<&Arc<Tenant>> {
        self.all.get(place)
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Tenant>> {
        self.all.values().cloned().collect()
    }

    /// Those of one user.
    pub(super) fn of_user(&self, user: &UserId) -> &[Arc<Tenant>] {
        self.of_users.get(user).map_or(&[], Vec::as_slice)
    }

    /// One more, at a place where there is none. Gives those who are forgotten for it, so that there are
    /// no more than `most`: of the user who has too many, else of all who sleep, those unused longest.
    pub(super) fn add(&mut self, tenant: &Arc<Tenant>, most: usize) -> Vec<Arc<Tenant>> {
        let user = tenant.place.owner.user;
        self.all.insert(tenant.place.clone(), tenant.clone());
        let own = self.of_users.entry(user).or_default();
        own.push(tenant.clone());
        let surplus = if own.len() > USER_SESSIONS {
            longest_unused(own.iter(), 1)
        } else if self.all.len() > most {
            let others = self.all.values().filter(|t| !Arc::ptr_eq(t, tenant));
            // Some more at once, for it takes a look at all.
            let surplus = self.all.len() - most + most / 64;
            longest_unused(others.filter(|t| t.glance().child.is_none()), surplus)
        } else {
            Vec::new()
        };
        for tenant in &surplus {
            self.remove(tenant);
        }
        surplus
    }

    /// This one is not known any more.
    pub(super) fn remove(&mut self, tenant: &Tenant) {
        let is_it = |other: &Arc<Tenant>| std::ptr::eq(&**other, tenant);
        if self.get(&tenant.place).is_some_and(is_it) {
            self.all.remove(&tenant.place);
        }
        let user = &tenant.place.owner.user;
        if let Some(own) = self.of_users.get_mut(user) {
            own.retain(|other| !is_it(other));
            if own.is_empty() {
                self.of_users.remove(user);
            }
        }
    }
}

/// So many of `tenants`, those that were not used for longest.
fn longest_unused<'t>(
    tenants: impl Iterator<Item = &'t Arc<Tenant>>,
    many: usize,
) -> Vec<Arc<Tenant>> {
    let mut all: Vec<_> = tenants
        .map(|tenant| (tenant.glance().used, tenant))
        .collect();
    all.sort_unstable_by_key(|(used, _)| *used);
    let first = all.into_iter().take(many);
    first.map(|(_, tenant)| tenant.clone()).collect()
}
