//! The commands, thin over the vault.

pub mod client_config;
