//! Putting a user's secrets where a backend expects them.
//!
//! 1. Where a secret goes is declared by the operator, as a [`Template`] parsed when the program starts;
//!    no request can add a place or change one.
//! 2. This module never fetches a secret: it is handed values and hands back bytes that zeroize
//!    themselves.
//! 3. No error of this module repeats a value, nor any text of a template beyond a valid secret name:
//!    an operator may have pasted a credential where a name belongs.

mod slots;
mod template;

pub use slots::{Plan, Slots, Unplannable};
pub use template::{Missing, Template, TemplateError};
