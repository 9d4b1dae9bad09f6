//! Who is calling: keys as they are presented, before anything is looked up.
//!
//! Everything here is synchronous and free of I/O. What a key *means* is found by
//! [`crate::resolve`].

mod api_key;
mod credential;

pub use api_key::{AdminKey, ApiKey, KeyDigest, KeyId, Malformed};
pub use credential::{CARRIERS, CredentialError, X_API_KEY, credential};
