//! Cloakroom.
pub mod cli;
pub mod config;
pub mod demo;
pub mod identity;
pub mod inject;
pub mod names;
pub mod proxy;
pub mod store;
pub mod vault;
