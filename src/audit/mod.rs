//! The audit trail: who did what, by which key, with whose secrets; and that nobody changed it since.
//!
//! A record when a request is about to be forwarded and one when it ended, and the same for each administrative
//! act ([`Act`] has their names), as lines of JSON ([`line`] has the form). Never a value of a secret, never a key.
//!
//! Rules:
//!
//! 1. Every sink of every process has a chain of its own (a *writer*): what one sink did not take is
//!    missing in no other, and a chain has no gap unless somebody made one.
//! 2. What could not be recorded is counted, and the chain itself says so once it can be written again.
//! 3. Nobody waits for a sink longer than a quarter of a second, and not at all while it is known to fail.
//! 4. How far each chain goes is remembered in the store (an *anchor*), so that an end that was cut off is
//!    found too. The store being out of reach holds up no record.
//! 5. The key of a chain comes from the keyring's `index` key, which every sidecar has: whoever holds any
//!    keyring of the installation can check the trail, and forge it.

mod act;
mod deed;
mod event;
mod lane;
mod line;
mod members;
mod own;
mod packed;
mod queue;
mod record;
mod sinks;
mod trail;
pub mod verify;
mod writer;

pub use act::Act;
pub use deed::{Deed, Doer, Doing};
pub use event::{
    Actor, ActorKind, Admin, Called, Detail, End, Event, Outcome, Owner, SecretUsed, Start, Text,
};
pub use record::Record;
pub use sinks::{Standard, Stream};
pub use trail::{AuditError, Figures, Settings, Trail, Unrecorded};
