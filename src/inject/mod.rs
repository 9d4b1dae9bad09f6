//! Putting a user's secrets where a backend expects them.
//!
//! 1. Where a secret goes is declared by the operator, as a [`Template`] parsed when the program starts;
//!    no request can add a place or change one.
//! 2. This module never fetches a secret: it is handed values and hands back bytes that zeroize
//!    themselves.
//! 3. No error of this module repeats a value, nor any text of a template beyond a valid secret name:
//!    an operator may have pasted a credential where a name belongs.
//! 4. A plan is data. It says what stands where; `layer` puts it there.

mod argument;
mod environment;
mod header;
mod plan;
mod query;
mod slots;
mod template;

pub use argument::{ArgumentNameError, ArgumentSlot, Arguments, argument_name};
pub use environment::{Environment, VariableNameError, variable_name};
pub use header::{HeaderNameError, header_name};
pub use plan::{Plan, Planned, Unplannable};
pub use query::{QueryNameError, query_name, query_names};
pub use slots::{Place, Request, Slot, SlotError, Slots};
pub use template::{Missing, Template, TemplateError};
