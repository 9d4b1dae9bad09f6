//! The integration tests: one binary, real servers.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod canary;
mod cli;
mod demo;
mod mix_up;
mod revocation;
mod rules;
mod store_suite;
mod support;
