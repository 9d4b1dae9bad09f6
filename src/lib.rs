//! Cloakroom.
pub mod cli;
pub mod config;
pub mod inject;
pub mod names;
pub mod store;
