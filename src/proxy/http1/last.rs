//! What the last head of a connection says, which the next is likely to say again.

use bytes::Bytes;
use http::HeaderValue;

use super::request::number;
use crate::proxy::last_head::LastHead;

/// The last head, and what it says once it was seen twice. Both are of the same bytes. No `Debug`: a key or the id
/// of a session is in them.
pub(super) struct Last<P> {
    head: LastHead,
    said: Option<Box<P>>,
}

/// A head that came again, but for its length.
pub(super) struct Again<'a, P> {
    /// What it says besides.
    pub(super) said: &'a P,
    /// The bytes of the body.
    pub(super) length: u64,
    /// The same as it is written.
    pub(super) written: HeaderValue,
    /// The bytes of the head.
    pub(super) bytes: usize,
}

impl<P> Default for Last<P> {
    fn default() -> Self {
        Self {
            head: LastHead::default(),
            said: None,
        }
    }
}

impl<P> Last<P> {
    /// Remembers a head whose body is as long as its Content-Length says, of which it has one at most.
    pub(super) fn note(&mut self, head: &[u8]) {
        self.head.note(head);
        self.said = None;
    }

    /// Remembers none: of a body that may go on for hours nothing is held besides.
    pub(super) fn forget(&mut self) {
        self.head.forget();
        self.said = None;
    }

    /// Whether a head came again.
    #[cfg(test)]
    pub(super) fn has_said(&self) -> bool {
        self.said.is_some()
    }

    /// What `read` says if it begins with that head again; `say` says it of the head, a pure function of it.
    pub(super) fn again(
        &mut self,
        read: &Bytes,
        say: impl FnOnce(&Bytes) -> Option<P>,
    ) -> Option<Again<'_, P>> {
        let digits = self.head.again(read)?;
        let head = self.head.expose_bytes();
        let said = match &mut self.said {
            Some(said) => said,
            said => said.insert(Box::new(say(head)?)),
        };
        Some(Again {
            said,
            length: number(digits)?,
            written: HeaderValue::from_maybe_shared(read.slice_ref(digits)).ok()?,
            bytes: head.len(),
        })
    }
}
