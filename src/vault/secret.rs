//! A user's secrets in plain text, for as long as one request is being built.

use zeroize::Zeroizing;

use crate::names::SecretName;

/// Longest value of one secret, in bytes.
pub const SECRET_MAX: usize = 64 * 1024;
/// Most secrets of one user for one server and profile.
pub const SECRETS_MAX: usize = 256;

/// The value of one secret on its way into the vault. Has no Debug, Display, Serialize or Clone;
/// zeroed on drop.
pub struct SecretValue(Zeroizing<Vec<u8>>);

/// Why a value is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing was given.
    #[error("the value is empty")]
    Empty,
    /// Longer than [`SECRET_MAX`].
    #[error("the value is longer than 64 KiB")]
    TooLong,
    /// Not text.
    #[error("the value is not UTF-8 text")]
    NotText,
    /// It would go into a header and holds something a header cannot carry (RFC 9110, 5.5).
    #[error(
        "the value goes into a header and holds a line break, a NUL, a space at its edge or an \
         invisible or non-ASCII character (byte {at}): copy it again without"
    )]
    NotForHeader {
        /// Position of the first such byte, from 0.
        at: usize,
    },
}

impl SecretValue {
    /// Takes over `value`.
    ///
    /// # Errors
    /// When it is empty, longer than [`SECRET_MAX`] or not UTF-8.
    pub fn new(value: Zeroizing<Vec<u8>>) -> Result<Self, SecretError> {
        match value.len() {
            0 => Err(SecretError::Empty),
            len if len > SECRET_MAX => Err(SecretError::TooLong),
            _ if simdutf8::basic::from_utf8(&value).is_err() => Err(SecretError::NotText),
            _ => Ok(Self(value)),
        }
    }

    /// Checks that the value can stand in a header: visible ASCII, and spaces inside.
    ///
    /// # Errors
    /// [`SecretError::NotForHeader`] with the place.
    pub fn fits_header(&self) -> Result<(), SecretError> {
        let edge = |at: usize| at == 0 || at + 1 == self.0.len();
        let bad =
            |(at, byte): (usize, &u8)| !(0x21..=0x7e).contains(byte) && (*byte != b' ' || edge(at));
        match self.0.iter().enumerate().position(bad) {
            None => Ok(()),
            Some(at) => Err(SecretError::NotForHeader { at }),
        }
    }

    /// The value itself.
    #[must_use]
    pub fn expose_value(&self) -> &[u8] {
        &self.0
    }
}

/// All secrets of one user for one server and profile, unsealed. Lives while a request is built.
///
/// One buffer, zeroed on drop: `(name length u8, name, value length u32, value)*`. Values are read
/// where they lie, so that no copy of them is made here.
pub struct SecretSet(Zeroizing<Vec<u8>>);

impl SecretSet {
    /// A set without secrets.
    #[must_use]
    pub fn empty() -> Self {
        Self(Zeroizing::new(Vec::new()))
    }

    /// Takes over an unsealed buffer; `None` when it is not of the form above.
    pub(super) fn from_bytes(bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            rest = entry(rest)?.2;
        }
        Some(Self(bytes))
    }

    /// The buffer, for sealing.
    pub(super) fn expose_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value of `name`.
    #[must_use]
    pub fn expose(&self, name: &SecretName) -> Option<&[u8]> {
        let mut rest = &self.0[..];
        while let Some((key, value, after)) = parts(rest) {
            if key == name.as_str().as_bytes() {
                return Some(value);
            }
            rest = after;
        }
        None
    }

    /// Every secret, name and value, in the order they were first set.
    pub fn expose_all(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries()
    }

    /// Whether there is a secret of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names().any(|held| held == name)
    }

    /// This set, with those of `other` it does not hold itself.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let mut out = Zeroizing::new(Vec::with_capacity(self.0.len() + other.0.len()));
        out.extend_from_slice(&self.0);
        for (name, value) in other.entries().filter(|(name, _)| !self.has(name)) {
            push(&mut out, name, value);
        }
        Self(out)
    }

    /// The names held, in the order they were first set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries().map(|(name, _)| name)
    }

    /// The names held, each with whether HTTP lets a header carry its value (RFC 9110, 5.5).
    pub(super) fn facts(&self) -> impl Iterator<Item = (&str, bool)> {
        let fits = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        self.entries()
            .map(move |(name, value)| (name, value.iter().all(fits)))
    }

    /// A set with `name` set to `value`, or removed when `value` is `None`.
    #[must_use]
    pub fn with(&self, name: &SecretName, value: Option<&SecretValue>) -> Self {
        let room = self.0.len() + name.as_str().len() + 5 + value.map_or(0, |v| v.0.len());
        let mut out = Zeroizing::new(Vec::with_capacity(room));
        let mut pending = value;
        for (key, old) in self.entries() {
            if key == name.as_str() {
                if let Some(new) = pending.take() {
                    push(&mut out, key, new.expose_value());
                }
            } else {
                push(&mut out, key, old);
            }
        }
        if let Some(new) = pending {
            push(&mut out, name.as_str(), new.expose_value());
        }
        Self(out)
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (name, value, after) = entry(rest)?;
            rest = after;
            Some((name, value))
        })
    }
}

/// The first entry, and what comes after it.
fn entry(bytes: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let (name, value, rest) = parts(bytes)?;
    Some((std::str::from_utf8(name).ok()?, value, rest))
}

/// The same, whatever its name is made of.
fn parts(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&name_len, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(name_len.into())?;
    let (value_len, rest) = rest.split_at_checked(4)?;
    let value_len = u32::from_be_bytes(value_len.try_into().ok()?) as usize;
    let (value, rest) = rest.split_at_checked(value_len)?;
    Some((name, value, rest))
}

fn push(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&(value.len() as u32).to_be_bytes());
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &[u8]) -> SecretValue {
        SecretValue::new(Zeroizing::new(text.to_vec())).expect("a fit value")
    }

    fn name(text: &str) -> SecretName {
        SecretName::parse(text).unwrap()
    }

    #[test]
    fn a_set_replaces_adds_and_removes() {
        let set = SecretSet::empty()
            .with(&name("A"), Some(&value(b"1")))
            .with(&name("B"), Some(&value(b"2")));
        let set = set.with(&name("A"), Some(&value(b"3")));
        assert_eq!(set.names().collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(
            (set.expose(&name("A")), set.expose(&name("B"))),
            (Some(&b"3"[..]), Some(&b"2"[..]))
        );
        let set = set.with(&name("A"), None);
        assert!(set.expose(&name("A")).is_none() && set.expose(&name("B")).is_some());
        assert!(SecretSet::from_bytes(Zeroizing::new(set.expose_bytes().to_vec())).is_some());
        assert!(SecretSet::from_bytes(Zeroizing::new(b"\x05abc".to_vec())).is_none());
    }

    #[test]
    fn sizes_are_held_at_the_edge() {
        let of = |len| SecretValue::new(Zeroizing::new(vec![b'a'; len])).map(|_| ());
        assert_eq!(of(0), Err(SecretError::Empty));
        assert_eq!(of(SECRET_MAX), Ok(()));
        assert_eq!(of(SECRET_MAX + 1), Err(SecretError::TooLong));
    }

    #[test]
    fn what_a_header_cannot_carry_is_refused_with_its_place() {
        assert_eq!(value(b"ghp_a b~!").fits_header(), Ok(()));
        for (bad, at) in [
            (&b"a\rb"[..], 1),
            (b"a\nb", 1),
            (b"ab\n", 2),
            (b"\0", 0),
            (b"a\tb", 1),
            (b" a", 0),
            (b"a ", 1),
            (b"a\x7f", 1),
            ("a\u{200b}b".as_bytes(), 1),
            ("é".as_bytes(), 0),
        ] {
            assert_eq!(
                value(bad).fits_header(),
                Err(SecretError::NotForHeader { at }),
                "{bad:?}"
            );
        }
    }
}
