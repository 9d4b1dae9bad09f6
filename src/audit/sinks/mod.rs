//! Where records go.

mod file;
mod patient;
mod standard;
mod stream;

pub(super) use file::FileSink;
pub use standard::Standard;
pub(super) use standard::StandardSink;
pub use stream::Stream;
pub(super) use stream::StreamSink;

/// A place that takes lines. Called by one thread, which may be held up; nobody waits for it for long.
pub(super) trait Sink: Send {
    /// Makes ready to take lines, and says whether they will lie elsewhere than those before.
    ///
    /// # Errors
    /// Why nothing can be written now.
    fn ready(&mut self) -> Result<bool, String>;

    /// Takes `bytes`, which are lines that end at `ends`.
    fn write(&mut self, bytes: &[u8], ends: &[usize]) -> Wrote;
}

/// What became of lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrote {
    /// How many of their bytes are there, from the first.
    pub(super) bytes: usize,
    /// What went wrong, if anything did.
    pub(super) trouble: Option<Trouble>,
}

/// What went wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) why: String,
    /// Whether more may be there than is known.
    pub(super) is_unclear: bool,
}

impl Wrote {
    pub(super) fn all(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.len(),
            trouble: None,
        }
    }

    pub(super) fn only(bytes: usize, why: impl ToString) -> Self {
        let why = why.to_string();
        Self {
            bytes,
            trouble: Some(Trouble {
                why,
                is_unclear: false,
            }),
        }
    }
}
