//! Event streams: the ids sealed, the data followed as JSON, `endpoint` events made ours.
//!
//! A client may give any `Last-Event-ID` it likes, and a backend that keeps one event store for all
//! its sessions would replay another user's events to it. So the ids a client gets to know are
//! sealed to it (see [`ids`](crate::mcp::ids)), and this is where that happens.
//!
//! Line by line, as WHATWG HTML 9.2.6 "Interpreting an event stream" has it: lines end with LF, CRLF
//! or CR, one byte order mark may stand first, a line starting with a colon is a comment. The data
//! lines of an event are one text. Where a value that changes goes over several of them, it moves
//! into the last, as does a tool's comma; the lines themselves stay.

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2};

use super::json::{BOM, Form};
use super::sink::Sink;
use super::track::Tracker;
use super::{AnswerError, MAX_ENDPOINT, MAX_EVENT_ID, Rules};

/// A body of `text/event-stream`, in which the data of every event is a message of its own, or an
/// array of them, or passes as it is because it begins with neither `{` nor `[`.
pub struct EventAnswer<R> {
    rules: R,
    legacy: bool,
    state: State,
    /// The beginning of an `id` line whose end has not arrived.
    id: BytesMut,
    /// The beginning of an event's type, as far as it matters.
    kind: Vec<u8>,
    /// Whether anything but comments came since the last blank line.
    in_event: bool,
    event: Event,
    tracker: Tracker,
    /// What is held of an event that may prove an `endpoint` event, from its data on.
    hold: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes of a byte order mark have come, and nothing else.
    Start(usize),
    /// At the beginning of a line.
    Line,
    /// In a line held because it is, or may become, an `id` field.
    Id,
    /// So many bytes of a field's name have come.
    Name(Field, usize),
    /// After the colon, where a space does not count.
    Colon(Field),
    Value(Field),
    /// In a line that passes.
    Other,
    /// A line ended with CR; a LF would belong to it.
    AfterCr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Data,
    Event,
}

const ENDPOINT: &[u8] = b"endpoint";

/// What is known of the event under way.
#[derive(Default)]
struct Event {
    kind: Kind,
    has_data: bool,
    form: Form,
}

/// The type of an event, so far: the last `event` field counts.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Unset,
    Endpoint,
    Other,
}

impl<R: Rules> EventAnswer<R> {
    /// For a stream that begins now, in which a tool list may have `list_max` bytes if anything of it
    /// may be hidden.
    pub fn new(rules: R, list_max: usize) -> Self {
        Self {
            legacy: rules.legacy(),
            state: State::Start(0),
            id: BytesMut::new(),
            kind: Vec::new(),
            in_event: false,
            event: Event::default(),
            tracker: Tracker::new(rules.hides_any().then_some(list_max)),
            hold: None,
            rules,
        }
    }

    /// Takes the next bytes of the backend's stream and appends what can go to the client to `out`.
    ///
    /// # Errors
    /// Whatever makes the stream one that cannot be followed, or too large a part of it.
    pub fn push(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<(), AnswerError> {
        let mut sink = Sink::new(&chunk, out, self.hold.take());
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            at = match self.state {
                State::Start(n) => self.start(n, byte, at),
                State::Line => self.line(&mut sink, byte, at)?,
                State::Id => self.id(&mut sink, at)?,
                State::Name(field, known) => self.name(&mut sink, field, known, at)?,
                State::Colon(field) => {
                    let at = at + usize::from(byte == b' ');
                    self.value(&mut sink, field, at)?;
                    at
                }
                State::Value(Field::Data) => self.data(&mut sink, at)?,
                State::Value(Field::Event) => self.kind(&sink, at)?,
                State::Other => self.skip_line(&chunk, at),
                State::AfterCr => {
                    self.state = State::Line;
                    at + usize::from(byte == b'\n')
                }
            };
        }
        self.hold = sink.finish();
        check(self.hold.as_deref())
    }

    /// The backend ended its stream.
    ///
    /// # Errors
    /// [`AnswerError::CutEvent`] if that was inside an event: the client's stream must be reset, for
    /// an orderly end would let the cut event look whole.
    pub fn finish(&mut self) -> Result<(), AnswerError> {
        let cut_mark = matches!(self.state, State::Start(1..));
        if self.in_event || cut_mark {
            Err(AnswerError::CutEvent)
        } else {
            Ok(())
        }
    }

    /// Whether an event of somebody else's may stand here.
    #[must_use]
    pub fn between_events(&self) -> bool {
        let begins = matches!(self.state, State::Start(0) | State::Line | State::AfterCr);
        begins && !self.in_event
    }

    fn start(&mut self, n: usize, byte: u8, at: usize) -> usize {
        if byte == BOM[n] {
            self.state = if n + 1 == BOM.len() {
                State::Line
            } else {
                State::Start(n + 1)
            };
            return at + 1;
        }
        // What began like a mark and is none is the beginning of a line nobody knows.
        self.in_event = n > 0;
        self.state = if n > 0 { State::Other } else { State::Line };
        at
    }

    /// At the beginning of a line.
    fn line(&mut self, sink: &mut Sink<'_>, byte: u8, at: usize) -> Result<usize, AnswerError> {
        self.state = match byte {
            b'\n' | b'\r' => {
                self.dispatch(sink, at)?;
                return Ok(self.end_line(sink.chunk, at));
            }
            b':' => State::Other,
            b'i' => State::Id,
            b'd' => State::Name(Field::Data, 0),
            b'e' if self.legacy => State::Name(Field::Event, 0),
            _ => State::Other,
        };
        self.in_event |= byte != b':';
        Ok(at)
    }

    /// A blank line at `at` ends the event.
    fn dispatch(&mut self, sink: &mut Sink<'_>, at: usize) -> Result<(), AnswerError> {
        if let Some(held) = sink.release(at) {
            check(Some(&held))?;
            let event = match self.event.kind {
                Kind::Endpoint => endpoint(&self.rules, &held)?,
                _ => held,
            };
            sink.push(event.into());
        } else if self.event.form == Form::Json {
            if !self.tracker.ended() {
                return Err(AnswerError::CutMessage);
            }
            self.tracker.restart();
        }
        self.event = Event::default();
        self.in_event = false;
        Ok(())
    }

    /// Goes to the end of a line that passes as it is.
    fn skip_line(&mut self, chunk: &[u8], at: usize) -> usize {
        match memchr2(b'\n', b'\r', &chunk[at..]) {
            Some(length) => self.end_line(chunk, at + length),
            None => chunk.len(),
        }
    }

    /// Steps over the line end at `at`.
    fn end_line(&mut self, chunk: &[u8], at: usize) -> usize {
        self.state = if chunk[at] == b'\r' {
            State::AfterCr
        } else {
            State::Line
        };
        at + 1
    }

    /// In a line held so far because it may be an `id` field.
    fn id(&mut self, sink: &mut Sink<'_>, at: usize) -> Result<usize, AnswerError> {
        let rest = &sink.chunk[at..];
        if !may_be_id(&self.id, rest) {
            sink.pass_to(at);
            if !self.id.is_empty() {
                sink.push(self.id.split().freeze());
            }
            self.state = State::Other;
            return Ok(at);
        }
        let end = memchr2(b'\n', b'\r', rest);
        let part = &rest[..end.unwrap_or(rest.len())];
        if self.id.len() + part.len() > "id: ".len() + MAX_EVENT_ID {
            return Err(AnswerError::IdTooLong);
        }
        let Some(length) = end else {
            sink.pass_to(at);
            self.id.extend_from_slice(rest);
            sink.drop_to(sink.chunk.len());
            return Ok(sink.chunk.len());
        };
        let end = at + length;
        if self.id.is_empty() {
            if let Some((value, sealed)) = self.sealed(part)? {
                sink.pass_to(at + value);
                sink.push(sealed);
                sink.drop_to(end);
            }
        } else {
            self.id.extend_from_slice(part);
            let line = self.id.split().freeze();
            match self.sealed(&line)? {
                Some((value, sealed)) => {
                    sink.push(line.slice(..value));
                    sink.push(sealed);
                }
                None => sink.push(line),
            }
            sink.drop_to(end);
        }
        Ok(self.end_line(sink.chunk, end))
    }

    /// Where the value of the whole line `line` begins, and what to send in its place; `None` if it
    /// has nothing to seal.
    fn sealed(&self, line: &[u8]) -> Result<Option<(usize, Bytes)>, AnswerError> {
        let Some(value) = line.strip_prefix(b"id:") else {
            return Ok(None);
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if value.len() > MAX_EVENT_ID {
            return Err(AnswerError::IdTooLong);
        }
        // A client ignores an id with a NUL, and an empty one only resets its memory.
        if value.is_empty() || memchr(0, value).is_some() {
            return Ok(None);
        }
        let sealed = self.rules.seal_event(value).into();
        Ok(Some((line.len() - value.len(), sealed)))
    }

    /// In the name of a field, of which `known` bytes came.
    fn name(
        &mut self,
        sink: &mut Sink<'_>,
        field: Field,
        known: usize,
        at: usize,
    ) -> Result<usize, AnswerError> {
        let name: &[u8] = match field {
            Field::Data => b"data",
            Field::Event => b"event",
        };
        match (name.get(known), sink.chunk[at]) {
            (Some(wanted), byte) if *wanted == byte => self.state = State::Name(field, known + 1),
            (None, b':') => self.state = State::Colon(field),
            // A field without a colon has an empty value.
            (None, b'\n' | b'\r') => {
                self.value(sink, field, at)?;
                return Ok(at);
            }
            _ => {
                self.state = State::Other;
                return Ok(at);
            }
        }
        Ok(at + 1)
    }

    /// The value of a field begins at `at`.
    fn value(&mut self, sink: &mut Sink<'_>, field: Field, at: usize) -> Result<(), AnswerError> {
        self.state = State::Value(field);
        if field == Field::Event {
            self.kind.clear();
            return Ok(());
        }
        let event = &mut self.event;
        if event.has_data {
            event.form.judge(b"\n");
            if event.form == Form::Json {
                self.tracker.line_end()?;
            }
        } else if self.legacy && event.kind != Kind::Other {
            sink.hold_from(at);
        }
        event.has_data = true;
        Ok(())
    }

    /// In a data line, at `at` of its value.
    fn data(&mut self, sink: &mut Sink<'_>, at: usize) -> Result<usize, AnswerError> {
        let rest = &sink.chunk[at..];
        let length = memchr2(b'\n', b'\r', rest);
        let end = length.map_or(sink.chunk.len(), |length| at + length);
        let start = at + self.event.form.judge(&sink.chunk[at..end]);
        let endpoint = match (self.event.form, self.event.kind) {
            (Form::Unknown(_), _) | (_, Kind::Endpoint) | (Form::Plain, Kind::Unset) => true,
            (Form::Json, _) | (_, Kind::Other) => false,
        };
        if !endpoint && let Some(held) = sink.release(start) {
            check(Some(&held))?;
            sink.push(held.into());
        }
        if self.event.form == Form::Json && sink.held().is_none() {
            self.tracker.feed(&self.rules, sink, start..end)?;
        }
        match length {
            Some(_) => Ok(self.end_line(sink.chunk, end)),
            None => Ok(end),
        }
    }

    /// In an `event` line, at `at` of its value.
    fn kind(&mut self, sink: &Sink<'_>, at: usize) -> Result<usize, AnswerError> {
        let rest = &sink.chunk[at..];
        let length = memchr2(b'\n', b'\r', rest);
        let part = &rest[..length.unwrap_or(rest.len())];
        let enough = ENDPOINT.len() + 1 - self.kind.len();
        self.kind.extend_from_slice(&part[..part.len().min(enough)]);
        let Some(length) = length else {
            return Ok(sink.chunk.len());
        };
        self.event.kind = if self.kind == ENDPOINT {
            if self.event.has_data && sink.held().is_none() {
                return Err(AnswerError::ForeignEndpoint);
            }
            Kind::Endpoint
        } else {
            Kind::Other
        };
        Ok(self.end_line(sink.chunk, at + length))
    }
}

/// Whether the line that begins with `held` and goes on with `rest` may be an `id` field, as far as
/// it is known.
fn may_be_id(held: &[u8], rest: &[u8]) -> bool {
    let known = held
        .iter()
        .chain(rest)
        .take_while(|b| !matches!(b, b'\n' | b'\r'));
    known.zip(b"id:").all(|(is, wanted)| is == wanted)
}

fn check(held: Option<&[u8]>) -> Result<(), AnswerError> {
    if held.is_some_and(|held| held.len() > MAX_ENDPOINT) {
        return Err(AnswerError::EndpointTooLong);
    }
    Ok(())
}

/// An `endpoint` event with its data replaced. `held` is the event from the value of its first data
/// line to the end of its last line, other fields and comments among them.
fn endpoint<R: Rules>(rules: &R, held: &[u8]) -> Result<Vec<u8>, AnswerError> {
    let (first, mut rest) = split_line(held);
    let (mut data, first_end) = (first.0.to_vec(), first.1);
    if data.is_empty() {
        // The field may lack its colon, and refers to nothing anyway.
        return Err(AnswerError::ForeignEndpoint);
    }
    let mut others = Vec::new();
    while !rest.is_empty() {
        let ((line, end), after) = split_line(rest);
        let value = line.strip_prefix(b"data:");
        let value = value.map(|value| value.strip_prefix(b" ").unwrap_or(value));
        if let Some(value) = value.or((line == b"data").then_some(b"")) {
            data.push(b'\n');
            data.extend_from_slice(value);
        } else {
            others.extend_from_slice(line);
            others.extend_from_slice(end);
        }
        rest = after;
    }
    let reference = String::from_utf8(data).ok();
    let ours = reference.and_then(|reference| rules.endpoint(&reference));
    match ours {
        Some(ours) if memchr2(b'\n', b'\r', ours.as_bytes()).is_none() => {
            Ok([ours.as_bytes(), first_end, &others].concat())
        }
        _ => Err(AnswerError::ForeignEndpoint),
    }
}

/// The first line of `text`, its end, and what follows.
fn split_line(text: &[u8]) -> ((&[u8], &[u8]), &[u8]) {
    let length = memchr2(b'\n', b'\r', text).unwrap_or(text.len());
    let (line, rest) = text.split_at(length);
    let end = if rest.starts_with(b"\r\n") { 2 } else { 1 };
    let (end, rest) = rest.split_at(end.min(rest.len()));
    ((line, end), rest)
}
