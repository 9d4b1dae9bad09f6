//! epoll, level-triggered: one read per event is enough, since what is left is reported again.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{Timespec, epoll};

const EVENTS: usize = 1024;

/// What happened to which descriptor.
#[derive(Clone, Copy)]
pub struct Event {
    /// What `add` was told.
    pub token: u64,
    /// Reading makes progress: there are bytes, an end or an error.
    pub readable: bool,
    /// Writing makes progress.
    pub writable: bool,
}

/// A set of descriptors to wait for.
pub struct Poll {
    epoll: OwnedFd,
    found: Vec<epoll::Event>,
}

impl Poll {
    /// An empty set. Waits end on time: the kernel may not round this thread's timers up by 50 µs, which
    /// would be counted as latency.
    pub fn new() -> io::Result<Self> {
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            found: Vec::with_capacity(EVENTS),
        })
    }

    /// Waits for bytes on `source` from now on.
    pub fn add(&self, source: impl AsFd, token: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(
            &self.epoll,
            source,
            data,
            epoll::EventFlags::IN,
        )?)
    }

    /// Changes what `source` is waited for.
    pub fn set(&self, source: impl AsFd, token: u64, read: bool, write: bool) -> io::Result<()> {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, read);
        flags.set(epoll::EventFlags::OUT, write);
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::modify(&self.epoll, source, data, flags)?)
    }

    /// Waits until something happens, or for `nanos` nanoseconds; `None` waits for ever.
    pub fn wait(&mut self, nanos: Option<u64>) -> io::Result<usize> {
        let limit = nanos.map(|nanos| Timespec {
            tv_sec: (nanos / 1_000_000_000) as i64,
            tv_nsec: (nanos % 1_000_000_000) as i64,
        });
        self.found.clear();
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut self.found),
            limit.as_ref(),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(self.found.len()),
            Err(error) => Err(error.into()),
        }
    }

    /// The event of that index, of those the last `wait` found.
    pub fn event(&self, index: usize) -> Event {
        let event = self.found[index];
        // A copy, since the kernel's struct is packed.
        let flags = event.flags;
        let ended = epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        Event {
            token: event.data.u64(),
            readable: flags.intersects(epoll::EventFlags::IN | ended),
            writable: flags.intersects(epoll::EventFlags::OUT | ended),
        }
    }
}
