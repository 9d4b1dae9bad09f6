//! Servers that run as child processes.
//!
//! What a child writes to its standard error becomes `words`: `lines` cuts it into lines, has its secrets
//! hidden by a `mask` (which knows them in the `forms` they may be written in) and the rest made safe by
//! `escape`, lets through what its `allowance` allows, and keeps the `tail` for errors.

mod allowance;
mod escape;
mod forms;
mod lines;
mod mask;
mod tail;
#[cfg(test)]
mod tests;
mod words;

pub use lines::{Lines, Said};
pub use mask::Mask;
pub use words::{CHILD, Whose, Words};
