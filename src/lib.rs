//! Cloakroom.
pub mod cli;
pub mod config;
pub mod gate;
pub mod identity;
pub mod inject;
pub mod layer;
pub mod mcp;
pub mod names;
pub mod policy;
pub mod rejection;
pub mod resolve;
pub mod store;
pub mod vault;
