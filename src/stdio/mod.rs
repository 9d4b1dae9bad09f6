//! Servers that run as child processes.
//!
//! What a child writes to its standard error becomes `words`, in which a `mask` hides its secrets.

mod mask;
mod words;

pub use mask::Mask;
pub use words::{CHILD, Lines, Said, Whose, Words};
