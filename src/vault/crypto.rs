//! The only place that calls ciphers: AES-256-GCM, HMAC-SHA-256, HKDF-SHA-256, PBKDF2-HMAC-SHA-512,
//! Ed25519. One library (aws-lc) does all of it and TLS too, so one set of advisories is to be watched; but for what
//! links the records of the audit trail ([`LinkMac`]). Random numbers are the system's.

use std::num::NonZeroU32;

use ::hmac::{Hmac, KeyInit as _, Mac as _};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use aws_lc_rs::{hkdf, hmac, pbkdf2};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of a key of every kind.
pub(crate) const KEY_LEN: usize = 32;
/// Bytes an AES-256-GCM seal adds: nonce and tag.
pub(crate) const SEAL_OVERHEAD: usize = NONCE_LEN + 16;
/// Bytes of an Ed25519 signature.
pub(crate) const SIGNATURE_LEN: usize = 64;

/// Key material. Cannot be printed, compared or cloned; zeroed on drop.
pub(crate) struct KeyBytes(Zeroizing<[u8; KEY_LEN]>);

impl KeyBytes {
    /// A new random key.
    pub(crate) fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        fill_random(&mut *bytes);
        Self(bytes)
    }

    /// `None` when `bytes` is not 32 long.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// HKDF-SHA-256 (RFC 5869): a key for one purpose, from which this one cannot be found.
    pub(crate) fn derive(&self, purpose: &str, context: &[&[u8]]) -> Self {
        let info =
            length_prefixed(std::iter::once(purpose.as_bytes()).chain(context.iter().copied()));
        let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, self.expose_bytes());
        let mut out = Zeroizing::new([0; KEY_LEN]);
        prk.expand(&[&info], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut *out))
            .expect("32 bytes are within HKDF-SHA-256's limit of 255 blocks");
        Self(out)
    }

    /// PBKDF2-HMAC-SHA-512 (RFC 8018, 5.2): a key out of what a person remembers, slowly.
    pub(crate) fn from_passphrase(passphrase: &[u8], salt: &[u8], rounds: NonZeroU32) -> Self {
        let mut out = Zeroizing::new([0; KEY_LEN]);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA512,
            rounds,
            salt,
            passphrase,
            &mut *out,
        );
        Self(out)
    }

    /// The key itself, for writing a keyring and nothing else.
    pub(crate) fn expose_bytes(&self) -> &[u8] {
        &*self.0
    }
}

/// An AES-256-GCM key, ready to use.
pub(crate) struct Aead(LessSafeKey);

impl Aead {
    pub(crate) fn new(key: &KeyBytes) -> Self {
        let unbound = UnboundKey::new(&AES_256_GCM, key.expose_bytes())
            .expect("AES-256-GCM takes every 32-byte key");
        Self(LessSafeKey::new(unbound))
    }

    /// Appends nonce, ciphertext and tag of `plaintext` to `out`. The nonce is random: at most
    /// 2^32 seals for one key (NIST SP 800-38D, 8.3).
    pub(crate) fn seal_onto(&self, aad: &[u8], plaintext: &[u8], out: &mut Vec<u8>) {
        let mut nonce = [0; NONCE_LEN];
        fill_random(&mut nonce);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.reserve(plaintext.len() + 16);
        out.extend_from_slice(plaintext);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                &mut out[start..],
            )
            .expect("sealing fails only for plaintexts beyond 64 GiB");
        out.extend_from_slice(tag.as_ref());
    }

    /// Opens what `seal_onto` appended. `None` when it is not exactly that.
    pub(crate) fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
        let mut buffer = Zeroizing::new(rest.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let len = self
            .0
            .open_in_place(nonce, Aad::from(aad), &mut buffer)
            .ok()?
            .len();
        buffer.truncate(len);
        Some(buffer)
    }
}

/// An AES-256-GCM key of one stream, in pieces that can be neither left out, repeated, exchanged nor cut off
/// at the end: the nonce is the number of the piece, and whether it is the last (STREAM; Hoang,
/// Reyhanitabar, Rogaway and Vizár, 2015). A key is used for one stream only.
pub(crate) struct StreamAead(Aead);

impl StreamAead {
    /// Bytes a piece grows by.
    pub(crate) const OVERHEAD: usize = 16;

    pub(crate) fn new(key: &KeyBytes) -> Self {
        Self(Aead::new(key))
    }

    /// Seals a piece where it lies.
    pub(crate) fn seal(&self, number: u64, is_last: bool, aad: &[u8], piece: &mut Vec<u8>) {
        let tag = self
            .0
            .0
            .seal_in_place_separate_tag(nonce(number, is_last), Aad::from(aad), piece)
            .expect("sealing fails only for plaintexts beyond 64 GiB");
        piece.extend_from_slice(tag.as_ref());
    }

    /// Opens a piece where it lies; `false` when it is not exactly that piece of that stream.
    pub(crate) fn open(
        &self,
        number: u64,
        is_last: bool,
        aad: &[u8],
        piece: &mut Zeroizing<Vec<u8>>,
    ) -> bool {
        let opened = self
            .0
            .0
            .open_in_place(nonce(number, is_last), Aad::from(aad), piece);
        let Ok(len) = opened.map(|plain| plain.len()) else {
            return false;
        };
        piece.truncate(len);
        true
    }
}

fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    nonce[NONCE_LEN - 1] = is_last.into();
    Nonce::assume_unique_for_key(nonce)
}

/// An HMAC-SHA-256 key, ready to use.
pub(crate) struct Mac(hmac::Key);

impl Mac {
    pub(crate) fn new(key: &KeyBytes) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose_bytes()))
    }

    /// The tag of the parts, each prefixed by its length.
    pub(crate) fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        finished(context)
    }
}

/// An HMAC-SHA-256 key for two tags with every request, by whichever library is faster here: aws-lc makes, copies
/// and clears contexts for each tag, some 1,800 instructions besides the hashing, where the other copies two states;
/// but its hashing takes half as long again on a machine that has no instructions for it.
pub(crate) enum LinkMac {
    Copied(Hmac<Sha256>),
    // Boxed, for it is large.
    Library(Box<hmac::Key>),
}

impl LinkMac {
    pub(crate) fn new(key: &KeyBytes) -> Self {
        if has_sha256() {
            Self::copied(key)
        } else {
            Self::library(key)
        }
    }

    fn copied(key: &KeyBytes) -> Self {
        let keyed = Hmac::new_from_slice(key.expose_bytes());
        Self::Copied(keyed.expect("HMAC takes keys of any length (RFC 2104, 2)"))
    }

    fn library(key: &KeyBytes) -> Self {
        Self::Library(Box::new(Mac::new(key).0))
    }

    /// The tag of two parts one after the other, of which the first always has the same length.
    pub(crate) fn tag(&self, first: &[u8; 32], second: &[u8]) -> [u8; 32] {
        match self {
            Self::Copied(keyed) => {
                let mut state = keyed.clone();
                state.update(first);
                state.update(second);
                state.finalize().into_bytes().into()
            }
            Self::Library(key) => {
                let mut context = hmac::Context::with_key(key);
                context.update(first);
                context.update(second);
                finished(context)
            }
        }
    }
}

/// Whether the processor has instructions for SHA-256 that the library for [`LinkMac::Copied`] uses.
fn has_sha256() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("sha");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("sha2");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

fn finished(context: hmac::Context) -> [u8; 32] {
    let tag = context.sign();
    tag.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// An Ed25519 key pair made from its seed.
pub(crate) struct Signer(Ed25519KeyPair);

impl Signer {
    pub(crate) fn new(seed: &KeyBytes) -> Self {
        Self(
            Ed25519KeyPair::from_seed_unchecked(seed.expose_bytes())
                .expect("every 32 bytes are an Ed25519 seed (RFC 8032, 5.1.5)"),
        )
    }

    pub(crate) fn public(&self) -> [u8; KEY_LEN] {
        self.0
            .public_key()
            .as_ref()
            .try_into()
            .expect("an Ed25519 public key has 32 bytes")
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.0
            .sign(message)
            .as_ref()
            .try_into()
            .expect("an Ed25519 signature has 64 bytes")
    }
}

/// Whether `signature` is `public`'s for `message`.
pub(crate) fn verify_signature(public: &[u8; KEY_LEN], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&signature::ED25519, public)
        .verify(message, signature)
        .is_ok()
}

/// Fills `out` from the system's random numbers. Not from a generator of this process's: of a machine that is copied
/// while it runs both copies would go on with the same numbers, and to collect what the library's begins with takes 20
/// to 60 ms, which was most of every start.
pub(crate) fn fill_random(out: &mut [u8]) {
    getrandom::fill(out).expect("the system's random numbers are available once it has booted");
}

/// Whether two texts are equal, in time that depends on their lengths only.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// Joins parts so that no two different lists give the same bytes.
pub(crate) fn length_prefixed<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    for part in parts {
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_opens_only_with_its_key_and_its_context() {
        let (key, other) = (KeyBytes::generate(), KeyBytes::generate());
        let mut sealed = Vec::new();
        Aead::new(&key).seal_onto(b"here", b"coat", &mut sealed);
        assert_eq!(sealed.len(), 4 + SEAL_OVERHEAD);
        assert_eq!(
            Aead::new(&key).open(b"here", &sealed).unwrap().as_slice(),
            b"coat"
        );
        assert!(Aead::new(&key).open(b"there", &sealed).is_none());
        assert!(Aead::new(&other).open(b"here", &sealed).is_none());
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert!(Aead::new(&key).open(b"here", &bad).is_none(), "byte {i}");
            assert!(
                Aead::new(&key).open(b"here", &sealed[..i]).is_none(),
                "cut at {i}"
            );
        }
    }

    // Fails when a trail that was written on one machine does not check on another.
    #[test]
    fn records_are_linked_alike_on_every_machine() {
        let key = KeyBytes::generate();
        let (copied, library) = (LinkMac::copied(&key), LinkMac::library(&key));
        let text: Vec<u8> = (0..300).map(|n| n as u8).collect();
        for len in 0..text.len() {
            let first = [len as u8; 32];
            let tag = library.tag(&first, &text[..len]);
            assert_eq!(copied.tag(&first, &text[..len]), tag, "{len}");
            assert_eq!(LinkMac::new(&key).tag(&first, &text[..len]), tag);
        }
    }

    #[test]
    fn lists_that_read_alike_are_different() {
        let mac = Mac::new(&KeyBytes::generate());
        assert_ne!(mac.tag(&[b"ab", b"c"]), mac.tag(&[b"a", b"bc"]));
        let key = KeyBytes::generate();
        let (a, b) = (
            key.derive("p", &[b"ab", b"c"]),
            key.derive("p", &[b"a", b"bc"]),
        );
        assert_ne!(a.expose_bytes(), b.expose_bytes());
    }
}
