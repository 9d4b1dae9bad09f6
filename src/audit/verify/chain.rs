//! Whether one record after another belongs to its chain.
//!
//! After a record that is wrong checking goes on by what it claims to be: one mistake is one finding, and
//! what comes after it is judged again. That lets nothing pass: whoever has no key makes no tag, and every
//! way to go on begins with a finding.

use super::super::line::{Head, Line, Mac, NOTHING, unhex};
use super::super::own::Said;
use super::report::Wrong;
use crate::vault::TrailMac;

/// How a record stands to those before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It follows.
    Good,
    /// The first that was found of its chain, which begins earlier. Whether it proves itself.
    Middle { proven: bool },
    /// It does not.
    Wrong(Wrong),
}

/// A chain that is being checked.
pub(super) struct Chain {
    mac: TrailMac,
    /// After the last record that followed: the number of the next, and the tag it has to follow.
    next: u64,
    tag: Mac,
    /// After a later record that did not: the same, where the tag may be the one it claims, or the one it
    /// should have.
    doubt: Option<(u64, [Mac; 2])>,
    is_new: bool,
    has_proof: bool,
}

impl Chain {
    pub(super) fn new(mac: TrailMac) -> Self {
        Self {
            mac,
            next: 0,
            tag: NOTHING,
            doubt: None,
            is_new: true,
            has_proof: false,
        }
    }

    /// The last record that was proven.
    pub(super) fn head(&self) -> Option<Head> {
        let seq = self.next.checked_sub(1).filter(|_| self.has_proof)?;
        Some(Head { seq, mac: self.tag })
    }

    pub(super) fn judge(&mut self, line: &Line<'_>) -> Verdict {
        let is_new = std::mem::replace(&mut self.is_new, false);
        let seq = line.seq;
        if seq == self.next && line.follows(&self.tag, &self.mac) {
            self.go_on_after(line);
            return Verdict::Good;
        }
        if let Some((next, tags)) = self.doubt
            && next == seq
            && tags.iter().any(|tag| line.follows(tag, &self.mac))
        {
            self.doubt = None;
            self.go_on_after(line);
            return Verdict::Good;
        }
        if seq < self.next {
            return Verdict::Wrong(Wrong::OutOfPlace);
        }
        let expected = match self.doubt {
            Some((next, _)) if next <= seq => next,
            _ => self.next,
        };
        let proof = self.proves_itself(line);
        if is_new && seq > 0 && proof == Some(true) {
            self.go_on_after(line);
            return Verdict::Middle { proven: true };
        }
        self.doubt_after(line);
        if is_new && seq > 0 && proof.is_none() {
            return Verdict::Middle { proven: false };
        }
        Verdict::Wrong(if seq == expected || is_new {
            Wrong::Changed
        } else {
            Wrong::Missing { from: expected }
        })
    }

    fn go_on_after(&mut self, line: &Line<'_>) {
        (self.next, self.tag) = (line.seq + 1, line.mac);
        self.has_proof = true;
        // What stands before it is no longer to be waited for.
        self.doubt = self.doubt.filter(|(next, _)| *next > self.next);
    }

    fn doubt_after(&mut self, line: &Line<'_>) {
        let before = match self.doubt {
            Some((next, tags)) if next == line.seq => tags[0],
            _ => self.tag,
        };
        let should = self.mac.link(&before, line.body);
        self.doubt = Some((line.seq + 1, [line.mac, should]));
    }

    /// Whether the record is right, by the tag of the one before it that it holds; `None` when it holds none.
    fn proves_itself(&self, line: &Line<'_>) -> Option<bool> {
        (line.event() == b"reopen").then_some(())?;
        let said: Said = line.read().unwrap_or_default();
        let after = unhex(said.after.as_bytes());
        Some(after.is_some_and(|after| line.follows(&after, &self.mac)))
    }
}
