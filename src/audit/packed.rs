//! Values put down one after the other, to be taken up in the same order: within one process, and for as long as a
//! record waits.

/// Puts values down behind what is there.
pub(super) struct Put<'a>(pub(super) &'a mut Vec<u8>);

impl Put<'_> {
    pub(super) fn bytes<const N: usize>(&mut self, bytes: [u8; N]) {
        self.0.extend_from_slice(&bytes);
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.0.push(flag.into());
    }

    pub(super) fn number(&mut self, number: u64) {
        self.bytes(number.to_le_bytes());
    }

    pub(super) fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Puts down what `write` writes, as a text.
    pub(super) fn written(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.0.len();
        self.count(0);
        let begin = self.0.len();
        write(self.0);
        let length = (self.0.len() - begin) as u64;
        self.0[before..begin].copy_from_slice(&length.to_le_bytes());
    }

    /// Puts down whether there is something, and what.
    pub(super) fn any<T>(&mut self, something: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.flag(something.is_some());
        if let Some(something) = something {
            put(self, something);
        }
    }

    pub(super) fn list<T>(&mut self, elements: &[T], put: impl Fn(&mut Self, &T)) {
        self.count(elements.len());
        elements.iter().for_each(|element| put(self, element));
    }
}

/// Takes up what was put down.
pub(super) struct Take<'a>(pub(super) &'a [u8]);

impl<'a> Take<'a> {
    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (bytes, rest) = self.0.split_first_chunk().expect(WHOLE);
        self.0 = rest;
        *bytes
    }

    pub(super) fn flag(&mut self) -> bool {
        self.bytes() == [1]
    }

    pub(super) fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    pub(super) fn count(&mut self) -> usize {
        usize::try_from(self.number()).expect(WHOLE)
    }

    /// A text, as bytes.
    pub(super) fn text(&mut self) -> &'a [u8] {
        let length = self.count();
        let (text, rest) = self.0.split_at_checked(length).expect(WHOLE);
        self.0 = rest;
        text
    }

    pub(super) fn any<T>(&mut self, take: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| take(self))
    }
}

const WHOLE: &str = "what was put down is taken up whole and in its order";
