//! An event as it waits to be written.

use std::cell::Cell;
use std::time::SystemTime;

use super::event::{Admin, End, Event, Start};
use super::members;
use crate::sys;

/// Bytes for which a thread keeps room: a usual record's, and more.
const ROOM: usize = 4 << 10;

thread_local! {
    /// Room for the next record of this thread.
    static SPACE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What is to be written of an event, and when it happened. Put down by who was there, from what he has, in room of
/// his own: whoever is to write it has a copy.
pub struct Record {
    pub(super) at: SystemTime,
    /// By [`members::put_down`].
    pub(super) packed: Vec<u8>,
}

impl From<Event<'_>> for Record {
    /// It happens now.
    fn from(event: Event<'_>) -> Self {
        let mut packed = SPACE.take();
        members::put_down(&event, &mut packed);
        Self {
            at: sys::wall(),
            packed,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let mut space = std::mem::take(&mut self.packed);
        if space.capacity() <= ROOM {
            space.clear();
            // Where the thread ends, so does its room.
            let _ = SPACE.try_with(|last| last.set(space));
        }
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

#[cfg(test)]
impl Record {
    /// That of the end of a request of which there is nothing to be told.
    pub(super) fn of_end(request: u64) -> Self {
        let end = End {
            request,
            status: None,
            rejection: None,
            bytes_out: 0,
            duration_us: 0,
            complete: true,
        };
        end.into()
    }
}
