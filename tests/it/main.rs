//! The integration tests: one binary, real servers.
mod store_suite;
mod support;
