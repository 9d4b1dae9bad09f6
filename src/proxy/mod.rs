//! From the listener to the backend: `listener` accepts on a `socket` and spreads connections over
//! `worker`s, one per core; each serves its `connection`s (`proxy_protocol`, TLS, then `strict` and
//! `http1`, or `http2`) with the layer around `forward`, over idle connections to backends of its own
//! (`pool`, of `http1` too); to one of several `replicas`, if the server has them. `visitor`, `guard` and `cors` come
//! before the layer; `tool_call` asks the layer itself. What it serves with, `serving`, may be swapped at any moment.
//!
//! Who sends wrong keys is slowed by `flood`; how many connections may be open is bounded by `places`.
//!
//! Measured per proxied request on two cores: a current-thread runtime per core with its own
//! connections of hyper 12.7 to 13.6 µs of CPU, one multi-thread runtime with a shared client 16.0. What
//! `http1` does instead, and how it compares with others, is measured by `benches/peers`.

mod account;
mod backend;
pub mod beside;
mod body;
#[cfg(feature = "pingora-lb")]
mod check;
mod client;
mod clock;
mod connection;
mod cors;
mod flood;
mod forward;
mod guard;
mod health;
mod http1;
mod http2;
mod keeping;
mod last_head;
mod listener;
mod patient;
mod places;
mod pool;
mod post;
mod proxy_protocol;
mod pulse;
mod rarely;
mod replicas;
mod serving;
mod socket;
pub mod strict;
mod tool_call;
mod visitor;
mod worker;

pub use account::{Account, Keepers};
pub use backend::{Backend, BackendError, BackendSocket};
pub use body::BackendBody;
#[cfg(feature = "pingora-lb")]
pub use check::Check;
pub use client::{ClientAddress, TrustedProxies};
pub use flood::{Flood, FloodFigures};
pub use guard::Guard;
pub use health::Health;
pub use http1::received::Received;
#[doc(hidden)]
pub use http1::rehearsal as http1_rehearsal;
pub use listener::{Listener, Options, StartError};
pub use post::Poster;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use proxy_protocol::header_in;
pub use replicas::{ReplicaAddress, ReplicaFigures};
pub use serving::{Entrance, Serving};
pub use socket::Address;
