//! What a head says, and the last of a connection, which the next is likely to say again.

use bytes::Bytes;
use httparse::Status;

use super::request::number;
use crate::proxy::last_head::LastHead;

/// What was read of a head.
pub(super) enum Parsed<P> {
    /// What it says, and its bytes.
    Head(P, usize),
    /// It is not whole yet.
    Part,
    /// It is one for the HTTP library.
    Unusual,
}

impl<P> Parsed<P> {
    /// What the parser found; `plain` says what a whole head says, if there is nothing unusual about it.
    pub(super) fn of(found: httparse::Result<usize>, plain: impl FnOnce() -> Option<P>) -> Self {
        match found {
            Ok(Status::Complete(bytes)) => match plain() {
                Some(said) => Self::Head(said, bytes),
                None => Self::Unusual,
            },
            Ok(Status::Partial) => Self::Part,
            Err(_) => Self::Unusual,
        }
    }
}

/// The last head, and what it says once it was seen twice. Both are of the same bytes. No `Debug`: a key or the id
/// of a session is in them.
pub(super) struct Last<P> {
    head: LastHead,
    said: Option<P>,
}

/// A head that came again, but for its length.
pub(super) struct Again<'a, P> {
    /// What it says besides.
    pub(super) said: &'a P,
    /// The bytes of the body.
    pub(super) length: u64,
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

    /// What `read` says if it begins with that head again; `parse` reads the head, a pure function of it.
    pub(super) fn again(
        &mut self,
        read: &Bytes,
        parse: impl FnOnce(&Bytes) -> Parsed<P>,
    ) -> Option<Again<'_, P>> {
        let digits = self.head.again(read)?;
        let head = self.head.expose_bytes();
        let said = match &mut self.said {
            Some(said) => said,
            said => match parse(head) {
                Parsed::Head(says, _) => said.insert(says),
                Parsed::Part | Parsed::Unusual => return None,
            },
        };
        Some(Again {
            said,
            length: number(digits)?,
            bytes: head.len(),
        })
    }
}
