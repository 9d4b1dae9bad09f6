//! Moving in: users, keys and secrets of another system, or of another installation.
//!
//! `gateway`, `mappings`, `batch` and `portable` each read one form of file into [`Draft`]s, without any
//! I/O; `plan` says what is to be done for one of them (`merge`: for one who is there), and `carry` does it.
//! Everything that is wrong is a [`Refusal`] of one row; none repeats a value of a credential.
//!
//! Honestly: the file, and each value taken out of it, are in buffers that are zeroed on drop. What nobody
//! zeroes are the copies of whole rows that the readers of CSV and JSON make (for a large file: all of it, for
//! as long as the command runs), and the buffers between an opened export and its lines. The file itself stays
//! where it is: delete it.

mod batch;
mod carry;
mod draft;
mod fields;
mod gateway;
mod mappings;
mod merge;
mod names;
mod plan;
mod portable;
mod servers;
mod table;
#[cfg(test)]
mod tests;
mod time;

pub use batch::{Columns, Issue, parse as batch};
pub use carry::Delivery;
pub use draft::{Draft, NewSet, Parsed, Refusal, Refused};
pub use gateway::parse as gateway;
pub use mappings::{Map, parse as mappings};
pub use names::Names;
pub use plan::{Groups, How, Plan, Summary, plan};
pub use portable::{Entry, GroupDraft, read, write_end, write_group, write_start, write_user};
pub use servers::Servers;

/// Why a whole file is refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FileError(pub(crate) String);

impl FileError {
    fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl From<std::io::ErrorKind> for FileError {
    fn from(kind: std::io::ErrorKind) -> Self {
        Self(kind.to_string())
    }
}
