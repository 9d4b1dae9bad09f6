//! What the proxy must know of MCP, and nothing more: which message a body is, what its headers
//! may say, what of a backend's answer must change on its way, and how the ids a backend hands out
//! leave the house.
//!
//! Rules of this module:
//!
//! 1. Pure and synchronous: no I/O, no clock (`now` is an argument), no runtime. Every function is
//!    total: no input makes it panic, recurse, or take more than linear time.
//! 2. A body is judged whole or refused ([`scan`]). Nothing here changes a byte of it: callers get
//!    ranges and splice. An answer is never whole: [`answer`] changes it as it passes.
//! 3. Errors say what is wrong and where, never what the client wrote: a body may hold secrets.
//!
//! Redaction of injected secrets in answers (`redact`) will live here, in [`answer`].

pub mod answer;
pub mod edit;
pub mod events;
pub mod headers;
pub mod ids;
pub mod methods;
pub mod mirrors;
pub mod revision;
pub mod scan;
pub mod tasks;
