//! Cloakroom.
pub mod identity;
pub mod names;
pub mod resolve;
pub mod store;
pub mod vault;
