//! Follows a JSON text through its pieces and changes the values at the places we know.

use std::ops::Range;

use super::capture::{Capture, Held, List};
use super::place::{Place, asks_the_client};
use super::sink::Sink;
use super::text::{Text, may_be_in_word, quote_or_backslash};
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

/// What is read next.
#[derive(Clone, Copy)]
enum Reads {
    /// A byte between strings and words.
    Token,
    /// A string, after its opening quote.
    String,
    /// A word, from its second byte on.
    Word,
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
        self.go_on_from(range.start);
        let mut at = range.start + usize::from(std::mem::take(&mut self.escaped));
        let mut reads = self.under_way();
        loop {
            at = match reads {
                Reads::Token => at,
                Reads::String => self.string(rules, sink, piece, at)?,
                Reads::Word => self.word(sink, piece, at),
            };
            let Some(&byte) = piece.get(at) else {
                return self.put_aside(sink, piece);
            };
            reads = self.token(rules, sink, at, byte)?;
            at += 1;
        }
    }

    /// What the piece before ended in.
    fn under_way(&self) -> Reads {
        match self.state {
            State::InString | State::InKey => Reads::String,
            State::InWord => Reads::Word,
            _ => Reads::Token,
        }
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
    #[inline]
    fn string<R: Rules>(
        &mut self,
        rules: &R,
        sink: &mut Sink<'_>,
        piece: &[u8],
        mut at: usize,
    ) -> Result<usize, AnswerError> {
        while let Some(special) = quote_or_backslash(piece, at) {
            if piece[special] == b'"' {
                return if self.state == State::InKey {
                    Ok(self.key_ended(piece, special))
                } else {
                    self.string_ended(rules, sink, piece, special)?;
                    Ok(special + 1)
                };
            }
            self.text.escaped = true;
            at = special + 2;
        }
        // The piece ended after a backslash, maybe that of the piece before, if it is empty.
        self.escaped = at > piece.len();
        Ok(piece.len())
    }

    /// A key's closing quote is at `at`. Where it goes on: mostly the colon is next, and read with it.
    #[inline]
    fn key_ended(&mut self, piece: &[u8], at: usize) -> usize {
        let escaped = self.text.escaped;
        self.place = match (self.text.end(&piece[..at]), self.open.last()) {
            (Some(key), Some(frame)) => frame.inside.member(key, escaped),
            _ => Place::Other,
        };
        if piece.get(at + 1) == Some(&b':') {
            self.state = State::Value;
            at + 2
        } else {
            self.state = State::Colon;
            at + 1
        }
    }

    /// The closing quote of a string that is no key is at `at`.
    #[inline]
    fn string_ended<R: Rules>(
        &mut self,
        rules: &R,
        sink: &mut Sink<'_>,
        piece: &[u8],
        at: usize,
    ) -> Result<(), AnswerError> {
        let escaped = self.text.escaped;
        if let Some(method) = self.text.end(&piece[..at]) {
            self.clients_task = asks_the_client(method, escaped);
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

    /// Between strings and words, at `byte`, which is at `at`. Tells what follows.
    #[inline]
    fn token<R: Rules>(
        &mut self,
        rules: &R,
        sink: &mut Sink<'_>,
        at: usize,
        byte: u8,
    ) -> Result<Reads, AnswerError> {
        match (self.state, byte) {
            (_, b' ' | b'\n' | b'\r' | b'\t') => {}
            (State::FirstKey | State::NextKey, b'"') => {
                self.open_key(at);
                return Ok(Reads::String);
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::Value | State::FirstElement, b'"') => {
                self.open_string(rules, sink, at);
                return Ok(Reads::String);
            }
            (State::Value | State::FirstElement, b'{' | b'[') => {
                self.open_bracket(rules, sink, at, byte == b'{')?;
            }
            (State::AfterValue, b',') => self.next(at)?,
            (State::FirstKey, b'}')
            | (State::FirstElement, b']')
            | (State::AfterValue, b'}' | b']') => {
                self.close_bracket(at, byte == b'}')?;
                self.value_ended(rules, sink, at + 1)?;
            }
            (State::Value | State::FirstElement, _) if may_be_in_word(byte) => {
                self.open_word(rules, sink, at);
                return Ok(Reads::Word);
            }
            _ => return Err(AnswerError::NotJson),
        }
        Ok(Reads::Token)
    }

    fn open_key(&mut self, at: usize) {
        self.state = State::InKey;
        if let Some(Frame { inside, .. }) = self.open.last()
            && *inside != Place::Other
        {
            self.text.begin(at + 1);
        }
    }

    fn open_word<R: Rules>(&mut self, rules: &R, sink: &mut Sink<'_>, at: usize) {
        self.state = State::InWord;
        if self.place == Place::Tool {
            self.no_tool(rules, sink, at);
        }
    }

    /// After the comma at `at`.
    #[inline]
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

    #[inline]
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
    #[inline]
    fn value_ended<R: Rules>(
        &mut self,
        rules: &R,
        sink: &mut Sink<'_>,
        end: usize,
    ) -> Result<(), AnswerError> {
        self.state = State::AfterValue;
        match &self.capture {
            Some(capture) if capture.depth == self.open.len() => self.captured(rules, sink, end),
            _ => Ok(()),
        }
    }

    #[inline(never)]
    fn captured<R: Rules>(
        &mut self,
        rules: &R,
        sink: &mut Sink<'_>,
        end: usize,
    ) -> Result<(), AnswerError> {
        match self.capture.take() {
            Some(capture) => capture.end(rules, sink, end, self.list.as_mut()),
            None => Ok(()),
        }
    }
}
