//! Cloakroom.
pub mod mcp;
pub mod names;
pub mod store;
