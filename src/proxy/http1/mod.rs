//! HTTP/1.1 as nearly every request and every answer has it, at the cost of the system calls.
//!
//! Whatever is unusual is the HTTP library's: a connection on which a client sends something else than
//! a plain request ([`request`]) goes over to hyper with all that was read of it, and so does an
//! answer of a backend that is framed in another way than by one length or by chunks ([`answer`]). The
//! client's bytes were judged before either of the two sees them (`strict`); what is refused, what times
//! out and what an end means is decided there and in the layer, not here.
//!
//! Why not hyper throughout: a connection of its client is a task of its own, with two channels and their
//! wake-ups between it and the request; and both its ends keep buffers of 8 KiB and more for as long as a
//! connection lives. Here one task drives the client's connection and the backend's, what is read goes
//! through one buffer of the thread, and a connection that waits holds no buffer, but its last head ([`last`]).
//!
//! - [`serve`]: a client's connection, over a [`wire`] that the bodies of its requests ([`body`]) share;
//! - [`connection`]: a backend's, and the body of its answer, [`received`]; [`replay`] hands it to hyper;
//! - [`last`]: the head that came last on either, which is seldom read anew;
//! - [`head`], [`chunks`]: what is written and read, without any socket;
//! - [`outbox`]: what is written once a core has looked at every connection that was ready; [`sending`], a request
//!   among that;
//! - [`scratch`]: the thread's buffers.

mod answer;
mod body;
mod chunks;
mod connection;
mod head;
mod last;
pub(super) mod outbox;
pub(super) mod received;
#[doc(hidden)]
pub mod rehearsal;
mod replay;
mod request;
mod scratch;
mod sending;
mod serve;
#[cfg(test)]
mod tests;
mod wire;

pub(super) use body::Shared;
pub(super) use connection::{Broken, Connection, Peer, Stream};
pub(super) use received::{Lease, Received};
pub(super) use replay::Prefixed;
pub(super) use serve::{Answer, Served, serve};
