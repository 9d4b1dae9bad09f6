//! Where the bytes of one chunk go: on as slices, away, or held until more is known.

use bytes::Bytes;

/// The chunk at hand and what becomes of it. Every byte is disposed of once, in order.
pub(super) struct Sink<'a> {
    pub(super) chunk: &'a Bytes,
    /// How far the chunk is disposed of.
    done: usize,
    out: &'a mut Vec<Bytes>,
    /// While there is something here, all that would go out is added to it.
    hold: Option<Vec<u8>>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(chunk: &'a Bytes, out: &'a mut Vec<Bytes>, hold: Option<Vec<u8>>) -> Self {
        Self {
            chunk,
            done: 0,
            out,
            hold,
        }
    }

    /// Lets everything before `to` pass that was not disposed of yet.
    pub(super) fn pass_to(&mut self, to: usize) {
        if self.done < to {
            match &mut self.hold {
                Some(hold) => hold.extend_from_slice(&self.chunk[self.done..to]),
                None => self.out.push(self.chunk.slice(self.done..to)),
            }
            self.done = to;
        }
    }

    /// Takes everything before `to` away that was not disposed of yet.
    pub(super) fn drop_to(&mut self, to: usize) {
        self.done = to;
    }

    /// Puts in bytes of our own.
    pub(super) fn push(&mut self, bytes: Bytes) {
        match &mut self.hold {
            Some(hold) => hold.extend_from_slice(&bytes),
            None => self.out.push(bytes),
        }
    }

    /// Holds everything from `at` on, until [`Sink::release`].
    pub(super) fn hold_from(&mut self, at: usize) {
        self.pass_to(at);
        self.hold.get_or_insert_default();
    }

    /// Whether something is, or will be, held.
    pub(super) fn held(&self) -> Option<&[u8]> {
        self.hold.as_deref()
    }

    /// Ends the holding at `at` and gives what was held; `None` if nothing is.
    pub(super) fn release(&mut self, at: usize) -> Option<Vec<u8>> {
        self.hold.as_ref()?;
        self.pass_to(at);
        self.hold.take()
    }

    /// Ends the chunk; what is held is to be given to the next one.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        self.pass_to(self.chunk.len());
        self.hold
    }
}
