//! Follows a JSON text through its pieces and changes the values at the places we know.

use std::ops::Range;

use memchr::memchr2;

use super::capture::{Capture, Held, List};
use super::place::{MAX_TEXT, Place, asks_the_client};
use super::sink::Sink;
use super::{AnswerError, MAX_DEPTH, Rules};

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
                State::InWord => self.word(sink, piece, at),
                _ => self.token(rules, sink, piece, at)?,
            };
        }
        self.put_aside(sink, piece)
    }

    /// A line of data ended and another goes on with the text.
    pub(super) fn line_end(&mut self) -> Result<(), AnswerError> {
        match self.state {
            State::InString | State::InKey => return Err(AnswerError::NotJson),
            State::InWord => drop(self.word_ended()),
            _ => {}
        }
        if let Some(list) = &mut self.list {
            list.take(1)?;
        }
        if let Some(capture) = &mut self.capture {
            capture.line_end();
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
            capture.put_aside(sink, piece)?;
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
    fn word(&mut self, sink: &mut Sink<'_>, piece: &[u8], at: usize) -> usize {
        let rest = &piece[at..];
        let Some(length) = rest.iter().position(|&byte| !may_be_in_word(byte)) else {
            return piece.len();
        };
        let end = at + length;
        if let Some(hidden) = self.word_ended() {
            hidden.goes(sink, end);
        }
        end
    }

    /// What was held of the word; words are held only to go.
    fn word_ended(&mut self) -> Option<Capture> {
        self.state = State::AfterValue;
        let depth = self.open.len();
        self.capture.take_if(|capture| capture.depth == depth)
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
            (State::Value | State::FirstElement, b'"') => self.open_string(rules, sink, at),
            (State::Value | State::FirstElement, b'{' | b'[') => {
                self.open_bracket(rules, sink, at, piece[at] == b'{')?;
            }
            (State::AfterValue, b',') => self.next(at)?,
            (State::FirstKey, b'}')
            | (State::FirstElement, b']')
            | (State::AfterValue, b'}' | b']') => {
                self.close_bracket(at, piece[at] == b'}')?;
                self.value_ended(rules, sink, at + 1)?;
            }
            (State::Value | State::FirstElement, byte) if may_be_in_word(byte) => {
                self.state = State::InWord;
                if self.place == Place::Tool {
                    self.no_tool(rules, sink, at);
                }
            }
            _ => return Err(AnswerError::NotJson),
        }
        Ok(at + 1)
    }

    /// After the comma at `at`.
    fn next(&mut self, at: usize) -> Result<(), AnswerError> {
        let frame = self.open.last().ok_or(AnswerError::NotJson)?;
        if frame.object {
            self.state = State::NextKey;
        } else {
            self.state = State::Value;
            self.place = frame.inside.element();
            if self.place == Place::Tool {
                self.capture(Held::Tool, at);
            }
        }
        Ok(())
    }

    fn open_string<R: Rules>(&mut self, rules: &R, sink: &mut Sink<'_>, at: usize) {
        self.state = State::InString;
        match self.place {
            Place::Method => {
                self.clients_task = false;
                self.text.begin(at + 1);
            }
            Place::TaskId => self.capture(Held::TaskId, at),
            Place::ParamsTaskId if !self.clients_task => self.capture(Held::TaskId, at),
            Place::CacheScope => self.capture(Held::CacheScope, at),
            Place::Tool => self.no_tool(rules, sink, at),
            _ => {}
        }
    }

    fn open_bracket<R: Rules>(
        &mut self,
        rules: &R,
        sink: &mut Sink<'_>,
        at: usize,
        object: bool,
    ) -> Result<(), AnswerError> {
        if self.open.len() == MAX_DEPTH {
            return Err(AnswerError::TooDeep);
        }
        let mut inside = self.place.opened(object);
        match (self.place, object) {
            (Place::Body | Place::Message, true) => self.clients_task = false,
            (Place::TasksCapability, true) => self.capture(Held::TasksCapability, at),
            // All but the first have been held since the comma before them.
            (Place::Tool, true) if self.capture.is_none() => self.capture(Held::Tool, at),
            (Place::Tool, false) => self.no_tool(rules, sink, at),
            (Place::Tools, false) => match self.list_max {
                Some(max) => self.list = Some(List::new(self.open.len(), at, max)),
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

    /// Holds back what begins at `at`.
    fn capture(&mut self, what: Held, at: usize) {
        self.capture = Some(Capture::new(what, self.open.len(), at));
    }

    /// An element of a tool list begins at `at` that is no object. It has no name to wait for.
    fn no_tool<R: Rules>(&mut self, rules: &R, sink: &mut Sink<'_>, at: usize) {
        let hidden = rules.hides_tool("");
        let list = self.list.as_mut();
        let comma_stays = list.is_none_or(|list| list.goes_on(!hidden));
        if let Some(comma) = self.capture.take() {
            comma.comma_ended(sink, at, comma_stays);
        }
        if hidden {
            self.capture(Held::Hidden, at);
        }
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
            Some(capture) => capture.end(rules, sink, end, self.list.as_mut()),
            None => Ok(()),
        }
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
