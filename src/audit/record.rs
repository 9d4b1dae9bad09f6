//! An event as it waits to be written.

use std::cell::RefCell;
use std::time::SystemTime;

use bytes::Bytes;

use super::event::{Admin, End, Event, Start};
use super::members;

/// An event as it is written, but for its place in a chain, and when it happened. Cheap to clone: each sink
/// gets one. Made by who was there, from what he has: nothing of it is kept or freed elsewhere.
#[derive(Clone)]
pub struct Record {
    pub(super) at: SystemTime,
    pub(super) members: Bytes,
}

impl From<Event<'_>> for Record {
    /// It happens now.
    fn from(event: Event<'_>) -> Self {
        thread_local! {
            static SPACE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        SPACE.with_borrow_mut(|space| {
            space.clear();
            members::event(&event, space);
            Self {
                at: SystemTime::now(),
                members: Bytes::copy_from_slice(space),
            }
        })
    }
}

impl From<Start<'_>> for Record {
    fn from(start: Start<'_>) -> Self {
        Event::Start(start).into()
    }
}

impl From<End> for Record {
    fn from(end: End) -> Self {
        Event::End(end).into()
    }
}

impl From<Admin> for Record {
    fn from(admin: Admin) -> Self {
        Event::Admin(admin).into()
    }
}
