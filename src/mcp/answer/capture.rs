//! Values held back until their end, and the tool lists that some of them are elements of.

use std::ops::Range;

use bytes::Bytes;

use super::rewrite::{self, Change};
use super::sink::Sink;
use super::{AnswerError, MAX_TASK_ID, MAX_TASKS_CAPABILITY, Rules};

/// Bytes the literal of a task id may have: every byte escaped, and the quotes.
const MAX_TASK_LITERAL: usize = 6 * MAX_TASK_ID + 2;
/// Bytes the literal of a cache scope may have: two words there are, of seven letters, each escaped.
const MAX_CACHE_SCOPE: usize = 6 * 32 + 2;

/// A value held back until its end.
pub(super) struct Capture {
    what: Held,
    /// How many arrays and objects are open around it.
    pub(super) depth: usize,
    /// What of it came in earlier pieces.
    earlier: Vec<u8>,
    /// Where it goes on in this piece.
    pub(super) from: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// An element of a tool list, with the comma before it: one stays or goes with the other.
    Tool,
    /// An element of a tool list that goes, whatever comes of it.
    Hidden,
    TaskId,
    TasksCapability,
    CacheScope,
}

/// A tool list under way.
pub(super) struct List {
    pub(super) depth: usize,
    /// Bytes it may still have, from `from` on.
    left: usize,
    pub(super) from: usize,
    /// Whether an element stayed, so that the next one that does needs its comma.
    begun: bool,
}

impl Capture {
    pub(super) fn new(what: Held, depth: usize, from: usize) -> Self {
        Self {
            what,
            depth,
            earlier: Vec::new(),
            from,
        }
    }

    /// Keeps what came of it at the end of a piece.
    pub(super) fn put_aside(
        &mut self,
        sink: &mut Sink<'_>,
        piece: &[u8],
    ) -> Result<(), AnswerError> {
        let part = &piece[self.from..];
        self.check(part)?;
        self.keep(part);
        sink.pass_to(self.from);
        sink.drop_to(piece.len());
        Ok(())
    }

    /// A line of data ended and another goes on with the text.
    pub(super) fn line_end(&mut self) {
        self.keep(b" ");
    }

    fn keep(&mut self, part: &[u8]) {
        if self.what != Held::Hidden {
            self.earlier.extend_from_slice(part);
        }
    }

    /// The value ended before `end`: lets what is to be seen of it go. `list` is the one it is an
    /// element of, if it is of one.
    pub(super) fn end<R: Rules>(
        mut self,
        rules: &R,
        sink: &mut Sink<'_>,
        end: usize,
        list: Option<&mut List>,
    ) -> Result<(), AnswerError> {
        let part = &sink.chunk[self.from..end];
        self.check(part)?;
        let whole = if self.earlier.is_empty() {
            part
        } else {
            self.earlier.extend_from_slice(part);
            &self.earlier
        };
        let comma = whole.iter().take_while(|byte| is_comma(**byte)).count();
        let value = &whole[comma..];
        let change = match self.what {
            Held::Tool => rewrite::tool(rules, value)?,
            Held::Hidden => Change::Gone,
            Held::TaskId => Change::To(rewrite::task_id(rules, value)?),
            Held::TasksCapability => rewrite::tasks_capability(value)?,
            Held::CacheScope => rewrite::cache_scope(value),
        };
        let comma_stays = list.is_none_or(|list| list.goes_on(change != Change::Gone));
        let stays = Range {
            start: if comma_stays { 0 } else { comma },
            end: match change {
                Change::Nothing => whole.len(),
                Change::To(_) | Change::Gone => comma,
            },
        };
        self.leave(sink, end, stays);
        if let Change::To(changed) = change {
            sink.push(changed);
        }
        Ok(())
    }

    /// Lets go what `stays` of it as it came: its comma, its value, both or nothing.
    fn leave(self, sink: &mut Sink<'_>, end: usize, stays: Range<usize>) {
        if self.earlier.is_empty() {
            let (start, rest) = (self.from + stays.start, self.from + stays.end);
            if stays.start > 0 {
                self.goes(sink, start);
            }
            if rest < end {
                sink.pass_to(rest);
                sink.drop_to(end);
            }
        } else {
            self.goes(sink, end);
            if !stays.is_empty() {
                sink.push(Bytes::from(self.earlier).slice(stays));
            }
        }
    }

    /// The comma held for an element ended before `end`, and the element itself is not held.
    pub(super) fn comma_ended(self, sink: &mut Sink<'_>, end: usize, stays: bool) {
        if !stays {
            self.goes(sink, end);
        } else if !self.earlier.is_empty() {
            sink.pass_to(self.from);
            sink.push(self.earlier.into());
        }
    }

    /// Takes it away, up to `end`.
    pub(super) fn goes(&self, sink: &mut Sink<'_>, end: usize) {
        sink.pass_to(self.from);
        sink.drop_to(end);
    }

    /// Whether it may go on with `part`. Tools have the limit of their list.
    fn check(&self, part: &[u8]) -> Result<(), AnswerError> {
        let (max, error) = match self.what {
            Held::Tool | Held::Hidden => return Ok(()),
            Held::TasksCapability => (MAX_TASKS_CAPABILITY, AnswerError::TasksTooLarge),
            Held::TaskId => (MAX_TASK_LITERAL, AnswerError::TaskIdTooLong),
            Held::CacheScope => (MAX_CACHE_SCOPE, AnswerError::NotJson),
        };
        if self.earlier.len() + part.len() > max {
            return Err(error);
        }
        Ok(())
    }
}

/// Whether a byte may stand between the comma before an element and the element.
fn is_comma(byte: u8) -> bool {
    matches!(byte, b',' | b' ' | b'\n' | b'\r' | b'\t')
}

impl List {
    /// A list that begins at `from` and may have `max` bytes.
    pub(super) fn new(depth: usize, from: usize, max: usize) -> Self {
        Self {
            depth,
            left: max,
            from,
            begun: false,
        }
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<(), AnswerError> {
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or(AnswerError::ListTooLarge)?;
        Ok(())
    }

    /// The next element stays or goes. Whether the comma before it stays.
    pub(super) fn goes_on(&mut self, stays: bool) -> bool {
        let comma = self.begun && stays;
        self.begun |= stays;
        comma
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Mutation: in `Capture::keep`, keep those too.
    #[test]
    fn of_an_element_that_goes_nothing_is_kept() {
        let chunk = Bytes::from_static(&[b'x'; 1000]);
        let mut out = Vec::new();
        let mut hidden = Capture::new(Held::Hidden, 3, 400);
        for _ in 0..100 {
            let mut sink = Sink::new(&chunk, &mut out, None);
            hidden.put_aside(&mut sink, &chunk).unwrap();
            hidden.line_end();
            hidden.from = 0;
            sink.finish();
        }
        assert_eq!(hidden.earlier.capacity(), 0);
        assert_eq!(out, [chunk.slice(..400)]);
    }
}
