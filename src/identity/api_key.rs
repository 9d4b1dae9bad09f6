//! API keys: `clk_` (of users) or `cla_` (of administrators), 30 random base62 characters (178 bits) and 6 base62 characters of the CRC-32
//! of everything before them, the layout secret scanners know. Published pattern:
//! `clk_[0-9A-Za-z]{36}`.
//!
//! The checksum lets typing errors and guesses fail before any I/O; it protects nothing.

use std::fmt;

use aws_lc_rs::digest;
use zeroize::Zeroizing;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX: &str = "clk_";
const ADMIN_PREFIX: &str = "cla_";
const RANDOM_LEN: usize = 30;
const CHECK_LEN: usize = 6;
const KEY_LEN: usize = PREFIX.len() + RANDOM_LEN + CHECK_LEN;
/// Longest key of a foreign shape (`key_prefixes`) that is looked at, in bytes.
const FOREIGN_MAX: usize = 512;

/// SHA-256 of no text at all (FIPS 180-4).
const OF_NOTHING: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// A key in plain text, for showing it once to whom it was issued. Cannot be printed by accident.
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// A new random key.
    #[must_use]
    pub fn generate() -> Self {
        Self(generate(PREFIX))
    }

    /// The key itself: for the one time it is shown.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the store knows of this key.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(self.0.as_bytes())
    }
}

/// The key of an administrator in plain text, as [`ApiKey`] is a user's.
pub struct AdminKey(Zeroizing<String>);

impl AdminKey {
    /// A new random key.
    #[must_use]
    pub fn generate() -> Self {
        Self(generate(ADMIN_PREFIX))
    }

    /// The key itself: for the one time it is shown.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the store knows of this key.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(self.0.as_bytes())
    }

    /// The digest of a key that is presented, without any I/O.
    ///
    /// # Errors
    /// [`Malformed`] when the text cannot be one: wrong shape or wrong checksum.
    pub fn digest_of_presented(text: &[u8]) -> Result<KeyDigest, Malformed> {
        if well_formed(text, ADMIN_PREFIX) {
            Ok(KeyDigest::of(text))
        } else {
            Err(Malformed(()))
        }
    }
}

fn generate(prefix: &str) -> Zeroizing<String> {
    // Filled in place: a String that grows would leave copies of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(KEY_LEN));
    text.push_str(prefix);
    while text.len() < prefix.len() + RANDOM_LEN {
        let mut byte = [0];
        getrandom::fill(&mut byte).expect("the system's random numbers are available");
        // 248 = 4 * 62: bytes above it would make some characters likelier.
        if byte[0] < 248 {
            text.push(char::from(ALPHABET[usize::from(byte[0] % 62)]));
        }
    }
    let check = checksum(text.as_bytes());
    text.extend(check.iter().map(|&b| char::from(b)));
    text
}

/// SHA-256 of a key: the only trace of it that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    fn of(key: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, key);
        Self(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }

    /// Finds the digest of a presented key without any I/O.
    ///
    /// `prefixes` are those of foreign shapes that the operator lets in (keys of a former system).
    ///
    /// # Errors
    /// [`Malformed`] when the text cannot be a key: wrong shape or wrong checksum.
    pub fn of_presented(text: &[u8], prefixes: &[String]) -> Result<Self, Malformed> {
        if let Some(own) = Self::of_own(text) {
            return Ok(own);
        }
        let ours = text.starts_with(PREFIX.as_bytes()) || text.starts_with(ADMIN_PREFIX.as_bytes());
        let foreign = !ours
            && text.len() <= FOREIGN_MAX
            && prefixes.iter().any(|p| text.starts_with(p.as_bytes()))
            && text.iter().all(u8::is_ascii_graphic);
        if foreign {
            Ok(Self::of(text))
        } else {
            Err(Malformed(()))
        }
    }

    /// The digest of a user's key of our own shape, if the text is one.
    pub(crate) fn of_own(text: &[u8]) -> Option<Self> {
        well_formed(text, PREFIX).then(|| Self::of(text))
    }

    /// The digest of a key of any shape: 1 to 512 visible characters of ASCII.
    #[must_use]
    pub fn of_any(text: &[u8]) -> Option<Self> {
        let fits = (1..=FOREIGN_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
        fits.then(|| Self::of(text))
    }

    /// The digest no key has: that of no text at all.
    #[must_use]
    pub fn of_nothing() -> Self {
        Self(OF_NOTHING)
    }

    /// Lower-case hexadecimal, 64 characters: as in the record id.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let digits = self.0.iter().flat_map(|byte| hex_digits(*byte));
        digits.map(char::from).collect()
    }

    /// From 64 lower-case hexadecimal characters.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut out = [0; 32];
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(out))
    }

    /// The id by which people name the key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        let mut digits = [0; KeyId::LEN];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&hex_digits(byte));
        }
        KeyId(digits)
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigest({})", self.key_id())
    }
}

/// The name of a key: the first 16 hexadecimal characters of its digest. Not a secret, and of no
/// use to authenticate; a store finds the key by it because records are ordered by digest.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyId([u8; Self::LEN]);

impl KeyId {
    const LEN: usize = 16;

    /// Checks that the text is 16 lower-case hexadecimal characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let digits = text.as_bytes().try_into().ok().filter(|_| hex)?;
        Some(Self(digits))
    }

    /// Its digits.
    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Digits, as every way to make one sees to.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl AsRef<str> for KeyId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The text cannot be a key of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key: wrong shape or checksum")]
pub struct Malformed(());

fn well_formed(text: &[u8], prefix: &str) -> bool {
    text.len() == KEY_LEN
        && text.starts_with(prefix.as_bytes())
        && text[prefix.len()..].iter().all(u8::is_ascii_alphanumeric)
        && checksum(&text[..KEY_LEN - CHECK_LEN]) == text[KEY_LEN - CHECK_LEN..]
}

fn hex_digits(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
    [digit(byte >> 4), digit(byte & 15)]
}

fn checksum(text: &[u8]) -> [u8; CHECK_LEN] {
    let mut crc = crc32fast::hash(text);
    let mut out = [b'0'; CHECK_LEN];
    for place in out.iter_mut().rev() {
        *place = ALPHABET[(crc % 62) as usize];
        crc /= 62;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_that_of_no_text() {
        assert_eq!(KeyDigest::of_nothing(), KeyDigest::of(b""));
        let id = KeyDigest::of_nothing().key_id();
        assert_eq!(id.as_str(), "e3b0c44298fc1c14");
        assert_eq!(KeyId::parse(id.as_str()), Some(id));
        assert!(KeyDigest::of_nothing().to_hex().ends_with("7852b855"));
    }

    #[test]
    fn a_generated_key_has_the_published_shape_and_is_accepted() {
        let key = ApiKey::generate();
        assert_eq!(key.reveal().len(), 40);
        assert_eq!(
            KeyDigest::of_presented(key.reveal().as_bytes(), &[]),
            Ok(key.digest())
        );
        assert_ne!(key.reveal(), ApiKey::generate().reveal());
    }

    #[test]
    fn the_checksum_is_pinned_because_keys_outlive_releases() {
        let key = b"clk_000000000000000000000000000000";
        assert_eq!(std::str::from_utf8(&checksum(key)).unwrap(), "1WuJEt");
    }

    #[test]
    fn one_wrong_character_is_refused() {
        let key = ApiKey::generate();
        for i in 0..key.reveal().len() {
            let mut text = key.reveal().as_bytes().to_vec();
            text[i] = if text[i] == b'x' { b'y' } else { b'x' };
            assert!(
                KeyDigest::of_presented(&text, &[]).is_err(),
                "character {i}"
            );
        }
        for text in [&b""[..], b"clk_", b"Bearer", &key.reveal().as_bytes()[..39]] {
            assert!(KeyDigest::of_presented(text, &[]).is_err());
        }
    }

    #[test]
    fn foreign_shapes_pass_only_by_a_named_prefix() {
        let prefixes = ["usr_".to_owned()];
        assert!(KeyDigest::of_presented(b"usr_abc", &prefixes).is_ok());
        assert!(KeyDigest::of_presented(b"usr_abc", &[]).is_err());
        assert!(KeyDigest::of_presented(b"usr_a c", &prefixes).is_err());
        assert!(KeyDigest::of_presented(&[b"usr_", &[b'a'; 600][..]].concat(), &prefixes).is_err());
        // Our own shape never escapes its checksum through a prefix.
        assert!(KeyDigest::of_presented(b"clk_abc", &["clk_".to_owned()]).is_err());
    }

    // Fails when either kind is taken for the other.
    #[test]
    fn keys_of_administrators_and_users_are_told_apart() {
        let (admin, user) = (AdminKey::generate(), ApiKey::generate());
        let admin_text = admin.reveal().as_bytes();
        assert_eq!(
            AdminKey::digest_of_presented(admin_text),
            Ok(admin.digest())
        );
        assert!(KeyDigest::of_presented(admin_text, &["cla_".to_owned()]).is_err());
        assert!(AdminKey::digest_of_presented(user.reveal().as_bytes()).is_err());
        assert!(AdminKey::digest_of_presented(&admin_text[..39]).is_err());
    }

    #[test]
    fn digests_survive_hexadecimal() {
        let digest = ApiKey::generate().digest();
        assert_eq!(KeyDigest::from_hex(&digest.to_hex()), Some(digest));
        assert!(KeyDigest::from_hex(&digest.to_hex().to_uppercase()).is_none());
        assert_eq!(
            KeyId::parse(digest.key_id().as_str()),
            Some(digest.key_id())
        );
    }
}
