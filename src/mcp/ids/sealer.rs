//! A stand-in for the vault's sealer, until that is here: the same methods, as a trait object.

/// What ids are sealed with; to become `crate::vault::Sealer`.
pub type Sealer = dyn Seals;

/// The methods of the vault's sealer that ids need.
///
/// `purpose` separates one use from another; `context` is what a sealed thing is bound to, each
/// part length-prefixed, so that no two contexts look alike.
pub trait Seals {
    /// Encrypts and authenticates `plaintext`.
    fn seal(&self, purpose: &'static str, context: &[&[u8]], plaintext: &[u8]) -> Vec<u8>;
    /// The plaintext, if `sealed` was made for this purpose and context by a key still held.
    fn open(&self, purpose: &'static str, context: &[&[u8]], sealed: &[u8]) -> Option<Vec<u8>>;
    /// Authenticates `message`; about 20 bytes.
    fn tag(&self, purpose: &'static str, context: &[&[u8]], message: &[u8]) -> Vec<u8>;
    /// Whether `tag` was made for this purpose, context and message by a key still held.
    fn verify(&self, purpose: &'static str, context: &[&[u8]], message: &[u8], tag: &[u8]) -> bool;
}

impl Seals for crate::vault::Sealer {
    fn seal(&self, purpose: &'static str, context: &[&[u8]], plaintext: &[u8]) -> Vec<u8> {
        self.seal(purpose, context, plaintext)
    }
    fn open(&self, purpose: &'static str, context: &[&[u8]], sealed: &[u8]) -> Option<Vec<u8>> {
        self.open(purpose, context, sealed)
    }
    fn tag(&self, purpose: &'static str, context: &[&[u8]], message: &[u8]) -> Vec<u8> {
        self.tag(purpose, context, message)
    }
    fn verify(&self, purpose: &'static str, context: &[&[u8]], message: &[u8], tag: &[u8]) -> bool {
        self.verify(purpose, context, message, tag)
    }
}

#[cfg(test)]
pub(super) mod double {
    //! Binds like the real one, hides nothing.

    use std::hash::BuildHasher;

    use super::Seals;

    pub(in crate::mcp::ids) struct Double;

    impl Seals for Double {
        fn seal(&self, purpose: &'static str, context: &[&[u8]], plaintext: &[u8]) -> Vec<u8> {
            let mut sealed = self.tag(purpose, context, plaintext);
            sealed.extend_from_slice(plaintext);
            sealed
        }

        fn open(&self, purpose: &'static str, context: &[&[u8]], sealed: &[u8]) -> Option<Vec<u8>> {
            let (tag, plaintext) = sealed.split_at_checked(16)?;
            self.verify(purpose, context, plaintext, tag)
                .then(|| plaintext.to_vec())
        }

        fn tag(&self, purpose: &'static str, context: &[&[u8]], message: &[u8]) -> Vec<u8> {
            let half = |seed| {
                foldhash::quality::FixedState::with_seed(seed).hash_one((purpose, context, message))
            };
            [half(1).to_be_bytes(), half(2).to_be_bytes()].concat()
        }

        fn verify(
            &self,
            purpose: &'static str,
            context: &[&[u8]],
            message: &[u8],
            tag: &[u8],
        ) -> bool {
            self.tag(purpose, context, message) == tag
        }
    }
}
