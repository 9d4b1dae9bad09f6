//! Recognises texts without keeping them.

use super::crypto::{KeyBytes, Mac};

/// A MAC whose key is made with it, is nowhere else, and ends with it: what it made says nothing to any
/// other. Who reads this process's memory can try guesses, so a tag hides a text as well as the text is
/// hard to guess.
pub struct EphemeralMac(Mac);

impl EphemeralMac {
    /// With a new random key.
    #[must_use]
    pub fn generate() -> Self {
        Self(Mac::new(&KeyBytes::generate()))
    }

    /// 128 bits of HMAC-SHA-256.
    #[must_use]
    pub fn tag(&self, text: &[u8]) -> [u8; 16] {
        *self
            .0
            .tag(&[text])
            .first_chunk()
            .expect("a MAC of 32 bytes has 16")
    }
}
