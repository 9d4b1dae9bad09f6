//! The grammar of RFC 8259, walked once and without recursion.

use super::envelope::{Collector, Kind, Slot};
use super::error::{ScanError, ScanErrorKind};
use super::keys::Keys;
use super::text::string;
use super::{MAX_BATCH, MAX_DEPTH};

/// An array or object that is open.
#[derive(Clone, Copy)]
struct Frame {
    /// Where its bracket stands.
    start: u32,
    /// Where its keys begin in [`Keys`].
    keys_from: u32,
    /// What it is the value of; decides which of its keys we know.
    slot: Slot,
    object: bool,
}

pub(super) struct Walker<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    frames: [Frame; MAX_DEPTH],
    depth: usize,
    keys: Keys,
    pub(super) collector: Collector<'a>,
}

/// What is expected next.
enum Next {
    Value(Slot),
    AfterValue,
    End,
}

impl<'a> Walker<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let closed = Frame {
            start: 0,
            keys_from: 0,
            slot: Slot::Other,
            object: false,
        };
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            frames: [closed; MAX_DEPTH],
            depth: 0,
            keys: Keys::new(),
            collector: Collector::new(text),
        }
    }

    /// Walks the whole text, which is what `slot` says.
    pub(super) fn run(&mut self, slot: Slot) -> Result<(), ScanError> {
        let mut next = Next::Value(slot);
        loop {
            next = match next {
                Next::Value(slot) => self.value(slot)?,
                Next::AfterValue => self.after_value()?,
                Next::End => return Ok(()),
            };
        }
    }

    #[inline]
    fn value(&mut self, slot: Slot) -> Result<Next, ScanError> {
        self.space();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => {
                let content = string(self.bytes, start)?;
                self.at = content.after();
                Kind::String(content)
            }
            Some(b'{') => return self.open(slot, true),
            Some(b'[') => return self.open(slot, false),
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                Kind::Number
            }
            Some(b't') => self.word(b"true", Kind::Bool)?,
            Some(b'f') => self.word(b"false", Kind::Bool)?,
            Some(b'n') => self.word(b"null", Kind::Null)?,
            _ => return Err(self.not_json()),
        };
        if slot != Slot::Other {
            self.collector.value(slot, kind, start, self.at)?;
        }
        Ok(Next::AfterValue)
    }

    #[inline]
    fn open(&mut self, slot: Slot, object: bool) -> Result<Next, ScanError> {
        let slot = match slot {
            Slot::Other => slot,
            known => self.collector.open(known, object, self.at)?,
        };
        let frame = Frame {
            start: self.at as u32,
            keys_from: self.keys.len() as u32,
            slot,
            object,
        };
        *self
            .frames
            .get_mut(self.depth)
            .ok_or(ScanError::new(ScanErrorKind::TooDeep, self.at))? = frame;
        self.depth += 1;
        self.at += 1;
        self.space();
        match (object, self.peek()) {
            (true, Some(b'}')) | (false, Some(b']')) => self.close(frame),
            (true, _) => self.key(frame),
            (false, _) => self.element(frame),
        }
    }

    #[inline]
    fn after_value(&mut self) -> Result<Next, ScanError> {
        self.space();
        let Some(open) = self.depth.checked_sub(1) else {
            return if self.at == self.bytes.len() {
                Ok(Next::End)
            } else {
                Err(self.not_json())
            };
        };
        let frame = self.frames[open];
        match (frame.object, self.peek()) {
            (true, Some(b',')) => {
                self.at += 1;
                self.space();
                self.key(frame)
            }
            (false, Some(b',')) => {
                self.at += 1;
                self.element(frame)
            }
            (true, Some(b'}')) | (false, Some(b']')) => self.close(frame),
            _ => Err(self.not_json()),
        }
    }

    /// Reads a key and its colon.
    #[inline]
    fn key(&mut self, frame: Frame) -> Result<Next, ScanError> {
        if self.peek() != Some(b'"') {
            return Err(self.not_json());
        }
        let key = string(self.bytes, self.at)?;
        self.keys.push(self.text, frame.keys_from as usize, key)?;
        self.at = key.after();
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.not_json());
        }
        self.at += 1;
        Ok(Next::Value(frame.slot.member(self.text, key)?))
    }

    #[inline]
    fn element(&mut self, frame: Frame) -> Result<Next, ScanError> {
        let slot = frame.slot.element();
        if slot == Slot::Message && self.collector.count() == MAX_BATCH {
            return Err(ScanError::new(ScanErrorKind::TooMany, self.at));
        }
        Ok(Next::Value(slot))
    }

    #[inline]
    fn close(&mut self, frame: Frame) -> Result<Next, ScanError> {
        self.at += 1;
        self.depth -= 1;
        let kind = if frame.object {
            self.keys.close(self.text, frame.keys_from as usize)?;
            Kind::Object
        } else {
            Kind::Array
        };
        if frame.slot != Slot::Other {
            self.collector
                .value(frame.slot, kind, frame.start as usize, self.at)?;
        }
        Ok(Next::AfterValue)
    }

    fn number(&mut self) -> Result<(), ScanError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), ScanError> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == from {
            Err(self.not_json())
        } else {
            Ok(())
        }
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<Kind, ScanError> {
        if self.bytes.get(self.at..self.at + word.len()) != Some(word) {
            return Err(self.not_json());
        }
        self.at += word.len();
        Ok(kind)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn not_json(&self) -> ScanError {
        ScanError::new(ScanErrorKind::NotJson, self.at)
    }
}
