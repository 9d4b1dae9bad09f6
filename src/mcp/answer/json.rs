//! Bodies of JSON, and how any text shows whether it is JSON at all.

use bytes::Bytes;

use super::sink::Sink;
use super::track::Tracker;
use super::{AnswerError, Rules};

/// A body of `application/json`: one message or an array of them.
///
/// A body whose first byte, after byte order marks and white space, is neither `{` nor `[` passes as
/// it is.
pub struct JsonAnswer<R> {
    rules: R,
    followed: Followed,
}

/// A body as far as it came.
struct Followed {
    form: Form,
    tracker: Tracker,
}

/// What can go to the client of a body as [`JsonAnswer`] reads it, of which all is here.
///
/// # Errors
/// See [`JsonAnswer::push`] and [`JsonAnswer::finish`].
pub fn whole_json(
    rules: &impl Rules,
    body: &Bytes,
    list_max: usize,
) -> Result<Vec<Bytes>, AnswerError> {
    let (mut followed, mut out) = (Followed::new(rules, list_max), Vec::new());
    followed.push(rules, body, &mut out)?;
    followed.finish()?;
    Ok(out)
}

impl<R: Rules> JsonAnswer<R> {
    /// For a body that begins now, in which a tool list may have `list_max` bytes if anything of it
    /// may be hidden.
    pub fn new(rules: R, list_max: usize) -> Self {
        let followed = Followed::new(&rules, list_max);
        Self { rules, followed }
    }

    /// Takes the next bytes of the backend's body and appends what can go to the client to `out`.
    ///
    /// # Errors
    /// Whatever makes the body one that cannot be followed, or too large a part of it.
    pub fn push(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<(), AnswerError> {
        self.followed.push(&self.rules, &chunk, out)
    }

    /// The backend ended its body.
    ///
    /// # Errors
    /// [`AnswerError::CutMessage`] if that was inside its JSON: the client's side must be reset, for
    /// an orderly end would say that this was all.
    pub fn finish(&mut self) -> Result<(), AnswerError> {
        self.followed.finish()
    }
}

impl Followed {
    fn new(rules: &impl Rules, list_max: usize) -> Self {
        Self {
            form: Form::default(),
            tracker: Tracker::new(rules.hides_any().then_some(list_max)),
        }
    }

    fn push(
        &mut self,
        rules: &impl Rules,
        chunk: &Bytes,
        out: &mut Vec<Bytes>,
    ) -> Result<(), AnswerError> {
        let mut sink = Sink::new(chunk, out, None);
        let start = self.form.judge(chunk);
        if self.form == Form::Json {
            self.tracker.feed(rules, &mut sink, start..chunk.len())?;
        }
        sink.finish();
        Ok(())
    }

    fn finish(&self) -> Result<(), AnswerError> {
        if self.form == Form::Json && !self.tracker.ended() {
            return Err(AnswerError::CutMessage);
        }
        Ok(())
    }
}

/// Whether a text is JSON, by its first byte that is neither white space nor of a byte order mark.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// No such byte came yet; so many bytes of a mark did.
    Unknown(usize),
    /// An object or an array.
    Json,
    Plain,
}

pub(super) const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

impl Default for Form {
    fn default() -> Self {
        Self::Unknown(0)
    }
}

impl Form {
    /// Reads on until it is known. Returns where in `text` that is.
    pub(super) fn judge(&mut self, text: &[u8]) -> usize {
        for (at, &byte) in text.iter().enumerate() {
            *self = match (*self, byte) {
                (Self::Unknown(0), b' ' | b'\n' | b'\r' | b'\t') => Self::Unknown(0),
                (Self::Unknown(0), b'{' | b'[') => Self::Json,
                (Self::Unknown(n), _) if byte == BOM[n] => Self::Unknown((n + 1) % BOM.len()),
                (Self::Unknown(_), _) => Self::Plain,
                (known, _) => known,
            };
            if !matches!(self, Self::Unknown(_)) {
                return at;
            }
        }
        text.len()
    }
}
