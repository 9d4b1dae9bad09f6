//! Follows a JSON text through its pieces and changes the values at the places we know.

use std::ops::Range;

use bytes::Bytes;
use memchr::memchr2;

use super::place::{MAX_TEXT, Place, asks_the_client};
use super::sink::Sink;
use super::{AnswerError, MAX_DEPTH, MAX_TASK_ID, MAX_TASKS_CAPABILITY, Rules, rewrite};

/// Bytes the literal of a task id may have: every byte escaped, and the quotes.
const MAX_TASK_LITERAL: usize = 6 * MAX_TASK_ID + 2;

/// One text, from its first bracket on.
pub(super) struct Tracker {
    state: State,
    /// In a string, after a backslash.
    escaped: bool,
    /// The arrays and objects that are open, outermost first.
    open: Vec<Frame>,
    /// Where the value is that is expected or under way.
    place: Place,
    text: Text,
    capture: Option<Capture>,
    list: Option<List>,
    /// Bytes a tool list may have; `None` if tool lists are not looked into.
    list_max: Option<usize>,
    /// Whether the method of the message makes `params.taskId` the client's own.
    clients_task: bool,
}

#[derive(Clone, Copy)]
struct Frame {
    inside: Place,
    object: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    /// A value, or the end of the array.
    FirstElement,
    /// A key, or the end of the object.
    FirstKey,
    NextKey,
    InKey,
    Colon,
    InString,
    /// In a number, `true`, `null`, or whatever stands in their place.
    InWord,
    AfterValue,
}

/// A string that passes and whose content is of interest: a key, or the method.
#[derive(Default)]
struct Text {
    wanted: bool,
    /// What of it came in earlier pieces.
    earlier: Vec<u8>,
    /// Where it goes on in this piece.
    from: usize,
}

/// A value held back until its end.
struct Capture {
    what: Place,
    /// How many arrays and objects are open around it.
    depth: usize,
    /// What of it came in earlier pieces.
    earlier: Vec<u8>,
    /// Where it goes on in this piece.
    from: usize,
}

/// A tool list under way.
struct List {
    depth: usize,
    /// Bytes it may still have, from `from` on.
    left: usize,
    from: usize,
}

impl Tracker {
    pub(super) fn new(list_max: Option<usize>) -> Self {
        Self {
            state: State::Value,
            escaped: false,
            open: Vec::new(),
            place: Place::Body,
            text: Text::default(),
            capture: None,
            list: None,
            list_max,
            clients_task: false,
        }
    }

    /// Whether the text is whole.
    pub(super) fn ended(&self) -> bool {
        self.state == State::AfterValue && self.open.is_empty()
    }

    /// Begins another text, after one that ended.
    pub(super) fn restart(&mut self) {
        self.state = State::Value;
        self.place = Place::Body;
    }

    /// Reads the next piece of the text, at `range` of the chunk.
    pub(super) fn feed<R: Rules>(
        &mut self,
        rules: &R,
        sink: &mut Sink<'_>,
        range: Range<usize>,
    ) -> Result<(), AnswerError> {
        let piece = &sink.chunk[..range.end];
        let mut at = range.start;
        self.go_on_from(at);
        while at < piece.len() {
            at = match self.state {
                State::InString | State::InKey => self.string(rules, sink, piece, at)?,
                State::InWord => self.word(piece, at),
                _ => self.token(rules, sink, piece, at)?,
            };
        }
        self.put_aside(sink, piece)
    }

    /// A line of data ended and another goes on with the text.
    pub(super) fn line_end(&mut self) -> Result<(), AnswerError> {
        match self.state {
            State::InString | State::InKey => return Err(AnswerError::NotJson),
            State::InWord => self.state = State::AfterValue,
            _ => {}
        }
        if let Some(list) = &mut self.list {
            list.take(1)?;
        }
        if let Some(capture) = &mut self.capture {
            capture.earlier.push(b' ');
        }
        Ok(())
    }

    fn go_on_from(&mut self, at: usize) {
        self.text.from = at;
        if let Some(capture) = &mut self.capture {
            capture.from = at;
        }
        if let Some(list) = &mut self.list {
            list.from = at;
        }
    }

    /// Keeps what is under way at the end of a piece.
    fn put_aside(&mut self, sink: &mut Sink<'_>, piece: &[u8]) -> Result<(), AnswerError> {
        self.text.put_aside(piece);
        if let Some(list) = &mut self.list {
            list.take(piece.len() - list.from)?;
        }
        if let Some(capture) = &mut self.capture {
            let part = &piece[capture.from..];
            capture.check(part)?;
            capture.earlier.extend_from_slice(part);
            sink.pass_to(capture.from);
            sink.drop_to(piece.len());
        }
        Ok(())
    }

    /// Goes on in a string, to its end or that of the piece.
    fn string<R: Rules>(
        &mut self,
        rules: &R,
        sink: &mut Sink<'_>,
        piece: &[u8],
        mut at: usize,
    ) -> Result<usize, AnswerError> {
        at += usize::from(std::mem::take(&mut self.escaped));
        while let Some(length) = piece.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            at += length;
            if piece[at] == b'"' {
                self.string_ended(rules, sink, piece, at)?;
                return Ok(at + 1);
            }
            at += 2;
        }
        // The piece ended after a backslash.
        self.escaped = at > piece.len();
        Ok(piece.len())
    }

    /// A string's closing quote is at `at`.
    fn string_ended<R: Rules>(
        &mut self,
        rules: &R,
        sink: &mut Sink<'_>,
        piece: &[u8],
        at: usize,
    ) -> Result<(), AnswerError> {
        let text = self.text.end(&piece[..at]);
        if self.state == State::InKey {
            let inside = self.open.last().map_or(Place::Other, |frame| frame.inside);
            self.place = text.map_or(Place::Other, |key| inside.member(key));
            self.state = State::Colon;
            return Ok(());
        }
        if let Some(method) = text {
            self.clients_task = asks_the_client(method);
        }
        self.value_ended(rules, sink, at + 1)
    }

    /// Goes on in a word, to its end or that of the piece.
    fn word(&mut self, piece: &[u8], at: usize) -> usize {
        let rest = &piece[at..];
        match rest.iter().position(|&byte| !may_be_in_word(byte)) {
            Some(length) => {
                self.state = State::AfterValue;
                at + length
            }
            None => piece.len(),
        }
    }

    /// Between strings and words, at the byte at `at`.
    #[inline]
    fn token<R: Rules>(
        &mut self,
        rules: &R,
        sink: &mut Sink<'_>,
        piece: &[u8],
        at: usize,
    ) -> Result<usize, AnswerError> {
        match (self.state, piece[at]) {
            (_, b' ' | b'\n' | b'\r' | b'\t') => {}
            (State::FirstKey | State::NextKey, b'"') => {
                self.state = State::InKey;
                if let Some(Frame { inside, .. }) = self.open.last()
                    && *inside != Place::Other
                {
                    self.text.begin(at + 1);
                }
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::Value | State::FirstElement, b'"') => self.open_string(at),
            (State::Value | State::FirstElement, b'{' | b'[') => {
                self.open_bracket(at, piece[at] == b'{')?;
            }
            (State::AfterValue, b',') => self.next()?,
            (State::FirstKey, b'}')
            | (State::FirstElement, b']')
            | (State::AfterValue, b'}' | b']') => {
                self.close_bracket(at, piece[at] == b'}')?;
                self.value_ended(rules, sink, at + 1)?;
            }
            (State::Value | State::FirstElement, byte) if may_be_in_word(byte) => {
                self.state = State::InWord;
            }
            _ => return Err(AnswerError::NotJson),
        }
        Ok(at + 1)
    }

    /// After a comma.
    fn next(&mut self) -> Result<(), AnswerError> {
        let frame = self.open.last().ok_or(AnswerError::NotJson)?;
        if frame.object {
            self.state = State::NextKey;
        } else {
            self.state = State::Value;
            self.place = frame.inside.element();
        }
        Ok(())
    }

    fn open_string(&mut self, at: usize) {
        self.state = State::InString;
        match self.place {
            Place::Method => {
                self.clients_task = false;
                self.text.begin(at + 1);
            }
            Place::TaskId => self.capture(at),
            Place::ParamsTaskId if !self.clients_task => self.capture(at),
            _ => {}
        }
    }

    fn open_bracket(&mut self, at: usize, object: bool) -> Result<(), AnswerError> {
        if self.open.len() == MAX_DEPTH {
            return Err(AnswerError::TooDeep);
        }
        let mut inside = self.place.opened(object);
        match (self.place, object) {
            (Place::Body | Place::Message, true) => self.clients_task = false,
            (Place::Tool | Place::TasksCapability, true) => self.capture(at),
            (Place::Tools, false) => match self.list_max {
                Some(left) => {
                    self.list = Some(List {
                        depth: self.open.len(),
                        left,
                        from: at,
                    });
                }
                None => inside = Place::Other,
            },
            _ => {}
        }
        self.open.push(Frame { inside, object });
        if object {
            self.state = State::FirstKey;
        } else {
            self.state = State::FirstElement;
            self.place = inside.element();
        }
        Ok(())
    }

    fn close_bracket(&mut self, at: usize, object: bool) -> Result<(), AnswerError> {
        let frame = self.open.pop().ok_or(AnswerError::NotJson)?;
        if frame.object != object {
            return Err(AnswerError::NotJson);
        }
        if let Some(mut list) = self.list.take_if(|list| list.depth == self.open.len()) {
            list.take(at + 1 - list.from)?;
        }
        Ok(())
    }

    /// Holds the value back that begins at `at`.
    fn capture(&mut self, at: usize) {
        self.capture = Some(Capture {
            what: self.place,
            depth: self.open.len(),
            earlier: Vec::new(),
            from: at,
        });
    }

    /// A string, array or object ended before `end`.
    fn value_ended<R: Rules>(
        &mut self,
        rules: &R,
        sink: &mut Sink<'_>,
        end: usize,
    ) -> Result<(), AnswerError> {
        self.state = State::AfterValue;
        let depth = self.open.len();
        match self.capture.take_if(|capture| capture.depth == depth) {
            Some(capture) => capture.end(rules, sink, end),
            None => Ok(()),
        }
    }
}

impl Capture {
    /// Changes the value, which ends before `end`, and lets it go.
    fn end<R: Rules>(
        mut self,
        rules: &R,
        sink: &mut Sink<'_>,
        end: usize,
    ) -> Result<(), AnswerError> {
        let part = &sink.chunk[self.from..end];
        self.check(part)?;
        let in_one_piece = self.earlier.is_empty();
        let whole = if in_one_piece {
            part
        } else {
            self.earlier.extend_from_slice(part);
            &self.earlier
        };
        let changed = match self.what {
            Place::Tool => rewrite::tool(rules, whole)?,
            Place::TasksCapability => rewrite::tasks_capability(whole)?,
            _ => Some(rewrite::task_id(rules, whole)?),
        };
        if changed.is_none() && in_one_piece {
            return Ok(());
        }
        sink.pass_to(self.from);
        sink.push(changed.unwrap_or_else(|| Bytes::from(self.earlier)));
        sink.drop_to(end);
        Ok(())
    }

    /// Whether it may go on with `part`. Tools have the limit of their list.
    fn check(&self, part: &[u8]) -> Result<(), AnswerError> {
        let (max, error) = match self.what {
            Place::Tool => return Ok(()),
            Place::TasksCapability => (MAX_TASKS_CAPABILITY, AnswerError::TasksTooLarge),
            _ => (MAX_TASK_LITERAL, AnswerError::TaskIdTooLong),
        };
        if self.earlier.len() + part.len() > max {
            return Err(error);
        }
        Ok(())
    }
}

impl List {
    fn take(&mut self, bytes: usize) -> Result<(), AnswerError> {
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or(AnswerError::ListTooLarge)?;
        Ok(())
    }
}

impl Text {
    fn begin(&mut self, at: usize) {
        self.wanted = true;
        self.earlier.clear();
        self.from = at;
    }

    fn put_aside(&mut self, piece: &[u8]) {
        if self.wanted {
            let part = &piece[self.from..];
            self.wanted = self.earlier.len() + part.len() <= MAX_TEXT;
            if self.wanted {
                self.earlier.extend_from_slice(part);
            }
        }
    }

    /// The text, which ends with the piece; `None` if nobody wants it or it is no text we know.
    fn end<'a>(&'a mut self, piece: &'a [u8]) -> Option<&'a [u8]> {
        if !std::mem::take(&mut self.wanted) {
            return None;
        }
        let part = &piece[self.from..];
        if self.earlier.is_empty() {
            return (part.len() <= MAX_TEXT).then_some(part);
        }
        self.earlier.extend_from_slice(part);
        (self.earlier.len() <= MAX_TEXT).then_some(&self.earlier)
    }
}

/// Python and JavaScript write `NaN` and `-Infinity`. Nothing else is let in: what one parser takes
/// for a comment or a quote must not be a word here.
fn may_be_in_word(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'+' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_endless_key_little_is_kept() {
        let mut text = Text::default();
        text.begin(0);
        for _ in 0..100 {
            text.put_aside(&[b'a'; 100]);
            assert!(text.earlier.len() <= MAX_TEXT);
        }
        assert_eq!(text.end(b"a"), None);
    }
}
