//! The integration tests: one binary, real servers.
mod cli;
mod demo;
mod store_suite;
mod support;
