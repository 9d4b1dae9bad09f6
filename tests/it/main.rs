//! The integration tests: one binary, real servers.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails; and some say their figures"
)]

mod admin;
mod audit;
mod canary;
mod cli;
mod connect;
mod demo;
mod desync;
mod examples;
mod faults;
mod launch;
mod limits;
mod memory;
mod mix_up;
mod moving;
mod overload;
mod packages;
mod pages;
mod people;
mod reload;
mod replicas;
mod revocation;
mod rotation;
mod rules;
mod run;
mod sockets;
mod stopping;
mod store_suite;
mod support;
mod telemetry;
mod tool_call;
