//! The integration tests: one binary, real servers.
mod canary;
mod cli;
mod demo;
mod mix_up;
mod revocation;
mod rules;
mod store_suite;
mod support;
