//! Cloakroom.
pub mod cli;
pub mod config;
pub mod demo;
pub mod gate;
pub mod identity;
pub mod inject;
pub mod layer;
pub mod mcp;
pub mod names;
pub mod policy;
pub mod proxy;
pub mod rejection;
pub mod resolve;
pub mod serve;
pub mod store;
pub mod telemetry;
pub mod vault;
