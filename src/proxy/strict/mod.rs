//! Between a socket and the HTTP library: nothing unusual gets by.
//!
//! A library reads generously, and does not show what it has put up with: bare line feeds, two equal
//! lengths, a coding before `chunked`. Two parsers that disagree about where a request ends are how
//! requests are smuggled, so every request of HTTP/1.1 is judged here by its bytes, and only such as
//! leave no two readings go on (RFC 9112, and narrower where no client of MCP needs the rest):
//!
//! - `METHOD SP target SP HTTP/1.1` (or 1.0) in capital letters, with an absolute path or an absolute
//!   URL; lines end in CRLF; one CRLF before it is overlooked (RFC 9112, 2.2), a second one is not;
//! - `name: value` of visible ASCII, spaces and tabs, not folded, 100 at most; no `_` in a name, which a
//!   server behind CGI or WSGI takes for `-`, but in the part of `Mcp-Param-*` that a server chose;
//! - one Host; at most one Content-Length, of digits; or else one Transfer-Encoding, `chunked`;
//! - chunks with sizes of 1 to 16 hexadecimal digits, without extensions and without trailer fields.
//!
//! What is refused never reaches the library. In its place it gets a request no client can make,
//! which [`Line::refusal`] answers with the reason: so answers keep their order, and the connection ends
//! after this one. A body that breaks the rules ends in an error.
//!
//! The same reader sets the deadlines: of the first byte, of a head, of silence within a body, between
//! two requests, and of an answer nobody takes.
//!
//! Measured on a machine with much else to do: a request with a head of 500 bytes is judged in 0.8 µs,
//! where it lies. A head that repeats the one before it, but for as many other digits of its length, is that one:
//! its new length alone is judged.

mod chunked;
mod fault;
mod field;
mod head;
mod judge;
mod line;
mod stream;
mod target;
#[cfg(test)]
pub(in crate::proxy) mod tests;

pub use fault::Fault;
pub use judge::{Judge, Verdict};
pub use line::{Busy, Line};
pub use stream::{Settings, Strict};
