//! `cloakroom connect`: messages over standard input and output, and the server behind them.

mod bridge;
pub(crate) mod desk;
mod ends;
mod passing;
mod refusals;
mod sessions;
