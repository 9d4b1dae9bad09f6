//! Cloakroom.
pub mod identity;
pub mod names;
pub mod store;
pub mod vault;
