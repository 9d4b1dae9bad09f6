//! The integration tests: one binary, real servers.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, which is what it is for; and it says its figures"
)]

mod canary;
mod cli;
mod demo;
mod mix_up;
mod revocation;
mod rules;
mod store_suite;
mod support;
