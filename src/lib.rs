//! Cloakroom.
pub mod names;
pub mod store;
