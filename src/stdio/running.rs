//! The children that run, and room for one more.

use std::sync::Arc;

use super::child::{Child, Stop};
use super::settings::Limits;
use super::{Owner, told};
use crate::layer::Failure;
use crate::rejection::Kind;
use crate::vault::UserId;

/// The children that run, and those that are being started.
#[derive(Default)]
pub(super) struct Running {
    children: Vec<Arc<Child>>,
    /// By user.
    starting: Vec<UserId>,
}

impl Running {
    /// All of them, also those that were told to stop.
    pub(super) fn all(&self) -> &[Arc<Child>] {
        &self.children
    }

    /// Those that take requests.
    pub(super) fn open(&self) -> impl Iterator<Item = &Arc<Child>> {
        self.children.iter().filter(|child| child.is_open())
    }

    /// A child runs.
    pub(super) fn add(&mut self, child: Arc<Child>) {
        self.children.push(child);
    }

    /// A child has ended.
    pub(super) fn remove(&mut self, child: &Arc<Child>) {
        self.children.retain(|other| !Arc::ptr_eq(other, child));
    }

    /// One of this user's children is being started.
    pub(super) fn starts(&mut self, user: UserId) {
        self.starting.push(user);
    }

    /// It was, or could not be.
    pub(super) fn started(&mut self, user: UserId) {
        let at = self.starting.iter().position(|other| *other == user);
        if let Some(at) = at {
            self.starting.swap_remove(at);
        }
    }

    /// Whether one more fits without anybody's sleep.
    pub(super) fn has_room(&self, user: &UserId, limits: Limits) -> bool {
        let (of_user, in_all) = self.count(user);
        of_user < limits.user_children && in_all < limits.children
    }

    /// Makes room for one more: whoever was idle longest sleeps for it, first of the same user.
    ///
    /// # Errors
    /// All are at work.
    pub(super) fn make_room(&self, owner: &Owner, limits: Limits) -> Result<(), Failure> {
        let (of_user, in_all) = self.count(&owner.user);
        // Those that were told to stop take their time, and their memory.
        let own = |child: &&Arc<Child>| child.owner.user == owner.user;
        let with_ending = self.children.iter().filter(own).count();
        if with_ending >= 2 * limits.user_children || self.children.len() >= 2 * limits.children {
            let text = "too many processes of servers are still ending: try again in a moment";
            return Err(told(Kind::TooManyChildren, text.to_owned()));
        }
        if of_user >= limits.user_children {
            if self.put_to_sleep(|child| child.owner.user == owner.user) {
                return Ok(());
            }
            let text = format!(
                "you have {of_user} processes of servers at work, the operator's `limits.user_children`: \
                 wait for an answer before you use the server `{}`",
                owner.server
            );
            return Err(told(Kind::TooManyChildren, text));
        }
        if in_all >= limits.children && !self.put_to_sleep(|_| true) {
            let text = format!(
                "{in_all} processes of servers are at work, the operator's `limits.children`: try again \
                 in a moment"
            );
            return Err(told(Kind::TooManyChildren, text));
        }
        Ok(())
    }

    /// How many there are of one user, and in all.
    fn count(&self, user: &UserId) -> (usize, usize) {
        let starting = self.starting.iter().filter(|other| *other == user).count();
        let own = self
            .open()
            .filter(|child| child.owner.user == *user)
            .count();
        (own + starting, self.open().count() + self.starting.len())
    }

    /// Stops the child that was idle longest of those `which` says; whether there was one.
    fn put_to_sleep(&self, which: impl Fn(&Child) -> bool) -> bool {
        // Who is never to sleep sleeps for nobody; but one that was started ahead knows nothing yet.
        let may = |child: &Child| child.settings.sleep.is_some() || child.mailbox().is_none();
        let mut idle: Vec<_> = self
            .open()
            .filter(|child| which(child) && may(child) && child.is_idle())
            .collect();
        idle.sort_by_key(|child| child.used());
        let slept = idle.into_iter().find(|child| child.close_if_idle());
        if let Some(child) = slept {
            child.stop(Stop::Gently);
        }
        slept.is_some()
    }
}
