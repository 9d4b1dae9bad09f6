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

/// A constant, and all zeros, so that it takes no loop to begin with it.
const NONE_OPEN: [Frame; MAX_DEPTH] = [Frame {
    start: 0,
    keys_from: 0,
    slot: Slot::Other,
    object: false,
}; MAX_DEPTH];

pub(super) struct Walker<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    frames: [Frame; MAX_DEPTH],
    depth: usize,
    keys: Keys,
    pub(super) collector: Collector<'a>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            frames: NONE_OPEN,
            depth: 0,
            keys: Keys::new(),
            collector: Collector::new(text),
        }
    }

    /// Walks the whole text, which is what `slot` says.
    pub(super) fn run(&mut self, slot: Slot) -> Result<(), ScanError> {
        let mut next = Some(slot);
        while let Some(slot) = next {
            let opens = self.value(slot)?;
            next = self.next(opens)?;
        }
        Ok(())
    }

    /// Reads a value, or the bracket it opens with: whether it was that.
    #[inline]
    fn value(&mut self, slot: Slot) -> Result<bool, ScanError> {
        let first = self.after_space();
        let start = self.at;
        let kind = match first {
            Some(b'"') => {
                let content = string(self.bytes, start)?;
                self.at = content.after();
                Kind::String(content)
            }
            Some(bracket @ (b'{' | b'[')) => {
                self.open(slot, bracket == b'{')?;
                return Ok(true);
            }
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
        Ok(false)
    }

    #[inline]
    fn open(&mut self, slot: Slot, object: bool) -> Result<(), ScanError> {
        let slot = match slot {
            Slot::Other => slot,
            known => self.collector.open(known, object, self.at)?,
        };
        let frame = self
            .frames
            .get_mut(self.depth)
            .ok_or(ScanError::new(ScanErrorKind::TooDeep, self.at))?;
        *frame = Frame {
            start: self.at as u32,
            keys_from: self.keys.len() as u32,
            slot,
            object,
        };
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// After a value, or the bracket that opens one: ends what ends here. Gives what the next value is,
    /// its key read; `None` if the text ends.
    #[inline]
    fn next(&mut self, mut opened: bool) -> Result<Option<Slot>, ScanError> {
        let frame = loop {
            let byte = self.after_space();
            let Some(open) = self.depth.checked_sub(1) else {
                return match byte {
                    None => Ok(None),
                    Some(_) => Err(self.not_json()),
                };
            };
            let frame = self.frames[open];
            match (byte, frame.object) {
                (Some(b'}'), true) | (Some(b']'), false) => self.close(frame)?,
                (Some(b','), _) if !opened => {
                    self.at += 1;
                    break frame;
                }
                _ if opened => break frame,
                _ => return Err(self.not_json()),
            }
            opened = false;
        };
        if frame.object {
            self.key(frame).map(Some)
        } else {
            self.element(frame).map(Some)
        }
    }

    /// Reads a key and its colon; gives what the value is.
    #[inline]
    fn key(&mut self, frame: Frame) -> Result<Slot, ScanError> {
        if self.after_space() != Some(b'"') {
            return Err(self.not_json());
        }
        let key = string(self.bytes, self.at)?;
        self.keys.push(self.text, frame.keys_from as usize, key)?;
        self.at = key.after();
        if self.after_space() != Some(b':') {
            return Err(self.not_json());
        }
        self.at += 1;
        frame.slot.member(self.text, key)
    }

    #[inline]
    fn element(&mut self, frame: Frame) -> Result<Slot, ScanError> {
        let slot = frame.slot.element();
        if slot == Slot::Message && self.collector.count() == MAX_BATCH {
            return Err(ScanError::new(ScanErrorKind::TooMany, self.at));
        }
        Ok(slot)
    }

    #[inline]
    fn close(&mut self, frame: Frame) -> Result<(), ScanError> {
        self.at += 1;
        self.depth -= 1;
        let kind = if frame.object {
            self.keys.close(self.text, frame.keys_from as usize)?;
            Kind::Object
        } else {
            Kind::Array
        };
        if frame.slot != Slot::Other {
            let start = frame.start as usize;
            self.collector.value(frame.slot, kind, start, self.at)?;
        }
        Ok(())
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
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 {
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

    /// Goes to the next byte that is not white space.
    fn after_space(&mut self) -> Option<u8> {
        loop {
            match self.peek() {
                Some(byte) if is_space(byte) => self.at += 1,
                other => return other,
            }
        }
    }

    fn not_json(&self) -> ScanError {
        ScanError::new(ScanErrorKind::NotJson, self.at)
    }
}

/// Almost no byte that is asked about is one, which one comparison tells.
fn is_space(byte: u8) -> bool {
    byte <= b' ' && matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}
